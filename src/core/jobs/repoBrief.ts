import * as z from 'zod';
import { defineBrief } from './brief';
import { someSources } from './handed';
import { sourcesInput } from './sources';

/** What a repository is and where to begin, from its files. */
export const repoBrief = defineBrief({
  name: 'repo_brief',
  title: 'Repository Brief',
  description:
    'What a repository is for, how it is built and where to begin, with evidence for each claim.',
  input: z.object({
    sources: sourcesInput,
    max_key_surfaces: z.number().int().min(1).max(20).default(8),
    max_risks: z.number().int().min(1).max(10).default(5),
    max_read_next: z.number().int().min(1).max(15).default(8),
  }),
  task: 'a brief about a code repository for a developer who is new to it',
  prose: {
    repo_thesis: 'what the repository is for, in one or two sentences.',
    architecture_shape: 'how it is built: the main parts and how they depend on each other.',
  },
  lists: {
    key_surfaces: { ask: 'the entry points, interfaces and modules that matter most.' },
    risk_areas: { ask: 'places that are fragile, complicated or surprising, and why.' },
    read_next: { ask: 'which files to read next, in this order, and why.' },
  },
  core: 'repo_thesis',
  limits: ({ max_key_surfaces, max_risks, max_read_next }) => ({
    key_surfaces: max_key_surfaces,
    risk_areas: max_risks,
    read_next: max_read_next,
  }),
  texts: ({ sources }) => sources.map((source) => ({ ...source, kind: 'source' as const })),
  handed: {
    words: ['repo', 'repository'],
    suits: ({ sources }) => sources.length === 0,
    needs: 'repository',
    input: (handed) => ({ sources: someSources(handed) }),
    // Its files did not come along, so no command could read them again.
    follow_ups: [{ request: 'Where should one begin to read, and why?', label: 'Where to begin' }],
  },
});
