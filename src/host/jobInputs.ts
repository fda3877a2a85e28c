import { inferSchema, type InputOf, JOBS, type Shape, whyNotShape } from '../core';

/** What a person typed, as a value, or what is wrong with it. */
export type Typed<T> = { value: T } | { problem: string };

export type Labels = InputOf<'classify'>['labels'];

/** Labels with commas between them, each with a description behind a colon if there is one. */
export function readLabels(text: string): Typed<Labels> {
  const labels = text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean)
    .map((part) => {
      const [, label = part, description] = /^([^:]*):(.*)$/s.exec(part) ?? [];
      return { label: label.trim(), description: description?.trim() || undefined };
    });
  const { error } = JOBS.classify.input.shape.labels.safeParse(labels);
  return error ? { problem: error.issues[0]?.message ?? '' } : { value: labels };
}

/** A JSON schema, as text. */
export function readSchema(text: string): Typed<Shape> {
  const read = readJson(text);
  if ('problem' in read) return read;
  if (!isObject(read.value))
    return { problem: 'A JSON schema is an object: {"type": "object", …}.' };
  const problem = whyNotShape(read.value);
  return problem === undefined ? { value: read.value } : { problem };
}

/** An example of the data, as JSON text, as the schema of all that is like it. */
export function readExample(text: string): Typed<Shape> {
  const read = readJson(text);
  if ('problem' in read) return read;
  const { value } = read;
  const isEmpty = typeof value !== 'object' || value === null || Object.keys(value).length === 0;
  return isEmpty
    ? { problem: 'An example is an object or a list with something in it: {"name": "Ada"}.' }
    : { value: inferSchema(value) };
}

export function readQuestion(text: string): Typed<string> {
  return /\S/.test(text) ? { value: text } : { problem: 'There is no question.' };
}

export function readQuery(text: string): Typed<string> {
  const { data, error } = JOBS.embed_search.input.shape.query.safeParse(text);
  return error ? { problem: error.issues[0]?.message ?? '' } : { value: data };
}

function readJson(text: string): Typed<unknown> {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch (thrown) {
    return { problem: `This is not JSON: ${thrown instanceof Error ? thrown.message : ''}` };
  }
}

function isObject(value: unknown): value is Shape {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
