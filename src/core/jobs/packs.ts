import * as z from 'zod';
import type { BriefFacts } from './brief';
import { changeBrief } from './changeBrief';
import { incidentBrief } from './incidentBrief';
import { defineSteps, type JobResult, type StepsJob } from './job';
import { inlineText } from './markdown';
import { repoBrief } from './repoBrief';
import { clip } from './words';

export const PACK_KINDS = ['incident', 'repo', 'change'] as const;
export type PackKind = (typeof PACK_KINDS)[number];

/**
 * A brief made to be kept. A job has no hands: whoever runs it writes the pack to the disk, with `ArtifactStore.write`.
 */
export interface Pack<B extends BriefFacts = BriefFacts> {
  kind: PackKind;
  /** The title that was given, on one line, or that of the brief. */
  title: string;
  brief: B;
  /** The brief for people. */
  markdown: string;
}

const MOST_TITLE_CHARS = 120;

const BRIEFS = { incident: incidentBrief, repo: repoBrief, change: changeBrief };
type BriefOf<K extends PackKind> = JobResult<(typeof BRIEFS)[K]>;

/** The kind of pack that the results of a job may be kept as. */
export function packKindOf(job: string): PackKind | undefined {
  return PACK_KINDS.find((kind) => BRIEFS[kind].name === job);
}

/** A brief that is already there as a pack: no model is asked. */
export function packOf<K extends PackKind>(kind: K, result: BriefOf<K>, title?: string) {
  return makePack(kind, BRIEFS[kind] as Shown<BriefOf<K>>, result, title);
}

type Shown<B> = Pick<StepsJob<z.ZodType, B>, 'title' | 'show'>;

function makePack<B extends BriefFacts>(
  kind: PackKind,
  brief: Shown<B>,
  result: B,
  title = '',
): Pack<B> {
  const named = clip(title.replace(/\s+/g, ' ').trim() || brief.title, MOST_TITLE_CHARS);
  return {
    kind,
    title: named,
    brief: result,
    markdown: `# ${inlineText(named)}\n\n${brief.show(result)}\n`,
  };
}

function definePack<S extends z.ZodRawShape, B extends BriefFacts>(
  kind: PackKind,
  brief: StepsJob<z.ZodObject<S>, B>,
  title: string,
  description: string,
) {
  const ofPack = z.object({ title: z.string().max(MOST_TITLE_CHARS).optional() });
  const input = z.object({ ...brief.input.shape, ...ofPack.shape });
  return defineSteps({
    name: `${kind}_pack`,
    title,
    description,
    version: brief.version,
    tier: brief.tier,
    input,
    async run(given, steps) {
      const { result, ...about } = await brief.run(brief.input.parse(given), steps);
      return { result: makePack(kind, brief, result, ofPack.parse(given).title), ...about };
    },
    show: (pack: Pack<B>) => pack.markdown,
  });
}

export const incidentPack = definePack(
  'incident',
  incidentBrief,
  'Incident Pack',
  'An incident brief, kept as Markdown and JSON.',
);

export const repoPack = definePack(
  'repo',
  repoBrief,
  'Repository Pack',
  'A repository brief, kept as Markdown and JSON.',
);

export const changePack = definePack(
  'change',
  changeBrief,
  'Change Pack',
  'A change brief, kept as Markdown and JSON.',
);
