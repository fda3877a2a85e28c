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
  if (typeof source !== 'string') return false;
  try {
    new RegExp(source, 'u');
    return true;
  } catch {
    return false;
  }
}

function validatorOf(shape: Shape): Validator {
  const dialect = typeof shape.$schema === 'string' ? shape.$schema : '';
  const draft: SchemaDraft = /draft-0?[34]\b/.test(dialect)
    ? '4'
    : /draft-0?[67]\b/.test(dialect)
      ? '7'
      : '2020-12';
  // It marks the schemas that it reads: it gets a copy.
  return new Validator(structuredClone(shape), draft, false);
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
