import { JOBS, type Typed } from '../core';

export function readQuestion(text: string): Typed<string> {
  return /\S/.test(text) ? { value: text } : { problem: 'There is no question.' };
}

export function readQuery(text: string): Typed<string> {
  const { data, error } = JOBS.embed_search.input.shape.query.safeParse(text);
  return error ? { problem: error.issues[0]?.message ?? '' } : { value: data };
}
