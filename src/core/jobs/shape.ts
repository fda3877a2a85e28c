import { type SchemaDraft, Validator } from '@cfworker/json-schema';
import type { Typed } from './handed';

/** A JSON schema, as the person wrote it. */
export type Shape = Record<string, unknown>;

const MOST_PROBLEMS = 8;

/** Keywords whose value is a schema, a list of schemas, or schemas by name. */
const ONE = [
  ...['items', 'additionalItems', 'unevaluatedItems', 'contains'],
  ...['additionalProperties', 'unevaluatedProperties', 'propertyNames'],
  ...['not', 'if', 'then', 'else'],
];
const LISTS = ['anyOf', 'oneOf', 'allOf', 'prefixItems'];
const MAPS = ['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas'];

const TYPES = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null'];

export function isObject(value: unknown): value is Shape {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A copy in which every schema of the tree went through `change`, the inner ones first. */
export function mapShape(shape: Shape, change: (shape: Shape) => Shape): Shape {
  const inner = (value: unknown): unknown =>
    Array.isArray(value) ? value.map(inner) : isObject(value) ? mapShape(value, change) : value;
  const entries = Object.entries(shape).map(([key, value]): [string, unknown] => {
    if (MAPS.includes(key) && isObject(value)) {
      return [key, Object.fromEntries(Object.entries(value).map(([k, v]) => [k, inner(v)]))];
    }
    return [key, ONE.includes(key) || LISTS.includes(key) ? inner(value) : value];
  });
  return change(Object.fromEntries(entries));
}

/** What grammars do not know, or know by halves: a pattern that is not anchored makes the server refuse the request. */
const NOT_IN_GRAMMARS = [
  ...['$schema', 'pattern', 'patternProperties', 'propertyNames', 'not', 'if', 'then', 'else'],
  ...['unevaluatedItems', 'unevaluatedProperties'],
];
/** A schema with one of these says of which type its values are. Source: llama.cpp's converter. */
const TELLS_TYPE = [
  ...['type', '$ref', 'enum', 'const', 'anyOf', 'oneOf', 'allOf', 'properties'],
  ...['items', 'prefixItems', 'minLength', 'maxLength'],
];
const ANY_TYPE = TYPES.toReversed();
/** Grammars with longer repetitions are refused. */
const MOST_REPETITIONS = 1000;
const REPETITIONS = ['minLength', 'maxLength', 'minItems', 'maxItems'];

/**
 * A schema as servers hold an answer to it: they make a grammar of it, which can say less. What it cannot say is left
 * out, so an answer that follows it still has to be validated.
 */
export function grammarShape(shape: Shape): Shape {
  return mapShape(shape, grammarNode);
}

function grammarNode(shape: Shape): Shape {
  const kept = Object.entries(shape).filter(
    ([key, value]) => !NOT_IN_GRAMMARS.includes(key) && !isEndless(key, value),
  );
  const node = Object.fromEntries(kept.map(([key, value]) => [key, withoutBooleans(key, value)]));
  // What else may be in there is no longer told.
  if (shape.patternProperties) node.additionalProperties = true;
  // Of the two, only `items` would be read.
  if (node.items === false || node.prefixItems) delete node.items;
  // Nothing beside alternatives is read: those that allow anything must not hide it.
  for (const key of ['anyOf', 'oneOf']) {
    const isOpen = (node[key] as Shape[] | undefined)?.some(({ type }) => type === ANY_TYPE);
    if (isOpen) delete node[key];
  }
  const isTyped =
    TELLS_TYPE.some((key) => key in node) || (node.additionalProperties ?? true) !== true;
  return isTyped ? node : { ...node, type: ANY_TYPE };
}

/** The same keyword without schemas that are `true` or `false`. */
function withoutBooleans(key: string, value: unknown): unknown {
  const spelled = (schema: unknown): unknown => (schema === true ? { type: ANY_TYPE } : schema);
  if (LISTS.includes(key) || (key === 'items' && Array.isArray(value))) {
    return (value as unknown[]).filter((schema) => schema !== false).map(spelled);
  }
  if (key === 'items') return spelled(value);
  if (key !== 'properties') return value;
  const named = Object.entries(value as Shape).filter(([, schema]) => schema !== false);
  return Object.fromEntries(named.map(([name, schema]) => [name, spelled(schema)]));
}

function isEndless(key: string, value: unknown): boolean {
  return REPETITIONS.includes(key) && typeof value === 'number' && value > MOST_REPETITIONS;
}

/** Why a schema cannot be used; undefined: it can. */
export function whyNotShape(root: Shape): string | undefined {
  let why: string | undefined;
  try {
    mapShape(root, (shape) => {
      why ??= whyNotNode(shape, root);
      return shape;
    });
    if (why === undefined) validatorOf(root);
  } catch {
    // Nested without end, or names one place in two ways.
    return 'The schema cannot be read.';
  }
  return why;
}

function whyNotNode(shape: Shape, root: Shape): string | undefined {
  const { type, required, enum: choices, pattern, patternProperties = {}, $ref } = shape;
  const types: unknown[] = type === undefined ? [] : Array.isArray(type) ? type : [type];
  const unknown = types.find((name) => !TYPES.includes(name as string));
  if (unknown !== undefined) return `The schema names ${show(unknown)}, which is not a type.`;
  if (required !== undefined && !isListOf(required, 'string')) {
    return 'In the schema, "required" is not a list of names.';
  }
  if (choices !== undefined && !Array.isArray(choices)) {
    return 'In the schema, "enum" is not a list.';
  }
  for (const key of [...ONE, ...LISTS, ...MAPS]) {
    if (shape[key] !== undefined && !holdsSchemas(key, shape[key])) {
      return `In the schema, ${show(key)} does not hold what it should.`;
    }
  }
  const patterns = [
    ...(pattern === undefined ? [] : [pattern]),
    ...Object.keys(patternProperties as Shape),
  ];
  const odd = patterns.find((source) => !isPattern(source));
  if (odd !== undefined) {
    return `The schema has a pattern that is not a regular expression: ${show(odd)}.`;
  }
  if (shape.$dynamicRef !== undefined) {
    return 'The schema uses "$dynamicRef", which is not followed: use "$ref".';
  }
  return $ref === undefined ? undefined : whyNotReference($ref, root);
}

function holdsSchemas(key: string, value: unknown): boolean {
  const isSchema = (inner: unknown): boolean => isObject(inner) || typeof inner === 'boolean';
  if (MAPS.includes(key)) return isObject(value) && Object.values(value).every(isSchema);
  const isList = Array.isArray(value) && value.every(isSchema);
  return LISTS.includes(key) ? isList : isSchema(value) || (key === 'items' && isList);
}

/** References stay inside the schema: nothing is ever fetched. */
function whyNotReference($ref: unknown, root: Shape): string | undefined {
  if (typeof $ref !== 'string' || !/^#(\/|$)/.test($ref)) {
    return `The schema refers to ${show($ref)}: only references inside of it, such as "#/$defs/name", are followed.`;
  }
  let found: unknown = root;
  for (const step of $ref.split('/').slice(1)) {
    const key = decodeURIComponent(step).replace(/~1/g, '/').replace(/~0/g, '~');
    found = typeof found === 'object' && found !== null ? (found as Shape)[key] : undefined;
  }
  return found === undefined
    ? `The schema refers to ${show($ref)}, which is not in it.`
    : undefined;
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 100);
}

