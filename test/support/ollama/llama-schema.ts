/**
 * JSON schemas as node-llama-cpp's grammars understand them. What a grammar cannot express is left
 * out and named in the notes: the answer is then looser than the schema, which a client that
 * validates has to notice anyway.
 */

type Json = Record<string, unknown>;

export interface GrammarSchema {
  schema: Json;
  notes: string[];
}

/** llama.cpp refuses grammars with longer repetitions. */
const MOST_REPETITIONS = 1000;
/** A whole number with bounds this close together is an enumeration. */
const MOST_NUMBERS = 100;
/** A definition that contains itself is written out this often. */
const MOST_NESTINGS = 2;

const SCALARS = ['string', 'number', 'integer', 'boolean', 'null'];
const STRING_FORMATS = ['date-time', 'time', 'date'];
const UNSUPPORTED = [
  'pattern',
  'uniqueItems',
  'multipleOf',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'not',
  'if',
  'dependentRequired',
  'dependentSchemas',
  'patternProperties',
  'propertyNames',
  'contains',
  'unevaluatedProperties',
  'minProperties',
  'maxProperties',
];

const ANYTHING: Json = {
  oneOf: [
    { type: ['string', 'number', 'boolean', 'null'] },
    { type: 'object', additionalProperties: true },
    { type: 'array' },
  ],
};

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const without = (schema: Json, ...keys: string[]): Json =>
  Object.fromEntries(Object.entries(schema).filter(([key]) => !keys.includes(key)));

/** Thrown up to the nearest place where a self-containing definition can simply be left out. */
class Endless extends Error {}

class Converter {
  readonly notes = new Set<string>();
  private readonly open: string[] = [];

  constructor(private readonly root: Json) {}

  convert(schema: unknown, at: string): Json {
    if (schema === false) {
      this.notes.add(`${at}: false cannot be enforced`);
      return ANYTHING;
    }
    if (!isObject(schema)) return ANYTHING;
    if (typeof schema.$ref === 'string') return this.reference(schema, schema.$ref, at);
    this.noteUnsupported(schema, at);
    if ('const' in schema) return this.literal(schema.const);
    if (Array.isArray(schema.enum)) return this.alternatives(schema.enum);
    const choices = schema.anyOf ?? schema.oneOf;
    if (Array.isArray(choices)) return this.choice(schema, choices, at);
    if (Array.isArray(schema.allOf)) return this.convert(this.merged(schema, schema.allOf), at);
    return this.typed(schema, at);
  }

  private noteUnsupported(schema: Json, at: string): void {
    for (const keyword of UNSUPPORTED) {
      if (keyword in schema) this.notes.add(`${at}: ${keyword} is not enforced`);
    }
  }

  private reference(schema: Json, pointer: string, at: string): Json {
    const target = this.lookUp(pointer);
    if (target === undefined) {
      this.notes.add(`${at}: ${pointer} is not there, anything is allowed`);
      return ANYTHING;
    }
    if (this.open.filter((name) => name === pointer).length >= MOST_NESTINGS) {
      this.notes.add(`${at}: ${pointer} contains itself, written out ${MOST_NESTINGS} times`);
      throw new Endless();
    }
    const siblings = without(schema, '$ref');
    this.open.push(pointer);
    try {
      return this.convert(isObject(target) ? { ...target, ...siblings } : target, at);
    } finally {
      this.open.pop();
    }
  }

  private lookUp(pointer: string): unknown {
    if (!pointer.startsWith('#')) return undefined;
    const steps = pointer.slice(1).split('/').filter(Boolean);
    return steps.reduce<unknown>((node, step) => {
      const name = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
      return isObject(node) || Array.isArray(node) ? (node as Json)[name] : undefined;
    }, this.root);
  }

  private alternatives(values: unknown[]): Json {
    const isScalar = (value: unknown) => typeof value !== 'object' || value === null;
    if (values.every(isScalar)) return { enum: values };
    return { oneOf: values.map((value) => this.literal(value)) };
  }

  private literal(value: unknown): Json {
    if (Array.isArray(value)) {
      if (value.length === 0) return { type: 'array', maxItems: 0 };
      const prefixItems = value.map((item) => this.literal(item));
      return { type: 'array', prefixItems, minItems: value.length, maxItems: value.length };
    }
    if (!isObject(value)) return { const: value };
    const properties = Object.entries(value).map(([key, item]) => [key, this.literal(item)]);
    return { type: 'object', properties: Object.fromEntries(properties) };
  }

  /** Endless branches are dropped as long as another one is left. */
  private choice(schema: Json, choices: unknown[], at: string): Json {
    const shared = without(schema, 'anyOf', 'oneOf');
    const oneOf: Json[] = [];
    for (const [index, choice] of choices.entries()) {
      try {
        const whole = isObject(choice) ? { ...shared, ...choice } : choice;
        oneOf.push(this.convert(whole, `${at}/${index}`));
      } catch (error) {
        if (!(error instanceof Endless)) throw error;
      }
    }
    if (oneOf.length === 0) throw new Endless();
    return oneOf.length === 1 ? oneOf[0]! : { oneOf };
  }

