/** Embeddings without a model: a hashed bag of words. Texts that share words point the same way. */
import { words } from './prompt';
import { hash } from './tokens';

const SUBWORD = 4;
const SUBWORD_WEIGHT = 0.25;
const TASK_PREFIX = /^(search_query|search_document|clustering|classification):\s*/;

export function vectorOf(text: string, dimensions: number): number[] {
  const vector = new Float64Array(dimensions);
  for (const [word, count] of counted(text.replace(TASK_PREFIX, ''))) {
    // Repetition matters less and less; short words say little.
    const weight = (1 + Math.log(count)) * Math.min(word.length, 8);
    addFeature(vector, word, weight);
    for (let at = 0; at + SUBWORD <= word.length; at++) {
      addFeature(vector, `~${word.slice(at, at + SUBWORD)}`, weight * SUBWORD_WEIGHT);
    }
  }
  // A text without words has a direction too.
  addFeature(vector, '', 0.01);
  let squares = 0;
  for (const value of vector) squares += value * value;
  const norm = Math.sqrt(squares);
  return Array.from(vector, (value) => value / norm);
}

/** A sign for every dimension, drawn from the feature: two features are nearly at right angles. */
function addFeature(vector: Float64Array, feature: string, weight: number): void {
  let state = hash(feature) || 1;
  for (let index = 0; index < vector.length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    vector[index] = (vector[index] ?? 0) + (state & 1 ? weight : -weight);
  }
}

function counted(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const word of words(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}
