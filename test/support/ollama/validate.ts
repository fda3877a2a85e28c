/** What Go's JSON decoder and Ollama's own checks make of a request body. */
import { ApiError, errors } from './errors';

export type Json = Record<string, unknown>;

interface FieldType {
  accepts: (value: unknown) => boolean;
  goType: string;
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const STRING: FieldType = { accepts: (v) => typeof v === 'string', goType: 'string' };
const BOOL: FieldType = { accepts: (v) => typeof v === 'boolean', goType: 'bool' };
const INT: FieldType = { accepts: (v) => Number.isInteger(v), goType: 'int' };
const OPTIONS: FieldType = { accepts: isObject, goType: 'map[string]interface {}' };
const listOf = (goType: string): FieldType => ({ accepts: Array.isArray, goType: `[]${goType}` });

const SHARED = { model: STRING, stream: BOOL, options: OPTIONS } as const;
const GENERATING = {
  ...SHARED,
  truncate: BOOL,
  shift: BOOL,
  logprobs: BOOL,
  top_logprobs: INT,
} as const;

const STRUCTS: Record<string, Record<string, FieldType>> = {
  ChatRequest: {
    ...GENERATING,
    messages: listOf('api.Message'),
    tools: listOf('api.Tool'),
  },
  Message: {
    role: STRING,
    content: STRING,
    thinking: STRING,
    images: listOf('api.ImageData'),
    tool_calls: listOf('api.ToolCall'),
    tool_name: STRING,
    tool_call_id: STRING,
  },
  ToolProperty: {
    description: STRING,
    enum: listOf('interface {}'),
    properties: { accepts: isObject, goType: 'map[string]api.ToolProperty' },
    anyOf: listOf('api.ToolProperty'),
    required: {
      accepts: (v) => Array.isArray(v) && v.every((one) => typeof one === 'string'),
      goType: '[]string',
    },
  },
  GenerateRequest: {
    ...GENERATING,
    prompt: STRING,
    suffix: STRING,
    system: STRING,
    template: STRING,
    context: listOf('int'),
    raw: BOOL,
    images: listOf('api.ImageData'),
  },
  EmbedRequest: { model: STRING, truncate: BOOL, dimensions: INT, options: OPTIONS },
  EmbeddingRequest: { model: STRING, prompt: STRING, options: OPTIONS },
  ShowRequest: { model: STRING, verbose: BOOL, options: OPTIONS },
  PullRequest: { model: STRING, stream: BOOL, insecure: BOOL },
  PushRequest: { model: STRING, stream: BOOL, insecure: BOOL },
  CreateRequest: { model: STRING, from: STRING, stream: BOOL, remote_host: STRING },
  CopyRequest: { source: STRING, destination: STRING },
  DeleteRequest: { model: STRING },
};

export type StructName =
  | 'ChatRequest'
  | 'GenerateRequest'
  | 'EmbedRequest'
  | 'EmbeddingRequest'
  | 'ShowRequest'
  | 'PullRequest'
  | 'PushRequest'
  | 'CreateRequest'
  | 'CopyRequest'
  | 'DeleteRequest';

/** A string field as Go has it: empty when it is absent. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** The model's name, under its old field name too. */
export function nameOf(body: Json): string {
  return textOf(body.model) || textOf(body.name);
}

/** The body as the named Go struct, or the 400 that Go answers. */
export function decode(text: string, struct: StructName): Json {
  const value = parse(text);
  if (value === null) return {};
  if (!isObject(value)) {
    throw new ApiError(
      400,
      `json: cannot unmarshal ${goKind(value)} into Go value of type api.${struct}`,
    );
  }
  checkFields(value, struct, struct);
  checkTools(value);
  const messages = Array.isArray(value.messages) && struct === 'ChatRequest' ? value.messages : [];
  for (const message of messages) {
    if (!isObject(message)) {
      throw errors.wrongType(goKind(message), 'ChatRequest.messages', 'api.Message');
    }
    checkFields(message, 'Message', 'ChatRequest.messages');
    checkToolCalls(message);
  }
  return value;
}

export function parse(text: string): unknown {
  if (!text.trim()) throw errors.missingBody();
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw syntaxError(text, String((error as Error).message));
  }
}

/** V8 says where it gave up; at the end of the text that is Go's `unexpected EOF`. */
function syntaxError(text: string, message: string): ApiError {
  const position = Number(/position (\d+)/.exec(message)?.[1] ?? text.length);
  const unfinished =
    /Unexpected end|Unterminated/.test(message) || position >= text.trimEnd().length;
  return unfinished ? errors.unexpectedEof() : errors.invalidCharacter(text[position] ?? '');
}

function checkFields(value: Json, struct: string, path: string): void {
  for (const [name, type] of Object.entries(STRUCTS[struct] ?? {})) {
    const field = value[name];
    // Go leaves a field alone when the JSON says null.
    if (field === undefined || field === null || type.accepts(field)) continue;
    throw errors.wrongType(goKind(field), `${path}.${name}`, type.goType);
  }
}

function checkTools({ tools }: Json): void {
  if (!Array.isArray(tools)) return;
  for (const tool of tools as unknown[]) {
    const fn = isObject(tool) && isObject(tool.function) ? tool.function : {};
    if (!isObject(fn.parameters)) continue;
    const { type } = fn.parameters;
    const path = 'ChatRequest.tools.function.parameters';
    if (Array.isArray(type)) throw errors.wrongType('array', `${path}.type`, 'string');
    checkToolProperty(fn.parameters, path);
  }
}

