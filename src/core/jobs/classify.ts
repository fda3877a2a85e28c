import * as z from 'zod';
import { dataRule, fence, plainName } from './fence';
import { requestAndText, type SlashCommand, type Typed, usable } from './handed';
import { defineJob } from './job';
import { findJson, jsonSchema } from './json';
import { inlineText } from './markdown';
import { messagesOf } from './messages';
import { cutAtLine } from './summarize';
import { offerTool, onlySource } from './tool';

/** Tokens of an answer beside its label. */
const ANSWER = 64;

const labelSchema = z
  .union([z.string(), z.object({ label: z.string(), description: z.string().optional() })])
  .transform((given) => (typeof given === 'string' ? { label: given } : given))
  .transform(({ label, description }) => ({ label: label.trim(), description }))
  .refine(({ label }) => label !== '', 'A label has at least one character.');

type Label = z.output<typeof labelSchema>;

export interface Classification {
  /** One of the given labels, in their spelling; null: none, or none that is sure enough. */
  label: string | null;
  /** 0 to 1, as the model says. */
  confidence: number;
  /** The label that the model gave, whatever its confidence. */
  best: string | null;
  below_threshold: boolean;
  /** The model named none of the labels. */
  abstained?: true;
  reason?: 'none_fits' | 'unknown_label' | 'unreadable';
}

const labelsSchema = z
  .array(labelSchema)
  .min(2, 'Give at least two labels.')
  .refine(
    (labels) => new Set(labels.map(({ label }) => key(label))).size === labels.length,
    'Two of the labels are the same.',
  );

const COMMAND: SlashCommand = {
  name: 'classify',
  description: 'One label for a text, out of those that you name',
  example: 'bug, feature: something new, question',
};

/** Sorts a text under one of some labels, or under none. */
export const classify = defineJob({
  name: 'classify',
  title: 'Classify',
  description: 'One label out of a given set for a text, or none when the model is not sure.',
  version: 1,
  tier: 'instant',
  temperature: 0.2,
  streamed: false,
  input: z.object({
    text: z.string().refine((t) => /\S/.test(t), 'There is no text to classify.'),
    /** Names, or names with what they mean. */
    labels: labelsSchema,
    /** A less confident answer is no answer. */
    threshold: z.number().min(0).max(1).default(0.7),
    /** Whether the model may say that no label fits. */
    allow_none: z.boolean().default(true),
    source: z.string().optional(),
  }),
  prompt({ text, labels, allow_none, source }) {
    const fenced = fence('TEXT', text);
    const system = [
      'You sort texts under labels for a software developer.',
      dataRule(fenced),
      'The labels are:',
      ...labels.map(
        ({ label, description }) =>
          `- ${JSON.stringify(label)}${description ? `: ${description.replace(/\s+/g, ' ')}` : ''}`,
      ),
      'Choose the one label that fits the text best, spelled as above.',
      allow_none
        ? 'When no label fits, the label is null: that is better than a wrong one.'
        : 'One of them has to be chosen.',
      'Say how confident you are: 1 is certain, 0.5 is a guess between two.',
      'Answer with JSON alone: {"label": …, "confidence": …}.',
    ];
    const about = source ? `The text is from "${plainName(source)}".` : '';
    const longest = Math.max(...labels.map(({ label }) => label.length));
    return {
      messages: messagesOf(system, [about, fenced.text, 'Which label fits?']),
      numPredict: ANSWER + longest,
      format: answerSchema(labels, allow_none),
    };
  },
  parse(answer, { labels, threshold, allow_none }) {
    const { label, confidence } = fieldsOf(findJson(answer)?.value);
    const best = labels.find((known) => key(known.label) === key(label))?.label ?? null;
    if (best === null) {
      const reason = allow_none && isNone(label) ? 'none_fits' : whyNone(label);
      const warnings = { none_fits: [], ...UNUSABLE }[reason];
      const result: Classification = {
        label: null,
        confidence: reason === 'none_fits' ? clamped(confidence) : 0,
        best,
        below_threshold: false,
        abstained: true,
        reason,
      };
      return { result, warnings };
    }
    const sure = clamped(confidence);
    const below_threshold = sure < threshold;
    const isOdd = typeof confidence !== 'number' || sure !== confidence;
    const result: Classification = {
      label: below_threshold ? null : best,
      confidence: sure,
      best,
      below_threshold,
    };
    return {
      result,
      warnings: isOdd
        ? [`The model gave no confidence between 0 and 1; it counts as ${sure}.`]
        : [],
    };
  },
  show({ label, confidence, best, reason }) {
    const percent = `${Math.round(confidence * 100)} %`;
    if (label !== null) return `**${inlineText(label)}** (${percent} sure)`;
    if (best !== null) {
      return `No label is sure enough. The best guess is **${inlineText(best)}** (${percent} sure).`;
    }
    return reason === 'none_fits'
      ? 'No label fits.'
      : 'No label: the answer of the model could not be used.';
  },
  shorten: (given, share) => ({
    ...given,
    text: cutAtLine(given.text, Math.floor(given.text.length * share)),
  }),
  tool: offerTool({
    name: 'classify',
    description:
      'Sorts a file or a text under one of your labels, with a confidence, or under none when the model is not sure.',
    doing: 'Classifying',
    reads: 'sources',
    parameters: z.object({
      labels: z.array(labelSchema).min(2).describe('Names, or names with what they mean.'),
      threshold: z
        .number()
        .min(0)
        .max(1)
        .optional()
        .describe('An answer that is less confident is none. Default: 0.7.'),
    }),
    input: (given, material) => ({ ...given, ...onlySource(material) }),
  }),
  handed: {
    command: COMMAND,
    input(handed) {
      const { request, text, source } = requestAndText(handed, COMMAND);
      return { text, source, labels: usable(readLabels(request), COMMAND) };
    },
  },
});

