/** Values that satisfy a JSON schema and, where that is possible, say something about the text. */
import { contentWords, words, type Prompt } from './prompt';
import { mostCentral, unitsOf } from './summarize';
import { hash } from './tokens';

type Schema = Record<string, unknown>;

/** Beyond this a recursive schema gets its smallest value. */
const DEEP = 6;
const DEFAULT_ITEMS = 3;

export function fromSchema(schema: Schema, prompt: Prompt): unknown {
  return new Generator(schema, prompt).value(schema, { key: '', salt: 0, depth: 0 });
}

interface Place {
  /** The property name, which hints at what a string is for. */
  key: string;
  /** Tells the items of an array apart. */
  salt: number;
  depth: number;
}

class Generator {
  private readonly sentences: string[];
  private readonly counts = new Map<string, number>();
  private readonly topics: string[];

  constructor(
    private readonly root: Schema,
    private readonly prompt: Prompt,
  ) {
    const units = unitsOf(prompt.source);
    const central = mostCentral(units, DEFAULT_ITEMS);
    this.sentences = [...central, ...units.filter((unit) => !central.includes(unit))];
    for (const word of words(prompt.source)) {
      this.counts.set(word, (this.counts.get(word) ?? 0) + 1);
    }
    this.topics = [...new Set(contentWords(prompt.source))].sort(
      (a, b) => (this.counts.get(b) ?? 0) - (this.counts.get(a) ?? 0) || (a < b ? -1 : 1),
    );
  }

  value(given: unknown, place: Place): unknown {
    const schema = this.resolve(given);
    if ('const' in schema) return schema.const;
    if (Array.isArray(schema.enum)) return this.mentioned(schema.enum, place.salt);
    const choices = (schema.anyOf ?? schema.oneOf) as Schema[] | undefined;
    if (choices) return this.value({ ...without(schema), ...this.choose(choices, place) }, place);
    switch (typeOf(schema)) {
      case 'object':
        return this.object(schema, place);
      case 'array':
        return this.array(schema, place);
      case 'integer':
        return this.number(schema, place, true);
      case 'number':
        return this.number(schema, place, false);
      case 'boolean':
        return this.truth(place);
      case 'null':
        return null;
      default:
        return this.string(schema, place);
    }
  }

  private resolve(given: unknown): Schema {
    let schema = (typeof given === 'object' && given !== null ? given : {}) as Schema;
    for (let hops = 0; typeof schema.$ref === 'string' && hops < 20; hops++) {
      const { $ref, ...beside } = schema;
      schema = { ...this.lookUp(String($ref)), ...beside };
    }
    const all = schema.allOf as Schema[] | undefined;
    if (!all) return schema;
    return all.map((part) => this.resolve(part)).reduce(merge, omit(schema, 'allOf'));
  }

