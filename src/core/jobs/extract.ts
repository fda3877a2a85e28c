import * as z from 'zod';
import { dataRule, fence, plainName } from './fence';
import { type Handed, oneSource, type SlashCommand, someText, usable } from './handed';
import { defineSteps, type Outcome, type Question, type Steps } from './job';
import { findJson, leadingJson, parseJson } from './json';
import { codeBlock, inlineText } from './markdown';
import { messagesOf } from './messages';
import { roomFor } from './room';
import {
  grammarShape,
  problemsOf,
  readFields,
  readShape,
  relaxed,
  type Shape,
  whyNotShape,
} from './shape';
import { type Part, splitText } from './split';
import { offerTool, onlySource } from './tool';
import { clip, counted } from './words';

/** Tokens of an answer. */
const ANSWER = 2048;
/** Of an answer that is sent back; and room for that and for what is wrong with it, in tokens. */
const SENT_BACK_CHARS = 1600;
const SENT_BACK = 800;

const inputSchema = z.object({
  text: z.string().refine((t) => /\S/.test(t), 'There is no text to extract from.'),
  /** What the data looks like: a JSON schema. */
  schema: z.record(z.string(), z.unknown()).superRefine((shape, context) => {
    const why = whyNotShape(shape);
    if (why !== undefined) context.addIssue({ code: 'custom', message: why });
  }),
  source: z.string().optional(),
  /** What to look for, beyond what the schema says. */
  hint: z.string().optional(),
});

type Input = z.output<typeof inputSchema>;

export interface Extraction {
  /** Whether the data fits the schema. */
  ok: boolean;
  /** Null: nothing that fits. */
  data: unknown;
  /** Where the answer does not fit. */
  problems: string[];
  /** It fits since it was sent back once. */
  repaired: boolean;
  /** What the model wrote instead, when it does not fit. */
  answer?: string;
}

const COMMAND: SlashCommand = {
  name: 'extract',
  description: 'Data out of a text: name the fields, or give a JSON schema or an example',
  example: 'name, born, profession',
};

/** Data of a given shape out of a text. */
export const extract = defineSteps({
  name: 'extract',
  title: 'Extract',
  description: 'Data out of a text, as JSON that follows a given schema.',
  version: 1,
  tier: 'workhorse',
  input: inputSchema,
  async run(input, steps): Promise<Outcome<Extraction>> {
    const probe = { ...question(input, input.schema, ''), numPredict: ANSWER + SENT_BACK };
    const room = await roomFor(steps, probe);
    if (input.text.length <= room) {
      return { result: await read(steps, question(input, input.schema, input.text), input.schema) };
    }
    return readParts(input, steps, splitText(input.text, room));
  },
  show({ ok, data, problems, answer }) {
    if (ok) return codeBlock(JSON.stringify(data, null, 2), 'json');
    return [
      'The answer does not follow the schema:',
      '',
      ...problems.map((problem) => `- ${inlineText(problem)}`),
      '',
      codeBlock(answer ?? ''),
    ].join('\n');
  },
  tool: offerTool({
    name: 'extract',
    description:
      'Takes data out of a file or a text, as JSON that follows a schema of yours. What does not fit the schema comes back with its problems.',
    doing: 'Extracting data from',
    reads: 'sources',
    parameters: z.object({
      schema: z.looseObject({}).describe('The JSON schema of the data.'),
      hint: z.string().optional().describe('What to look for, beyond what the schema says.'),
    }),
    input: (given, material) => ({ ...given, ...onlySource(material) }),
  }),
  handed: { command: COMMAND, input: readHanded },
});