/** A property of a tool; what its `items` hold may be anything. */
function checkToolProperty(value: unknown, path: string): void {
  if (value === null) return;
  if (!isObject(value)) throw errors.wrongType(goKind(value), path, 'api.ToolProperty');
  checkFields(value, 'ToolProperty', path);
  const properties = isObject(value.properties) ? Object.values(value.properties) : [];
  for (const property of properties) checkToolProperty(property, `${path}.properties`);
  const choices = Array.isArray(value.anyOf) ? (value.anyOf as unknown[]) : [];
  for (const choice of choices) checkToolProperty(choice, `${path}.anyOf`);
}

function checkToolCalls(message: Json): void {
  if (!Array.isArray(message.tool_calls)) return;
  for (const call of message.tool_calls as unknown[]) {
    const fn = isObject(call) && isObject(call.function) ? call.function : {};
    if (fn.arguments !== undefined && !isObject(fn.arguments)) throw errors.toolArguments();
  }
}

function goKind(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return Number.isInteger(value) ? 'number' : `number ${value}`;
  return typeof value;
}

const INTEGER_OPTIONS = [
  'num_ctx',
  'num_batch',
  'num_gpu',
  'main_gpu',
  'num_thread',
  'num_keep',
  'seed',
  'num_predict',
  'top_k',
  'repeat_last_n',
  'draft_num_predict',
];
const FLOAT_OPTIONS = [
  'top_p',
  'min_p',
  'typical_p',
  'temperature',
  'repeat_penalty',
  'presence_penalty',
  'frequency_penalty',
];
const isNumber = (value: unknown) => typeof value === 'number';

const OPTION_TYPES = new Map<string, FieldType>([
  ...INTEGER_OPTIONS.map((name) => [name, { accepts: isNumber, goType: 'integer' }] as const),
  ...FLOAT_OPTIONS.map((name) => [name, { accepts: isNumber, goType: 'float32' }] as const),
  ['use_mmap', { accepts: BOOL.accepts, goType: 'boolean' }],
  ['stop', { accepts: Array.isArray, goType: 'array' }],
]);

/** A change of any of these means another runner. */
const RUNNER_OPTIONS = [
  'num_batch',
  'num_gpu',
  'main_gpu',
  'use_mmap',
  'num_thread',
  'draft_num_predict',
];

export interface RunOptions {
  numCtx?: number;
  numPredict?: number;
  numKeep: number;
  temperature?: number;
  topP?: number;
  topK?: number;
  repeatPenalty?: number;
  seed?: number;
  stop?: string[];
  /** The runner options as comparable text, the window aside. */
  runnerKey: string;
}

/** Unknown names are ignored, wrong types are not. */
export function runOptions(options: Json): RunOptions {
  for (const [name, value] of Object.entries(options)) {
    const type = OPTION_TYPES.get(name);
    if (type && value !== null && !type.accepts(value)) throw errors.optionType(name, type.goType);
  }
  const number = (name: string) => options[name] as number | undefined;
  return {
    numCtx: number('num_ctx'),
    numPredict: number('num_predict'),
    numKeep: number('num_keep') ?? 4,
    temperature: number('temperature'),
    topP: number('top_p'),
    topK: number('top_k'),
    repeatPenalty: number('repeat_penalty'),
    seed: number('seed'),
    stop: options.stop as string[] | undefined,
    runnerKey: JSON.stringify(RUNNER_OPTIONS.map((name) => options[name] ?? null)),
  };
}

const UNIT_MS: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1e3,
  m: 6e4,
  h: 36e5,
};

/** `keep_alive` in milliseconds; Infinity is forever, undefined is not asked for. */
export function keepAlive(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  const ms = typeof value === 'number' ? value * 1000 : goDuration(textOf(value));
  return ms < 0 ? Infinity : ms;
}

export function goDuration(text: string): number {
  const [, sign, rest = ''] = /^([+-]?)(.*)$/.exec(text) ?? [];
  if (rest === '0') return 0;
  if (/^[\d.]+$/.test(rest)) throw errors.missingUnit(text);
  if (!/^(\d*\.?\d*(ns|us|µs|ms|s|m|h))+$/.test(rest)) throw errors.badDuration(text);
  let ms = 0;
  for (const [, amount, unit = ''] of rest.matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g)) {
    ms += Number(amount) * (UNIT_MS[unit] ?? 0);
  }
  return sign === '-' ? -ms : ms;
}

export function checkThink(value: unknown): void {
  if (value === undefined || value === null || typeof value === 'boolean') return;
  if (['high', 'medium', 'low', 'max'].includes(textOf(value))) return;
  throw errors.badThink(textOf(value));
}

/** The format, or the 500 that only the runner gives. */
export function checkFormat(value: unknown): 'json' | Json | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (value === 'json') return value;
  if (!isObject(value)) throw errors.badFormat(value);
  if (hasOpenPattern(value)) throw errors.noGrammar();
  return value;
}

/** Grammars are made of patterns for whole strings only. */
function hasOpenPattern(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const pattern = (value as Json).pattern;
  if (typeof pattern === 'string' && !/^\^[^]*\$$/.test(pattern)) return true;
  return Object.values(value).some(hasOpenPattern);
}

export function checkImages(images: unknown): void {
  for (const image of Array.isArray(images) ? images : []) {
    if (!/^[A-Za-z0-9+/\s]*={0,2}$/.test(String(image))) throw errors.badBase64();
  }
}
