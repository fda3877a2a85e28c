/**
 * Conditions as package.json writes them, for what the editor tells no extension: whether a command can work now. Of the
 * language it knows what this product uses: `a && !b || c > 0`, `== != < <= > >=`, `=~ /regular expression/` and `in` for lists.
 */

/** What a context key stands for; undefined: nothing. */
export type Values = (key: string) => unknown;

/** No condition always holds. */
export function holds(clause: string | undefined, values: Values): boolean {
  if (clause === undefined) return true;
  return clause.split('||').some((part) => part.split('&&').every((term) => isTrue(term, values)));
}

/** The context keys that a condition asks for. */
export function keysOf(clause: string): string[] {
  const keys: string[] = [];
  const note: Values = (key) => void keys.push(key);
  for (const term of clause.split(/\|\||&&/)) isTrue(term, note);
  return keys;
}

function isTrue(term: string, values: Values): boolean {
  const [, not, key = '', operator, written = ''] =
    /^\s*(!?)([\w.-]+)(?:\s*(==|!=|=~|<=?|>=?|in\b)\s*(\S.*?))?\s*$/.exec(term) ?? [];
  if (key === '' || (not && operator)) throw new Error(`not a condition: ${term}`);
  const value = values(key);
  // The editor hands package.json to an extension with quotes around each value.
  const wanted = written.replace(/^'(.*)'$/, '$1');
  switch (operator) {
    case undefined:
      return Boolean(value) !== (not === '!');
    case '==':
      return text(value) === wanted;
    case '!=':
      return text(value) !== wanted;
    case '=~':
      return regExp(wanted).test(text(value));
    case 'in':
      return contains(values(wanted), value);
    case '<':
      return Number(value) < Number(wanted);
    case '<=':
      return Number(value) <= Number(wanted);
    case '>':
      return Number(value) > Number(wanted);
    default:
      return Number(value) >= Number(wanted);
  }
}

function contains(list: unknown, value: unknown): boolean {
  return Array.isArray(list) && list.includes(value);
}

function text(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : '';
}

function regExp(written: string): RegExp {
  const [, source = '', flags] = /^\/(.*)\/(\w*)$/.exec(written) ?? [];
  return new RegExp(source, flags);
}
