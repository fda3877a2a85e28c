import * as z from 'zod';
import {
  checkIds,
  checkMarks,
  type Evidence,
  evidenceOf,
  type EvidenceText,
  newSideOf,
} from './evidence';
import {
  count,
  type Gaps,
  gapsOf,
  readOf,
  showGaps,
  showPlace,
  type Unread,
  unreadOf,
  valuesOf,
} from './gaps';
import type { HandOver, SlashCommand } from './handed';
import { defineSteps, type Question, type Steps, type StepsJob } from './job';
import { blockText, inlineText } from './markdown';
import { messagesOf } from './messages';
import { roomFor } from './room';
import {
  type Excerpt,
  inGroups,
  mapGroups,
  type Material,
  material,
  sizeOf,
  withoutMarks,
} from './sources';

const BRIEF_TOKENS = 3000;
const FINDINGS_TOKENS = 2000;
const TEMPERATURE = 0.3;
const MOST_FINDINGS = 12;
/** How often findings are joined to fewer. */
const MOST_ROUNDS = 4;

const CONFIDENCES = ['high', 'medium', 'low'] as const;

/** Something that a brief says. */
export interface Claim {
  text: string;
  /** Ids of the evidence that shows it. */
  evidence: string[];
  confidence?: (typeof CONFIDENCES)[number];
}

export interface BriefFacts extends Gaps {
  /** What the brief cites. */
  evidence: Evidence[];
  /** How many items of evidence there were. */
  evidence_count: number;
  /** Claims that no evidence showed. */
  dropped_claims: number;
  /** Citations of evidence that does not exist. */
  unknown_ids: number;
  /** Too little to rely on; `weak_reason` says why. */
  weak: boolean;
  weak_reason?: string;
}

export type Brief<P extends string, L extends string> = Record<P, string> &
  Record<L, Claim[]> &
  BriefFacts;

/** A list in a brief. */
interface ListForm {
  /** What the model is told to put there. */
  ask: string;
  /** Advice needs no evidence; a claim does. */
  isAdvice?: boolean;
  hasConfidence?: boolean;
}

/** All that makes one brief differ from another. */
interface BriefForm<I extends z.ZodType, P extends string, L extends string> {
  name: string;
  title: string;
  description: string;
  input: I;
  /** What the model writes. */
  task: string;
  /** Free texts, and what the model is told to write there. */
  prose: Record<P, string>;
  lists: Record<L, ListForm>;
  /** The list or text without which the brief is weak. */
  core: NoInfer<P | L>;
  /** The most items of each list. */
  limits(given: z.output<I>): Record<NoInfer<L>, number>;
  texts(given: z.output<I>): EvidenceText[];
  handed: Omit<HandOver<I>, 'command'>;
}

const COMMAND: SlashCommand = {
  name: 'brief',
  description: 'A brief of an incident, a repository (`repo`) or the changes (`change`)',
  example: 'change',
};

/**
 * A job that writes a brief. Everything given is read, in as many prompts as it takes, and whatever the brief claims
 * cites evidence that exists.
 */
export function defineBrief<I extends z.ZodType, P extends string, L extends string>(
  form: BriefForm<I, P, L>,
): StepsJob<I, Brief<P, L>> {
  const { name, title, description, input } = form;
  return defineSteps({
    name,
    title,
    description,
    version: 1,
    tier: 'deep',
    input,
    async run(given, steps) {
      const texts = form.texts(given);
      const writer = new Writer(form, form.limits(given), steps);
      const room = await writer.room();
      const items = evidenceOf(texts, room);
      if (items.length === 0) {
        const { gaps } = gapsOf(texts, [], []);
        const facts = { ...NOTHING, ...gaps, weak: true, weak_reason: 'There is no evidence.' };
        return { result: { ...writer.empty(), ...facts } };
      }
      const read = await writer.read(items, room);
      const { content, cited, ...counts } = await writer.write(read);
      const { gaps, warnings, truncated } = gapsOf(texts, read.items, read.unread);
      if (read.leftOut)
        warnings.push('Not all findings fit into one prompt: the last ones were left out.');
      const weakReason =
        content[form.core].length === 0
          ? `The model found nothing for "${headingOf(form.core)}" that the evidence shows.`
          : cited.size === 0
            ? 'Nothing in it cites evidence.'
            : undefined;
      return {
        result: {
          ...content,
          evidence: evidenceFor(cited, items, texts),
          evidence_count: items.length,
          ...counts,
          dropped_claims: counts.dropped_claims + read.dropped,
          ...gaps,
          weak: weakReason !== undefined,
          ...(weakReason && { weak_reason: weakReason }),
        },
        warnings,
        truncated: truncated || read.leftOut,
      };
    },
    show: (brief) => showBrief(form, brief),
    handed: { command: COMMAND, ...form.handed },
    cites: ({ evidence }) =>
      evidence.map(({ kind, source, first_line, last_line }) =>
        // The lines of a diff are no lines of the file.
        kind === 'diff' ? { source } : { source, first_line, last_line },
      ),
  });
}

