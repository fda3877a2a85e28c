import * as z from 'zod';
import { defineBrief } from './brief';
import { diffTexts } from './evidence';
import { sourcesInput } from './sources';

/** What a change does and what it may break, from its diff and files around it. */
export const changeBrief = defineBrief({
  name: 'change_brief',
  title: 'Change Brief',
  description:
    'What a change does, why it matters and what it may break, with evidence for each claim.',
  input: z.object({
    /** A unified diff, as git writes it. */
    diff: z.string().default(''),
    sources: sourcesInput.optional(),
    max_breakpoints: z.number().int().min(1).max(12).default(6),
    max_checks: z.number().int().min(1).max(15).default(8),
  }),
  task: 'a brief about a change to a code base',
  prose: {
    change_summary: 'what the change does, in two to four sentences.',
    why_it_matters: 'what it means for those who use or maintain the code.',
    release_note_draft:
      'a note for the release, for users, without ids; empty when they notice nothing.',
  },
  lists: {
    affected_surfaces: { ask: 'components, interfaces or settings that the change touches.' },
    likely_breakpoints: { ask: 'what the change may break, the likeliest first, and why.' },
    validation_checks: { ask: 'what to test or to look at before it is merged.', isAdvice: true },
  },
  core: 'change_summary',
  limits: ({ max_breakpoints, max_checks }) => ({
    affected_surfaces: 12,
    likely_breakpoints: max_breakpoints,
    validation_checks: max_checks,
  }),
  texts: ({ diff, sources = [] }) => [
    ...diffTexts(diff),
    ...sources.map((source) => ({ ...source, kind: 'source' as const })),
  ],
  handed: {
    words: ['change', 'changes'],
    suits: () => false,
    needs: 'change',
    input: ({ change, sources }) => ({
      diff: change?.diff,
      ...(sources.length > 0 && { sources: [...sources] }),
    }),
    follow_ups: [{ command: 'review', request: '', label: 'Review the changes' }],
  },
});
