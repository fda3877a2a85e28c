import * as z from 'zod';
import { defineBrief } from './brief';
import { logText } from './evidence';
import { someText } from './handed';
import { sourcesInput } from './sources';

/** What may have gone wrong, from a log and files. */
export const incidentBrief = defineBrief({
  name: 'incident_brief',
  title: 'Incident Brief',
  description:
    'What may have caused an incident, from a log and files, with evidence for each claim.',
  input: z.object({
    log_text: z.string().default(''),
    sources: sourcesInput.optional(),
    max_hypotheses: z.number().int().min(1).max(10).default(5),
  }),
  task: 'a brief about an incident: what went wrong, and what to look at next',
  prose: {},
  lists: {
    root_cause_hypotheses: {
      ask: 'what may have caused the incident, the likeliest first.',
      hasConfidence: true,
    },
    affected_surfaces: { ask: 'components, endpoints or features that are affected.' },
    timeline_clues: { ask: 'what happened when, in order, with the times as they are written.' },
    next_checks: { ask: 'what to check next to confirm or rule out a cause.', isAdvice: true },
  },
  core: 'root_cause_hypotheses',
  limits: ({ max_hypotheses }) => ({
    root_cause_hypotheses: max_hypotheses,
    affected_surfaces: 10,
    timeline_clues: 15,
    next_checks: 8,
  }),
  texts: ({ log_text, sources = [] }) => [
    ...(log_text.trim() ? [logText(log_text)] : []),
    ...sources.map((source) => ({ ...source, kind: 'source' as const })),
  ],
  handed: {
    words: ['incident'],
    suits: ({ sources }) => sources.length > 0,
    input({ request, sources }) {
      if (sources.length === 0) return { log_text: someText(request) };
      // What a person says of an incident is evidence too.
      const told = request.trim() ? [{ name: 'the request', text: request }] : [];
      return { sources: [...sources, ...told] };
    },
  },
});
