import * as z from 'zod';
import { candidatesOf } from './candidates';
import { count } from './gaps';
import { badInput } from './handed';
import { defineEmbed } from './job';
import { inlineText } from './markdown';
import { offerTool } from './tool';

/** Of one call. */
export const MOST_TEXTS = 256;
const PREVIEW_CHARS = 200;

const text = z.string().refine((t) => t.trim() !== '', 'There is an empty text.');

export interface Embeddings {
  /** Numbers in a vector. */
  dim: number;
  /** Unit vectors, in the order of the texts. */
  embeddings: number[][];
}

/** The vectors of texts, for searches of one's own. */
export const embed = defineEmbed({
  name: 'embed',
  title: 'Embed',
  description: 'Vectors of texts, made on this machine.',
  version: 1,
  tier: 'embed',
  input: z.object({ texts: z.array(text).min(1).max(MOST_TEXTS) }),
  async run({ texts }, steps) {
    const vectors = await steps.embed(texts);
    const embeddings = vectors.map((vector) => [...vector]);
    return { result: { dim: embeddings[0]?.length ?? 0, embeddings } };
  },
  show: ({ dim, embeddings }: Embeddings) =>
    `${count(embeddings.length, 'vector')} of ${count(dim, 'number')}.`,
});

export interface Ranked {
  id: string;
  /** The cosine of query and candidate. Opposite directions mean nothing here, so below 0 is 0. */
  score: number;
  /** The start of the candidate, on one line. */
  preview: string;
}

/** Texts in the order of their likeness to a query. */
export const embedSearch = defineEmbed({
  name: 'embed_search',
  title: 'Search by Meaning',
  description: 'Texts in the order of how close in meaning they are to a query.',
  version: 1,
  tier: 'embed',
  input: z.object({
    query: z.string().refine((t) => t.trim() !== '', 'There is no query.'),
    candidates: z
      .array(z.object({ id: z.string().min(1), text }))
      .min(1)
      .max(MOST_TEXTS)
      .refine(
        (all) => new Set(all.map(({ id }) => id)).size === all.length,
        'Two candidates have the same id.',
      ),
    top_k: z.number().int().min(1).max(MOST_TEXTS).default(10),
  }),
  async run({ query, candidates, top_k }, steps) {
    const [asked, ...vectors] = await steps.embed([query, ...candidates.map((c) => c.text)]);
    const ranked = candidates
      .map(({ id, text }, index) => ({
        id,
        score: cosine(asked, vectors[index]),
        preview: preview(text),
      }))
      .sort((a, b) => b.score - a.score)
      .slice(0, top_k);
    return { result: { ranked } };
  },
  tool: offerTool({
    name: 'embed_search',
    description:
      'Finds the paragraphs of files or of a text that are closest in meaning to a query, with a model on this machine. At most 256 paragraphs at once.',
    doing: 'Searching in',
    reads: 'sources',
    parameters: z.object({
      query: z.string(),
      top_k: z
        .number()
        .int()
        .min(1)
        .max(50)
        .optional()
        .describe('How many to return. Default: 10.'),
    }),
    input(given, { sources }) {
      const candidates = sources.flatMap(({ name, text }) =>
        candidatesOf([{ text, firstLine: 1 }]).list.map((candidate) => ({
          ...candidate,
          id: sources.length > 1 ? `${name}, ${candidate.id}` : candidate.id,
        })),
      );
      if (candidates.length <= MOST_TEXTS) return { ...given, candidates };
      throw badInput(
        `There are ${candidates.length} paragraphs; at most ${MOST_TEXTS} are compared at once.`,
        'Name fewer or smaller files.',
      );
    },
  }),
  show: ({ ranked }: { ranked: Ranked[] }) =>
    ranked
      .map(
        ({ id, score, preview }) =>
          `1. **${inlineText(id)}** (${score.toFixed(2)}) ${inlineText(preview)}`,
      )
      .join('\n'),
});

/** Of unit vectors; 0 to 1. */
function cosine(a: Float32Array | undefined, b: Float32Array | undefined): number {
  const dot = a?.reduce((sum, x, index) => sum + x * (b?.[index] ?? 0), 0) ?? 0;
  return Math.min(1, Math.max(0, dot));
}

function preview(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  const cut = line.slice(0, PREVIEW_CHARS).replace(/[\uD800-\uDBFF]$/, '');
  return cut.length < line.length ? `${cut}…` : cut;
}