  private merged(schema: Json, parts: unknown[]): Json {
    const merged = without(schema, 'allOf');
    for (const part of parts) {
      const referred = isObject(part) && typeof part.$ref === 'string' && this.lookUp(part.$ref);
      const source = isObject(referred) ? referred : part;
      if (!isObject(source)) continue;
      const properties = { ...asObject(merged.properties), ...asObject(source.properties) };
      const required = [...asArray(merged.required), ...asArray(source.required)];
      Object.assign(merged, source);
      if (Object.keys(properties).length > 0) Object.assign(merged, { properties, required });
    }
    return merged;
  }

  private typed(schema: Json, at: string): Json {
    const types = typesOf(schema);
    if (types.length === 0) return ANYTHING;
    if (types.length === 1) return this.single(schema, String(types[0]), at);
    if (types.every((type) => SCALARS.includes(String(type)))) return { type: types };
    return this.choice(
      {},
      types.map((type) => ({ ...schema, type })),
      at,
    );
  }

  private single(schema: Json, type: string, at: string): Json {
    switch (type) {
      case 'object':
        return this.object(schema, at);
      case 'array':
        return this.array(schema, at);
      case 'string':
        return this.string(schema, at);
      case 'integer':
      case 'number':
        return this.number(schema, type, at);
      case 'boolean':
      case 'null':
        return { type };
      default:
        this.notes.add(`${at}: there is no type ${type}, anything is allowed`);
        return ANYTHING;
    }
  }

  /** The grammar writes every property that is listed, in this order, so endless ones go. */
  private object(schema: Json, at: string): Json {
    const required = asArray(schema.required);
    const properties: Json = {};
    for (const [name, value] of Object.entries(asObject(schema.properties))) {
      try {
        properties[name] = this.convert(value, `${at}/${name}`);
      } catch (error) {
        if (!(error instanceof Endless) || required.includes(name)) throw error;
      }
    }
    return { type: 'object', properties, ...this.additional(schema, at) };
  }

  private additional(schema: Json, at: string): Json {
    const { additionalProperties, properties } = schema;
    if (isObject(additionalProperties)) {
      return { additionalProperties: this.convert(additionalProperties, `${at}/*`) };
    }
    // Unlike JSON Schema, a schema that lists its properties means these: small models never stop
    // adding otherwise.
    const free = additionalProperties === true || properties === undefined;
    return free && additionalProperties !== false ? { additionalProperties: true } : {};
  }

  private array(schema: Json, at: string): Json {
    const bounds = this.bounds(schema, 'minItems', 'maxItems', at);
    const prefix = schema.prefixItems;
    const converted: Json = { type: 'array', ...bounds };
    if (Array.isArray(prefix)) {
      converted.prefixItems = prefix.map((item, index) => this.convert(item, `${at}/${index}`));
    }
    if (schema.items === undefined || schema.items === true) return converted;
    try {
      if (schema.items !== false) converted.items = this.convert(schema.items, `${at}/*`);
    } catch (error) {
      if (!(error instanceof Endless) || Number(bounds.minItems ?? 0) > 0) throw error;
      return { type: 'array', maxItems: 0 };
    }
    return converted;
  }

  private string(schema: Json, at: string): Json {
    const { format } = schema;
    if (typeof format === 'string' && STRING_FORMATS.includes(format)) {
      return { type: 'string', format };
    }
    if (typeof format === 'string') this.notes.add(`${at}: format ${format} is not enforced`);
    return { type: 'string', ...this.bounds(schema, 'minLength', 'maxLength', at) };
  }

  private bounds(schema: Json, least: string, most: string, at: string): Json {
    const kept: Json = {};
    for (const keyword of [least, most]) {
      const value = schema[keyword];
      if (typeof value !== 'number') continue;
      if (value <= MOST_REPETITIONS) kept[keyword] = value;
      else this.notes.add(`${at}: ${keyword} ${value} is too large for a grammar`);
    }
    return kept;
  }

  private number(schema: Json, type: 'integer' | 'number', at: string): Json {
    const { minimum, maximum } = schema;
    if (minimum === undefined && maximum === undefined) return { type };
    if (type === 'integer' && typeof minimum === 'number' && typeof maximum === 'number') {
      const first = Math.ceil(minimum);
      const count = Math.floor(maximum) - first + 1;
      if (count > 0 && count <= MOST_NUMBERS) {
        return { enum: Array.from({ length: count }, (_, index) => first + index) };
      }
    }
    this.notes.add(`${at}: minimum and maximum are not enforced`);
    return { type };
  }
}

const asObject = (value: unknown): Json => (isObject(value) ? value : {});
const asArray = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** Schemas that leave out `type` but describe an object or an array mean one. */
function typesOf(schema: Json): unknown[] {
  if (Array.isArray(schema.type)) return schema.type;
  if (typeof schema.type === 'string') return [schema.type];
  if ('properties' in schema || 'additionalProperties' in schema) return ['object'];
  if ('items' in schema || 'prefixItems' in schema) return ['array'];
  if ('minLength' in schema || 'maxLength' in schema || 'pattern' in schema) return ['string'];
  return [];
}

export function toGrammarSchema(schema: Json): GrammarSchema {
  const converter = new Converter(schema);
  try {
    return { schema: converter.convert(schema, '#'), notes: [...converter.notes] };
  } catch (error) {
    if (!(error instanceof Endless)) throw error;
    const notes = [...converter.notes, '#: requires itself without end, any JSON is allowed'];
    return { schema: ANYTHING, notes };
  }
}