function isListOf(value: unknown, type: string): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === type);
}

function isPattern(source: unknown): boolean {
  return typeof source === 'string' && isRegExp(unicodePattern(source));
}

function isRegExp(source: string): boolean {
  try {
    new RegExp(source, 'u');
    return true;
  } catch {
    return false;
  }
}

/** Pieces of a pattern: escapes, quantifiers with numbers, and single characters. */
const PIECES =
  /\\(?:[pPu]\{[^}]*\}|u[\da-f]{4}|x[\da-f]{2}|c[a-z]|k<[^>]*>|[^])|\{\d+(?:,\d*)?\}|[^]/gi;

/**
 * The same pattern in the strict syntax that the validator compiles: many are written for the lenient one, with signs
 * escaped that need not be, or not escaped that should.
 */
function unicodePattern(source: string): string {
  if (isRegExp(source)) return source;
  const pieces = source.match(PIECES) ?? [];
  let isClass = false;
  const strict = pieces.map((piece, index) => {
    const before = pieces[index - 1];
    if (isClass) {
      if (piece === ']') isClass = false;
      // Beside a set of characters it is no range.
      if (piece === '-' && [before, pieces[index + 1]].some((p) => SET.test(p ?? ''))) return '\\-';
    } else if (piece === '[') isClass = true;
    else if (/^[\]{}]$/.test(piece)) return `\\${piece}`;
    const isNeedless = /^\\[^\w^$\\.*+?()[\]{}|/]$/.test(piece) || piece === '\\_';
    return isNeedless && !(isClass && piece === '\\-') ? piece.slice(1) : piece;
  });
  return strict.join('');
}

