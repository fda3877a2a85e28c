/** A text around which a draft was written: what it replaces, and what stands before and after. */
export interface Original {
  before: string;
  replaced: string;
  after: string;
}

/**
 * Where the text that a draft replaces begins now: where it was, or where it has moved to. Undefined unless that is
 * certain: a text that stands in a file twice may be the other one.
 */
export function placeOf(now: string, { before, replaced, after }: Original): number | undefined {
  const then = before + replaced + after;
  if (now === then) return before.length;
  if (replaced.trim() === '' || !isOnly(then, replaced) || !isOnly(now, replaced)) return undefined;
  return now.indexOf(replaced);
}

function isOnly(text: string, part: string): boolean {
  const first = text.indexOf(part);
  return first !== -1 && text.indexOf(part, first + 1) === -1;
}