  private lookUp(reference: string): Schema {
    let found: unknown = this.root;
    for (const step of reference.replace(/^#\/?/, '').split('/').filter(Boolean)) {
      const key = decodeURIComponent(step).replace(/~1/g, '/').replace(/~0/g, '~');
      found = (found as Schema | undefined)?.[key];
    }
    return (found ?? {}) as Schema;
  }

  /** Deep down the way out is the choice without references. */
  private choose(choices: Schema[], { depth }: Place): Schema {
    const filled = choices.filter((choice) => typeOf(this.resolve(choice)) !== 'null');
    const simple = choices.find((choice) => !JSON.stringify(choice).includes('$ref'));
    const best = depth >= DEEP ? simple : filled[0];
    return this.resolve(best ?? choices[0]);
  }

  /** The value whose words occur most often in the text; otherwise any, but always the same. */
  private mentioned(values: unknown[], salt: number): unknown {
    const ranked = values
      .map((value, index) => ({ value, index, score: this.occurrences(String(value)) }))
      .sort((a, b) => b.score - a.score || a.index - b.index);
    const named = ranked.filter(({ score }) => score > 0);
    if (named.length > 0) return named[salt % named.length]?.value;
    return values[(hash(this.prompt.source) + salt) % values.length];
  }

  private occurrences(label: string): number {
    const parts = words(label);
    if (parts.length === 0) return 0;
    const counts = parts.map((part) =>
      [...this.counts].reduce((sum, [word, count]) => sum + (sameStem(word, part) ? count : 0), 0),
    );
    return Math.min(...counts);
  }

  private object(schema: Schema, place: Place): unknown {
    const properties = (schema.properties ?? {}) as Record<string, Schema>;
    const required = (schema.required ?? []) as string[];
    const names = place.depth >= DEEP ? required : Object.keys(properties);
    const value: Schema = {};
    for (const name of new Set([...names, ...required])) {
      value[name] = this.value(properties[name] ?? {}, {
        key: name,
        salt: place.salt,
        depth: place.depth + 1,
      });
    }
    const extra = schema.additionalProperties;
    const wanted = (schema.minProperties as number | undefined) ?? (names.length === 0 ? 1 : 0);
    if (extra === false || typeof extra !== 'object' || place.depth >= DEEP) return value;
    for (let index = 0; Object.keys(value).length < wanted; index++) {
      const key = this.topics[index] ?? `key${index}`;
      value[key] = this.value(extra, { key, salt: index, depth: place.depth + 1 });
    }
    return value;
  }

  private array(schema: Schema, place: Place): unknown[] {
    const fixed = schema.prefixItems as Schema[] | undefined;
    const depth = place.depth + 1;
    const head = (fixed ?? []).map((item, salt) => this.value(item, { ...place, salt, depth }));
    const least = (schema.minItems as number | undefined) ?? 0;
    const most = (schema.maxItems as number | undefined) ?? Math.max(least, DEFAULT_ITEMS);
    const wanted = place.depth >= DEEP ? least : Math.max(least, Math.min(most, DEFAULT_ITEMS));
    if (schema.items === false) return head;
    const seen = new Set(head.map((item) => JSON.stringify(item)));
    const add = (item: unknown) => {
      seen.add(JSON.stringify(item));
      head.push(item);
    };
    for (let salt = 0; head.length < wanted && salt < wanted * 4; salt++) {
      const item = this.value(schema.items, { key: place.key, salt: place.salt + salt, depth });
      if (!seen.has(JSON.stringify(item))) add(item);
    }
    // The text has no more to say, but the schema wants more: repeat, numbered if need be.
    for (let salt = 0; head.length < least; salt++) {
      const item = this.value(schema.items, { key: place.key, salt: place.salt + salt, depth });
      const numbered = schema.uniqueItems === true && typeof item === 'string';
      add(numbered ? numberedText(item, head.length, this.resolve(schema.items)) : item);
    }
    return head;
  }

  private number(schema: Schema, place: Place, integer: boolean): number {
    const step = (schema.multipleOf as number | undefined) ?? (integer ? 1 : 0.01);
    const bound = (name: string) => schema[name] as number | undefined;
    const exclusive = (value: number | undefined, sign: number) =>
      value === undefined ? undefined : value + sign * step;
    const low = bound('minimum') ?? exclusive(bound('exclusiveMinimum'), 1);
    const high = bound('maximum') ?? exclusive(bound('exclusiveMaximum'), -1);
    const inRange = (value: number) =>
      value >= (low ?? -Infinity) && value <= (high ?? Infinity) && (!integer || value % 1 === 0);
    const inText = (this.prompt.source.match(/\b\d+(?:\.\d+)?\b/g) ?? []).map(Number);
    const mentionedHere = inText.filter((value) => inRange(value) && value % step === 0);
    const bounded = low !== undefined && high !== undefined;
    if (!bounded && mentionedHere.length > 0) {
      return mentionedHere[place.salt % mentionedHere.length] ?? 0;
    }
    const from = low ?? (high === undefined ? 0 : high - 10 * step);
    const to = high ?? from + 10 * step;
    const start = Math.ceil(from / step - 1e-9) * step;
    const steps = Math.max(0, Math.floor((to - start) / step + 1e-9));
    // Confidence and scores lean to the upper half, as those of models do.
    const half = Math.floor(steps / 2);
    const draw = hash(`${place.key}${place.salt}${this.prompt.source}`);
    const value = start + (half + (draw % (steps - half + 1))) * step;
    return integer ? Math.round(value) : Number(value.toFixed(6));
  }

  private truth({ key }: Place): boolean {
    const named = contentWords(key);
    return named.length > 0 && named.some((word) => this.occurrences(word) > 0);
  }

  private string(schema: Schema, place: Place): string {
    const least = (schema.minLength as number | undefined) ?? 0;
    const most = (schema.maxLength as number | undefined) ?? Infinity;
    const text = FORMATS[String(schema.format)] ?? this.textFor(place);
    return lengthBetween(text, least, most);
  }

  private textFor({ key, salt }: Place): string {
    const sentence = this.sentences[salt % Math.max(1, this.sentences.length)] ?? 'nothing';
    if (/label|categor|class|kind|type|sentiment|severity|priority/i.test(key)) {
      const labels = listedLabels(this.prompt.instruction);
      if (labels.length > 0) return String(this.mentioned(labels, salt));
    }
    if (/path|file/i.test(key)) {
      const paths = this.prompt.whole.match(/\b[\w./-]+\.[a-z]{1,4}\b/g) ?? [];
      if (paths.length > 0) return paths[salt % paths.length] ?? '';
    }
    if (/^(title|name|label|tag|topic|keyword|subject|id|key|term|word)s?$/i.test(key)) {
      return this.topics[salt % Math.max(1, this.topics.length)] ?? 'nothing';
    }
    return sentence;
  }
}

const FORMATS: Record<string, string> = {
  'date-time': '2026-01-01T00:00:00Z',
  date: '2026-01-01',
  time: '00:00:00Z',
  email: 'intern@example.com',
  uri: 'https://example.com/',
  uuid: '00000000-0000-4000-8000-000000000000',
};

/** `Labels: bug, feature, question` in an instruction. */
export function listedLabels(instruction: string): string[] {
  const list =
    /\b(?:labels?|categor(?:y|ies)|classes|one of|choices|options)\b[^:\n]{0,60}:\s*((?:[^\n]+\n?)(?:\s*[-*][^\n]+\n?)*)/i.exec(
      instruction,
    )?.[1] ?? '';
  return list
    .split(/[,|\n]|\bor\b/)
    .map((label) => label.replace(/^[\s\-*"'`[]+|[\s"'`.\]]+$/g, ''))
    .filter((label) => label.length > 0 && label.length < 40);
}

function numberedText(text: string, number: number, schema: Schema): string {
  const most = (schema.maxLength as number | undefined) ?? Infinity;
  const suffix = ` ${number}`;
  return text.slice(0, Math.max(0, most - suffix.length)) + suffix;
}

function lengthBetween(text: string, least: number, most: number): string {
  let fitted = text;
  if (fitted.length > most) {
    const cut = fitted.slice(0, most);
    const atWord = cut.slice(0, Math.max(cut.lastIndexOf(' '), 0)).trimEnd();
    fitted = atWord.length >= least && atWord ? atWord : cut;
  }
  while (fitted.length < least) fitted += ` ${text || 'more'}`;
  return fitted.length > most ? fitted.slice(0, most) : fitted;
}

function typeOf(schema: Schema): string | undefined {
  const type = Array.isArray(schema.type)
    ? (schema.type as string[]).find((name) => name !== 'null')
    : (schema.type as string | undefined);
  if (type) return type;
  if (schema.properties || schema.required) return 'object';
  if (schema.items || schema.prefixItems) return 'array';
  return 'const' in schema && schema.const === null ? 'null' : undefined;
}

function sameStem(a: string, b: string): boolean {
  const stem = (word: string) => word.replace(/(ing|ed|es|s)$/, '');
  return a === b || (a.length > 3 && stem(a) === stem(b));
}

function without(schema: Schema): Schema {
  return omit(omit(schema, 'anyOf'), 'oneOf');
}

function omit(schema: Schema, name: string): Schema {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => key !== name));
}

function merge(a: Schema, b: Schema): Schema {
  return {
    ...a,
    ...b,
    properties: { ...(a.properties as Schema), ...(b.properties as Schema) },
    required: [...((a.required as string[]) ?? []), ...((b.required as string[]) ?? [])],
  };
}