const SET = /^\\[wds]$/i;

/** With its patterns in the syntax of the validator. */
function withUnicodePatterns(shape: Shape): Shape {
  const { pattern, patternProperties } = shape;
  return {
    ...shape,
    ...(typeof pattern === 'string' && { pattern: unicodePattern(pattern) }),
    ...(isObject(patternProperties) && {
      patternProperties: Object.fromEntries(
        Object.entries(patternProperties).map(([key, inner]) => [unicodePattern(key), inner]),
      ),
    }),
  };
}

function validatorOf(shape: Shape): Validator {
  const dialect = typeof shape.$schema === 'string' ? shape.$schema : '';
  const draft: SchemaDraft = /draft-0?[34]\b/.test(dialect)
    ? '4'
    : /draft-0?[67]\b/.test(dialect)
      ? '7'
      : '2020-12';
  // It marks the schemas that it reads: it gets a copy.
  return new Validator(mapShape(structuredClone(shape), withUnicodePatterns), draft, false);
}

/** What is wrong with a value, each with its place. Empty: nothing. */
export function problemsOf(value: unknown, shape: Shape): string[] {
  const { errors } = validatorOf(shape).validate(value);
  // Most outer errors say only that there are inner ones.
  const inner = errors.filter(({ error }) => !OUTER.test(error));
  const problems = (inner.length > 0 ? inner : errors).map(
    ({ instanceLocation, error }) => `${placeOf(instanceLocation)}: ${error}`,
  );
  return [...new Set(problems)].slice(0, MOST_PROBLEMS);
}

const OUTER = /subschema|not match (additional properties |items )?schema/i;

function placeOf(pointer: string): string {
  const place = pointer
    .split('/')
    .slice(1)
    .map((step) => decodeURIComponent(step).replace(/~1/g, '/').replace(/~0/g, '~'))
    .join('.');
  return place || 'The value';
}

/** The same schema without anything that a part of the text may fail to give. */
export function relaxed(shape: Shape): Shape {
  return mapShape(shape, (inner) => {
    const kept = Object.entries(inner).filter(([key]) => !DEMANDS.includes(key));
    // What parts have in common may fit several alternatives.
    return Object.fromEntries(kept.map(([key, value]) => [key === 'oneOf' ? 'anyOf' : key, value]));
  });
}

const DEMANDS = [
  'required',
  'minItems',
  'minProperties',
  'contains',
  'minContains',
  'dependentRequired',
  'dependentSchemas',
  'not',
  'if',
  'then',
  'else',
];

/** A schema for values like an example: its properties are required, and there are no others. */
export function inferSchema(example: unknown): Shape {
  if (example === null || example === undefined) return {};
  if (Array.isArray(example)) {
    if (example.length === 0) return { type: 'array' };
    return { type: 'array', items: example.map(inferSchema).reduce(either) };
  }
  if (typeof example !== 'object') return { type: typeof example };
  const properties = Object.entries(example).map(([key, value]) => [key, inferSchema(value)]);
  return {
    type: 'object',
    properties: Object.fromEntries(properties) as Shape,
    required: Object.keys(example),
    additionalProperties: false,
  };
}