export type Labels = z.input<typeof labelsSchema>;

/** Labels with commas between them, each with a description behind a colon if there is one. */
export function readLabels(text: string): Typed<Labels> {
  const labels = text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean)
    .map((part) => {
      const [, label = part, description] = /^([^:]*):(.*)$/s.exec(part) ?? [];
      return { label: label.trim(), description: description?.trim() || undefined };
    });
  const { error } = labelsSchema.safeParse(labels);
  return error ? { problem: error.issues[0]?.message ?? '' } : { value: labels };
}

const UNUSABLE = {
  unknown_label: ['The model answered with a label that is not among the given ones.'],
  unreadable: ['The answer of the model has no label in it.'],
};

function answerSchema(labels: readonly Label[], allowNone: boolean): Record<string, unknown> {
  const label = z.enum(labels.map((known) => known.label));
  return jsonSchema(
    z.strictObject({
      label: allowNone ? label.nullable() : label,
      confidence: z.number().min(0).max(1),
    }),
  );
}

/** Labels are the same when only case, width and outer space differ. */
function key(label: unknown): unknown {
  return typeof label === 'string' ? label.trim().normalize('NFKC').toLowerCase() : label;
}

function fieldsOf(answer: unknown): { label?: unknown; confidence?: unknown } {
  return typeof answer === 'object' && answer !== null ? answer : {};
}

/** Models that are not held to a schema write the word. */
function isNone(label: unknown): boolean {
  return label === null || key(label) === 'null' || key(label) === 'none';
}

function whyNone(label: unknown): 'unknown_label' | 'unreadable' {
  return label === undefined ? 'unreadable' : 'unknown_label';
}

/** Without a number there is no confidence. */
function clamped(confidence: unknown): number {
  const value = typeof confidence === 'string' ? Number.parseFloat(confidence) : confidence;
  if (typeof value !== 'number' || Number.isNaN(value)) return 0;
  return Math.min(1, Math.max(0, value));
}
