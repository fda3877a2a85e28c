/** How two lists of texts differ. */
export interface ListDiff {
  added: string[];
  removed: string[];
  unchanged: string[];
}

export interface LineChange {
  change: 'same' | 'added' | 'removed';
  text: string;
}

export function diffLists(before: readonly string[], after: readonly string[]): ListDiff {
  const [old, now] = [new Set(before), new Set(after)];
  return {
    added: [...now].filter((text) => !old.has(text)),
    removed: [...old].filter((text) => !now.has(text)),
    unchanged: [...now].filter((text) => old.has(text)),
  };
}

/** Beyond this many pairs of lines two texts are shown one after the other. */
const MOST_PAIRS = 1_000_000;

/** The lines of two texts, in order: what both have, and what only one has. */
export function diffLines(before: string, after: string): LineChange[] {
  const a = before.split('\n');
  const b = after.split('\n');
  const changes: LineChange[] = [];
  const add = (change: LineChange['change'], text = ''): void =>
    void changes.push({ change, text });
  const common = a.length * b.length > MOST_PAIRS ? undefined : commonLengths(a, b);
  let i = 0;
  let j = 0;
  while (common && i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      add('same', a[i++]);
      j++;
    } else if ((common[i + 1]?.[j] ?? 0) >= (common[i]?.[j + 1] ?? 0)) add('removed', a[i++]);
    else add('added', b[j++]);
  }
  while (i < a.length) add('removed', a[i++]);
  while (j < b.length) add('added', b[j++]);
  return changes;
}

/** How many lines the texts from line i and line j on have in common, in order. */
function commonLengths(a: readonly string[], b: readonly string[]): Uint32Array[] {
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    const [row, next] = [lengths[i] as Uint32Array, lengths[i + 1] as Uint32Array];
    for (let j = b.length - 1; j >= 0; j--) {
      row[j] = a[i] === b[j] ? (next[j + 1] ?? 0) + 1 : Math.max(next[j] ?? 0, row[j + 1] ?? 0);
    }
  }
  return lengths;
}