/** A schema for what fits one or the other; both are inferred ones. */
function either(one: Shape, other: Shape): Shape {
  if (one.type === undefined || one.type !== other.type) {
    const byType = new Map<unknown, Shape>();
    for (const shape of [one, other].flatMap(alternatives)) {
      const same = byType.get(shape.type);
      byType.set(shape.type, same ? either(same, shape) : shape);
    }
    const [first, ...more] = byType.values();
    if (!first || (more.length === 0 && first.type === 'null')) return {};
    return more.length === 0 ? first : { anyOf: [first, ...more] };
  }
  if (one.type === 'array') {
    const items = [one.items, other.items].filter(isObject);
    return items.length === 0 ? one : { type: 'array', items: items.reduce(either) };
  }
  if (one.type !== 'object') return one;
  const [a, b] = [one.properties as Shape, other.properties as Shape];
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  return {
    type: 'object',
    properties: Object.fromEntries(
      keys.map((key) => [key, [a[key], b[key]].filter(isObject).reduce(either)]),
    ),
    required: (one.required as string[]).filter((key) =>
      (other.required as string[]).includes(key),
    ),
    additionalProperties: false,
  };
}

/** An example of null tells nothing of its type; beside other examples it is one of the types. */
function alternatives(shape: Shape): Shape[] {
  if (Array.isArray(shape.anyOf)) return shape.anyOf as Shape[];
  return [shape.type === undefined ? { type: 'null' } : shape];
}

/** A JSON schema, as text. */
export function readSchema(text: string): Typed<Shape> {
  const read = readJson(text);
  return 'problem' in read ? read : schemaOf(read.value);
}

/** An example of the data, as JSON text, as the schema of all that is like it. */
export function readExample(text: string): Typed<Shape> {
  const read = readJson(text);
  return 'problem' in read ? read : schemaLike(read.value);
}

/** A JSON schema, or an example of the data: only a schema speaks of types and properties. */
export function readShape(value: unknown): Typed<Shape> {
  const isSchema =
    isObject(value) &&
    (['$schema', '$ref', 'properties', ...LISTS].some((key) => Object.hasOwn(value, key)) ||
      [value.type].flat().every((type) => TYPES.includes(type as string)));
  return isSchema ? schemaOf(value) : schemaLike(value);
}

const FIELD = /^[\p{L}_][\p{L}\p{N}_ -]{0,59}$/u;

/** Names of fields with commas between them; each holds a text or a number, or nothing. */
export function readFields(text: string): Typed<Shape> {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean);
  const odd = names.find((name) => !FIELD.test(name));
  if (names.length === 0) return { problem: 'Say what to extract: names of fields, or JSON.' };
  if (odd !== undefined) return { problem: `${show(odd)} is not the name of a field.` };
  const fields = names.map((name) => [name, { type: ['string', 'number', 'null'] }] as const);
  return {
    value: {
      type: 'object',
      properties: Object.fromEntries(fields),
      required: [...new Set(names)],
      additionalProperties: false,
    },
  };
}

function readJson(text: string): Typed<unknown> {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch (thrown) {
    return { problem: `This is not JSON: ${thrown instanceof Error ? thrown.message : ''}` };
  }
}

function schemaOf(value: unknown): Typed<Shape> {
  if (!isObject(value)) return { problem: 'A JSON schema is an object: {"type": "object", …}.' };
  const problem = whyNotShape(value);
  return problem === undefined ? { value } : { problem };
}

function schemaLike(value: unknown): Typed<Shape> {
  const isEmpty = typeof value !== 'object' || value === null || Object.keys(value).length === 0;
  return isEmpty
    ? { problem: 'An example is an object or a list with something in it: {"name": "Ada"}.' }
    : { value: inferSchema(value) };
}