const NOTHING = { evidence: [], evidence_count: 0, dropped_claims: 0, unknown_ids: 0 };
const EVIDENCE = { label: 'EVIDENCE' };
const FINDINGS = { label: 'FINDINGS' };

const claimedFindings = z.object({
  findings: z.array(z.object({ text: z.string(), evidence: z.array(z.string()) })),
});

/** What the brief is written from. */
interface Reading {
  /** What goes into the last prompt. */
  material: Excerpt[];
  isFindings: boolean;
  /** The ids that the model sees there. */
  known: Set<string>;
  /** The items of evidence that some prompt contained. */
  items: Excerpt[];
  unread: Unread[];
  dropped: number;
  leftOut: boolean;
}

/** Reads the evidence and writes one brief. */
class Writer<P extends string, L extends string> {
  readonly #prose: P[];
  readonly #lists: L[];

  constructor(
    private readonly form: Pick<BriefForm<z.ZodType, P, L>, 'task' | 'prose' | 'lists'>,
    private readonly limits: Record<L, number>,
    private readonly steps: Steps,
  ) {
    this.#prose = Object.keys(form.prose) as P[];
    this.#lists = Object.keys(form.lists) as L[];
  }

  room(): Promise<number> {
    return roomFor(this.steps, this.#briefQuestion(material([], FINDINGS), true));
  }

  empty(): Record<P, string> & Record<L, Claim[]> {
    return this.#content(
      () => '',
      () => [],
    );
  }

  async read(items: Excerpt[], room: number): Promise<Reading> {
    const read = { items, unread: [], dropped: 0, leftOut: false };
    if (sizeOf(items, EVIDENCE) <= room) {
      const known = new Set(items.map(({ id }) => id));
      return { ...read, material: items, isFindings: false, known };
    }
    return this.#readInParts(items, room);
  }

  async write({ material: excerpts, isFindings, known }: Reading) {
    // Where no part of the evidence had anything to say, there is nothing to write from.
    if (excerpts.length === 0) {
      return { content: this.empty(), cited: new Set<string>(), dropped_claims: 0, unknown_ids: 0 };
    }
    const style = isFindings ? FINDINGS : EVIDENCE;
    const question = this.#briefQuestion(material(excerpts, style), isFindings);
    const claimed = (await this.steps.askFor(question, this.#schema())) as Record<P, string> &
      Record<L, Claim[]>;
    const cited = new Set<string>();
    let dropped = 0;
    let unknownIds = 0;
    const cite = ({ ids, unknown }: { ids: string[]; unknown: number }): void => {
      for (const id of ids) cited.add(id);
      unknownIds += unknown;
    };
    const content = this.#content(
      (field) => {
        const checked = checkMarks(withoutMarks(claimed[field]).trim(), known);
        cite(checked);
        return checked.text;
      },
      (field) => {
        const checked = claimed[field].map(({ text, evidence, confidence }) => {
          const words = checkMarks(withoutMarks(text).trim(), known);
          const { ids, unknown } = checkIds([...evidence, ...words.ids], known);
          unknownIds += unknown + words.unknown;
          return { text: words.text, evidence: ids, ...(confidence && { confidence }) };
        });
        const kept = checked.filter(
          ({ text, evidence }) =>
            text !== '' && (evidence.length > 0 || this.form.lists[field].isAdvice),
        );
        dropped += checked.length - kept.length;
        const best = kept.sort((a, b) => rank(a) - rank(b)).slice(0, this.limits[field]);
        for (const { evidence } of best) cite({ ids: evidence, unknown: 0 });
        return best;
      },
    );
    return { content, cited, dropped_claims: dropped, unknown_ids: unknownIds };
  }

  #content(prose: (field: P) => string, list: (field: L) => Claim[]) {
    return Object.fromEntries([
      ...this.#prose.map((field) => [field, prose(field)]),
      ...this.#lists.map((field) => [field, list(field)]),
    ]) as Record<P, string> & Record<L, Claim[]>;
  }

