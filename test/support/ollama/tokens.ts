/**
 * A deterministic tokeniser: about four characters a piece, digits one by one (as most real
 * vocabularies do), and `tokenize(text).join('') === text` for every text.
 */
export function tokenize(text: string): string[] {
  return text.match(/ ?[\p{L}\p{M}_]{1,6}|\p{N}|[^\S ]+ *| +|\S/gu) ?? [];
}

export function countTokens(text: string): number {
  return tokenize(text).length;
}

/** FNV-1a: small, and the same on every machine. */
export function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  return value >>> 0;
}

/** The ids that /api/generate returns as `context`. */
export function tokenIds(text: string): number[] {
  return tokenize(text).map((piece) => 256 + (hash(piece) % 31_744));
}
