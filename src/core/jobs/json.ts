import * as z from 'zod';

/** A schema as models and servers take it. */
export function jsonSchema(schema: z.ZodType): Record<string, unknown> {
  const found = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  // Servers know no other dialect, and some refuse the mark.
  delete found.$schema;
  return found;
}

export type Read<T> = { ok: true; value: T } | { ok: false; problems: string[] };

/** A model's answer as a value of a shape. A fence, or prose around the JSON, is forgiven; a wrong shape is not. */
export function readJson<S extends z.ZodType>(answer: string, schema: S): Read<z.output<S>> {
  const found = findJson(answer);
  if (found === undefined) return { ok: false, problems: ['There is no whole JSON value in it.'] };
  const parsed = schema.safeParse(found.value);
  if (parsed.success) return { ok: true, value: parsed.data };
  return {
    ok: false,
    problems: parsed.error.issues
      .slice(0, MOST_PROBLEMS)
      .map(({ path, message }) => `${path.join('.') || 'The value'}: ${message}`),
  };
}

const MOST_PROBLEMS = 8;
/** Openings that are tried: prose may hold brackets of its own. */
const MOST_STARTS = 50;

/**
 * The first whole object or array in a text; `undefined` when there is none. What stands inside of a broken or a cut one
 * is a piece of an answer, not an answer.
 */
export function findJson(text: string): { value: unknown } | undefined {
  const whole = parseJson(text);
  if (whole) return whole;
  const openings = /[[{]/g;
  for (let tries = 0; tries < MOST_STARTS; tries++) {
    const start = openings.exec(text)?.index;
    if (start === undefined) return undefined;
    const end = endOfValue(text, start);
    if (end === undefined) {
      if (LIKE_JSON.test(text.slice(start))) return undefined;
      continue;
    }
    const found = parseJson(text.slice(start, end));
    if (found) return found;
    openings.lastIndex = end;
  }
  return undefined;
}

/** How an object with a key begins, in quotes or not, or a list of values. */
const LIKE_JSON =
  /^(?:\{\s*(?:"(?:[^"\\]|\\.)*"|'[^']*'|[\w$]+)\s*:|\[\s*(?:[[{"\d-]|(?:true|false|null)\b))/;

/** The object or array that a text begins with, and what follows it. */
export function leadingJson(text: string): { value: unknown; rest: string } | undefined {
  const end = /^[[{]/.test(text) ? endOfValue(text, 0) : undefined;
  const found = end === undefined ? undefined : parseJson(text.slice(0, end));
  return found && { ...found, rest: text.slice(end) };
}

/** The value of a text that is JSON and nothing else. */
export function parseJson(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}

/** Where the object or array that begins at `start` ends; brackets in strings do not count. */
function endOfValue(text: string, start: number): number | undefined {
  let depth = 0;
  let inString = false;
  for (let i = start; i < text.length; i++) {
    const char = text[i];
    if (inString) {
      if (char === '\\') i++;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === '{' || char === '[') depth++;
    else if ((char === '}' || char === ']') && --depth === 0) return i + 1;
  }
  return undefined;
}