  #schema() {
    const claim = { text: z.string(), evidence: z.array(z.string()) };
    const ranked = z.object({ ...claim, confidence: z.enum(CONFIDENCES) });
    return z.object({
      ...Object.fromEntries(this.#prose.map((field) => [field, z.string()])),
      ...Object.fromEntries(
        this.#lists.map((field) => [
          field,
          z.array(this.form.lists[field].hasConfidence ? ranked : z.object(claim)),
        ]),
      ),
    });
  }

  /** Findings on all items, few enough for one prompt. */
  async #readInParts(items: Excerpt[], room: number): Promise<Reading> {
    const partRoom = await roomFor(
      this.steps,
      this.#findingsQuestion(material([], FINDINGS), true),
    );
    const names = new Map(items.map(({ id, name }) => [id, name]));
    let dropped = 0;
    const find = (groups: Excerpt[][], what: string, isFindings: boolean) =>
      mapGroups(groups, what, this.steps, async (group) => {
        const text = material(group, isFindings ? FINDINGS : EVIDENCE);
        const known = new Set(isFindings ? idsIn(group) : group.map(({ id }) => id));
        const question = this.#findingsQuestion(text, isFindings);
        const { findings } = await this.steps.askFor(question, claimedFindings);
        const lines = findings.map((finding) => {
          const { ids } = checkIds(finding.evidence, known);
          const words = withoutMarks(finding.text).replace(/\s+/g, ' ').trim();
          return ids.length && words ? lineOf(ids, words, names) : '';
        });
        dropped += lines.filter((line) => line === '').length;
        return lines.filter(Boolean);
      });

    const groups = inGroups(items, partRoom, EVIDENCE);
    const first = await find(groups, 'part', false);
    let findings = valuesOf(first).flat();
    for (
      let round = 1;
      sizeOf(asExcerpt(findings), FINDINGS) > room && round <= MOST_ROUNDS;
      round++
    ) {
      const fewer = inGroups(asExcerpt(findings), partRoom, FINDINGS);
      const joined = (await find(fewer, 'finding', true)).flatMap((outcome) =>
        // What could not be joined is kept as it was.
        outcome.ok && outcome.value.length
          ? outcome.value
          : outcome.group.flatMap(({ text }) => text.split('\n')),
      );
      if (joined.join('\n').length >= findings.join('\n').length) break;
      findings = joined;
    }
    const fitting = inGroups(asExcerpt(findings), room, FINDINGS);
    const last = fitting[0] ?? [];
    return {
      material: last,
      isFindings: true,
      known: new Set(idsIn(last)),
      items: readOf(first),
      unread: unreadOf(first),
      dropped,
      leftOut: fitting.length > 1,
    };
  }

  #briefQuestion(text: Material, isFindings: boolean): Question {
    const { prose, lists } = this.form;
    const hasConfidence = this.#lists.some((field) => lists[field].hasConfidence);
    return this.#question(
      text,
      [
        isFindings ? OF_FINDINGS : OF_EVIDENCE,
        'Answer with JSON of these fields:',
        ...this.#prose.map((field) => `- "${field}" (text): ${prose[field]}`),
        ...this.#lists.map((field) => {
          const { ask, hasConfidence } = lists[field];
          const item = `{"text", "evidence"${hasConfidence ? ', "confidence"' : ''}}`;
          return `- "${field}" (list of at most ${this.limits[field]} ${item}): ${ask}`;
        }),
        CITE,
        hasConfidence
          ? `"confidence" is one of ${CONFIDENCES.map((c) => `"${c}"`).join(', ')}.`
          : '',
        'Say only what the evidence shows: an empty list, or an empty text, is better than a guess. Name identifiers exactly as written.',
      ],
      'Write the brief.',
      BRIEF_TOKENS,
    );
  }

  #findingsQuestion(text: Material, isFindings: boolean): Question {
    const { prose, lists } = this.form;
    const asks = [
      ...Object.values<string>(prose),
      ...Object.values<ListForm>(lists).map((l) => l.ask),
    ];
    return this.#question(
      text,
      [
        isFindings
          ? `${OF_FINDINGS} Join those that say the same, and keep what matters most, with all of their ids.`
          : `${OF_EVIDENCE} It is a part of more: collect what matters in it.`,
        'What is looked for:',
        ...asks.map((ask) => `- ${ask}`),
        `Answer with JSON: "findings" (a list of at most ${MOST_FINDINGS} {"text", "evidence"}), the most important first. When nothing matters, the list is empty.`,
        CITE,
        'Say only what the evidence shows. Name identifiers exactly as written.',
      ],
      'List the findings.',
      FINDINGS_TOKENS,
    );
  }

  #question(text: Material, instructions: string[], task: string, numPredict: number): Question {
    const role = `You are a careful engineer inside a code editor. You work on ${this.form.task}.`;
    return {
      messages: messagesOf([role, text.rule, ...instructions], [text.text, task]),
      numPredict,
      temperature: TEMPERATURE,
    };
  }
}