/** Fields or JSON come first; what follows is the text, or a hint when the text came along. */
function readHanded(handed: Handed): z.input<typeof inputSchema> {
  const given = handed.request.trim();
  const json = leadingJson(given);
  const [fields = '', ...below] = given.split('\n');
  const isBroken = !json && /^[[{]/.test(given);
  const schema = usable(
    json
      ? readShape(json.value)
      : isBroken
        ? { problem: 'The JSON is not complete.' }
        : readFields(fields),
    COMMAND,
  );
  const rest = (json ? json.rest : below.join('\n')).trim();
  const source = oneSource(handed, COMMAND);
  return source
    ? { text: source.text, source: source.name, schema, hint: rest || undefined }
    : { text: someText(rest), schema };
}

function question(
  { source, hint }: Input,
  shape: Shape,
  text: string,
  part?: { number: number; of: number },
): Question {
  const told = { ...shape };
  // It says nothing about the data.
  delete told.$schema;
  const fenced = fence('TEXT', text);
  const system = [
    'You extract data from texts for a software developer.',
    dataRule(fenced),
    'Take only what the text says, as it says it: never guess, never fill in from elsewhere. What the text does not say is left out, or null where the schema allows that.',
    part
      ? `The text is part ${part.number} of ${part.of}: leave out what this part does not say.`
      : '',
    'Answer with JSON alone, of this schema:',
    JSON.stringify(told),
  ];
  const user = [
    source ? `The text is from "${plainName(source)}".` : '',
    fenced.text,
    hint ? `Look for this: ${hint}` : '',
    'Extract the data.',
  ];
  return {
    messages: messagesOf(system, user),
    numPredict: ANSWER,
    temperature: 0.2,
    format: grammarShape(shape),
  };
}

/** Asks, and once more when the answer does not fit. */
async function read(steps: Steps, asked: Question, shape: Shape): Promise<Extraction> {
  const first = check(await steps.ask(asked), shape);
  if (first.ok) return first;
  const again: Question = {
    ...asked,
    messages: [
      ...asked.messages,
      { role: 'assistant', content: clip(first.answer ?? '', SENT_BACK_CHARS) },
      {
        role: 'user',
        content: `That does not follow the schema:\n${first.problems.join('\n')}\nCorrect it. Answer with the whole JSON alone.`,
      },
    ],
  };
  const second = check(await steps.ask(again), shape);
  return { ...second, repaired: second.ok };
}

function check(
  { text, done_reason }: { text: string; done_reason: string },
  shape: Shape,
): Extraction {
  // What is whole in an answer that was cut may be a piece of what it was to be.
  const found = done_reason === 'length' ? parseJson(text) : findJson(text);
  const problems = found ? problemsOf(found.value, shape) : ['There is no whole JSON value in it.'];
  if (found && problems.length === 0) {
    return { ok: true, data: found.value, problems, repaired: false };
  }
  if (done_reason === 'length') problems.push('It was cut off: it has to be shorter.');
  return { ok: false, data: null, problems, repaired: false, answer: text };
}

/** Reads a text that is too long part by part. No part knows all of it, so none has to be complete. */
async function readParts(
  input: Input,
  steps: Steps,
  parts: readonly Part[],
): Promise<Outcome<Extraction>> {
  const shape = relaxed(input.schema);
  const settled = await steps.map(parts, 'part', ({ text }, index) =>
    read(steps, question(input, shape, text, { number: index + 1, of: parts.length }), shape),
  );
  const warnings = [
    `The text was read in ${parts.length} parts, and what they hold was put together.`,
  ];
  const merger = new Merger();
  const answers: string[] = [];
  let lost = 0;
  for (const [index, outcome] of settled.entries()) {
    const { firstLine, lastLine } = parts[index] as Part;
    if (outcome.ok && outcome.value.ok) {
      merger.add(outcome.value.data);
      continue;
    }
    lost++;
    if (outcome.ok) answers.push(outcome.value.answer ?? '');
    const why = outcome.ok ? 'its answer does not follow the schema' : outcome.error.message;
    warnings.push(`Lines ${firstLine} to ${lastLine} are missing: ${why.replace(/\.?$/, '.')}`);
  }
  if (merger.conflicts > 0) {
    warnings.push(
      `${counted(merger.conflicts, 'value')} differed between parts; the first was kept.`,
    );
  }
  if (merger.repeated > 0) {
    warnings.push(
      `Left out as equal to what an earlier part holds: ${counted(merger.repeated, 'item')} of lists.`,
    );
  }
  const data = merger.value;
  const problems =
    lost === parts.length
      ? ['No part of the text gave an answer.']
      : problemsOf(data ?? null, input.schema);
  const isRepaired = settled.some((outcome) => outcome.ok && outcome.value.repaired);
  const result: Extraction =
    problems.length === 0
      ? { ok: true, data, problems, repaired: isRepaired }
      : {
          ok: false,
          data: null,
          problems,
          repaired: false,
          answer: lost === parts.length ? answers.join('\n') : JSON.stringify(data, null, 2),
        };
  return { result, warnings, truncated: lost > 0 };
}

/** Puts values of one shape together: lists grow by what is new, and of single values the first one stays. */
class Merger {
  value: unknown;
  conflicts = 0;
  /** Items of lists that an earlier value has. */
  repeated = 0;

  add(value: unknown): void {
    this.value = this.#merge(this.value, value);
  }

  #merge(old: unknown, fresh: unknown): unknown {
    if (old === undefined || old === null) return fresh;
    if (fresh === undefined || fresh === null) return old;
    if (Array.isArray(old) && Array.isArray(fresh)) {
      // Equal items of one value are there twice.
      const known = new Set(old.map(canonical));
      const added = (fresh as unknown[]).filter((item) => !known.has(canonical(item)));
      this.repeated += fresh.length - added.length;
      return [...(old as unknown[]), ...added];
    }
    if (isPlain(old) && isPlain(fresh)) {
      const keys = new Set([...Object.keys(old), ...Object.keys(fresh)]);
      return Object.fromEntries([...keys].map((key) => [key, this.#merge(old[key], fresh[key])]));
    }
    if (canonical(old) !== canonical(fresh)) this.conflicts++;
    return old;
  }
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The same text for the same value, in whatever order its keys are. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    isPlain(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
