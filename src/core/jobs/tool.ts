import * as z from 'zod';
import { badInput, type HandedChange } from './handed';
import { jsonSchema } from './json';
import type { Source } from './sources';

/**
 * What a tool works on: files and folders that its caller names, or a text that it hands over; of a `log` one, of any
 * size; of a `change` the one in git, or a diff.
 */
export type ToolReads = 'sources' | 'log' | 'change';

/** What was read for a tool. */
export interface ToolMaterial {
  sources: readonly Source[];
  change?: HandedChange;
}

/** How a job is offered to other people's agents. */
export interface ToolOffer<T = unknown> {
  /** `triage_logs`; the product's name is put before it. */
  name: string;
  /** For the agent: what it does, and when to use it. */
  description: string;
  /** What is being done, for people: `Triaging`. */
  doing: string;
  reads: ToolReads;
  /** What the caller says beside what is read. */
  parameters: z.ZodObject;
  /** Throws `bad_input`. */
  input(given: Record<string, unknown>, material: ToolMaterial): T;
}

/** Keeps the types of parameters and input together while an offer is written, and checks what callers say. */
export function offerTool<T, P extends z.ZodObject>(
  offer: Omit<ToolOffer<T>, 'parameters' | 'input'> & {
    parameters: P;
    input(given: z.output<P>, material: ToolMaterial): T;
  },
): ToolOffer<T> {
  return {
    ...offer,
    input(given, material) {
      const read = offer.parameters.safeParse(given);
      if (read.success) return offer.input(read.data, material);
      const [first] = read.error.issues;
      const where = first?.path.join('.');
      throw badInput(
        `${where ? `${where}: ` : ''}${first?.message ?? 'The parameters are not valid.'}`,
        'Call the tool again with what its schema asks for.',
      );
    },
  };
}

const text = z.string().optional().describe('The text itself, instead of files.');

/** What is named or handed over, by what is read. */
const GIVEN = {
  sources: z.object({
    files: z
      .array(z.string())
      .optional()
      .describe('Paths of files or folders of the workspace, relative to its folder.'),
    text,
  }),
  log: z.object({
    files: z
      .array(z.string())
      .max(1)
      .optional()
      .describe('The path of the log, relative to the folder of the workspace.'),
    text,
  }),
  change: z.object({
    text: z
      .string()
      .optional()
      .describe(
        'A unified diff. Without it: what is staged in git, or else what is changed in the working tree.',
      ),
  }),
} satisfies Record<ToolReads, z.ZodObject>;

/** The JSON schema of all that a caller says. */
export function toolSchema({ parameters, reads }: ToolOffer): Record<string, unknown> {
  return jsonSchema(z.object({ ...parameters.shape, ...GIVEN[reads].shape }));
}

/** What a caller named or handed over. Throws `bad_input`. */
export function givenTo(
  { reads }: ToolOffer,
  given: Record<string, unknown>,
): { files: string[]; text?: string } {
  const { data } = GIVEN[reads].safeParse(given);
  const { files = [], text } = (data ?? {}) as { files?: string[]; text?: string };
  if (!data || (reads !== 'change' && files.length === 0 && !text?.trim())) {
    const what = reads === 'log' ? '"files" with one path' : '"files"';
    throw badInput('There is nothing to read.', `Give ${what}, or "text".`);
  }
  return { files, text: text?.trim() ? text : undefined };
}

/** The one text that was read. Throws `bad_input` when there are several. */
export function onlySource({ sources }: ToolMaterial): { text: string; source: string } {
  const [only, ...others] = sources;
  if (only && others.length === 0) return { text: only.text, source: only.name };
  throw badInput(
    `This works on one text at a time, and there are ${sources.length}.`,
    'Call it once for each file.',
  );
}