const OF_EVIDENCE = 'Each text that you get is an item of evidence with an id, such as e1.';
const OF_FINDINGS =
  'What you get are findings on the evidence, each with the ids of the items that show it, such as [e1, e4].';
const CITE =
  '"evidence" is the list of the ids that show it, such as ["e1", "e4"]. In a text without such a list, put the ids in brackets behind what they show: [e1].';

function lineOf(ids: string[], words: string, names: ReadonlyMap<string, string>): string {
  const files = [...new Set(ids.map((id) => names.get(id)))].slice(0, 3).join(', ');
  return `- [${ids.join(', ')}] ${words} (${files.replace(/\s+/g, ' ')})`;
}

function asExcerpt(findings: readonly string[]): Excerpt[] {
  return findings.length ? [{ id: 'f1', name: 'findings', text: findings.join('\n') }] : [];
}

/** The ids at the beginning of findings. */
function idsIn(excerpts: readonly Excerpt[]): string[] {
  return excerpts.flatMap(({ text }) =>
    [...text.matchAll(/^- \[([^\]]*)\]/gm)].flatMap(([, list]) => list?.split(', ') ?? []),
  );
}

function rank({ confidence }: Claim): number {
  return confidence ? CONFIDENCES.indexOf(confidence) : 0;
}

function evidenceFor(
  cited: ReadonlySet<string>,
  items: readonly Excerpt[],
  texts: readonly EvidenceText[],
): Evidence[] {
  return items
    .filter(({ id }) => cited.has(id))
    .map(({ id, source = 0, name, text, firstLine = 1, lastLine = 1 }) => ({
      id,
      kind: texts[source]?.kind ?? 'source',
      source: name,
      first_line: firstLine,
      last_line: lastLine,
      text,
    }));
}

function headingOf(field: string): string {
  const words = field.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function showBrief<P extends string, L extends string>(
  { prose, lists }: { prose: Record<P, unknown>; lists: Record<L, unknown> },
  brief: Brief<P, L>,
): string {
  const section = (heading: string, body: string): string =>
    body ? `**${heading}**\n\n${body}` : '';
  const bullets = (items: string[]): string => items.map((item) => `- ${item}`).join('\n');
  return [
    brief.weak
      ? `*This brief is weak.${brief.weak_reason ? ` ${inlineText(brief.weak_reason)}` : ''}*`
      : '',
    ...(Object.keys(prose) as P[]).map((field) =>
      section(headingOf(field), blockText(brief[field])),
    ),
    ...(Object.keys(lists) as L[]).map((field) =>
      section(headingOf(field), bullets(brief[field].map(showClaim))),
    ),
    section(
      'Evidence',
      bullets(
        brief.evidence.map(
          ({ id, source, kind, first_line, last_line, text }) =>
            `${id}: ${kind === 'diff' ? `diff of ${showPlace(source, ...newSideOf(text))}` : showPlace(source, [first_line, last_line])}`,
        ),
      ),
    ),
    brief.dropped_claims > 0
      ? `*${count(brief.dropped_claims, 'claim')} without evidence ${brief.dropped_claims === 1 ? 'was' : 'were'} left out.*`
      : '',
    brief.unknown_ids > 0
      ? `*${count(brief.unknown_ids, 'citation')} of evidence that does not exist ${brief.unknown_ids === 1 ? 'was' : 'were'} removed.*`
      : '',
    showGaps(brief),
  ]
    .filter(Boolean)
    .join('\n\n');
}

function showClaim({ text, evidence, confidence }: Claim): string {
  const notes = [confidence ? `${confidence} confidence` : '', evidence.join(', ')].filter(Boolean);
  return `${inlineText(text)}${notes.length ? ` (${notes.join('; ')})` : ''}`;
}
