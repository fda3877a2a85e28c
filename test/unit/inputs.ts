import type { InputOf, JobName } from '../../src/core';
import { TEXT } from './stage';

const DIFF = [
  'diff --git a/src/calls.ts b/src/calls.ts',
  'index 1111111..2222222 100644',
  '--- a/src/calls.ts',
  '+++ b/src/calls.ts',
  '@@ -1,3 +1,4 @@',
  ' const limit = 2;',
  '-let calls = [];',
  '+let calls: Call[] = [];',
  '+const first = calls[0].id;',
  ' export { calls };',
  '',
].join('\n');

const LOG = [
  '2026-01-01T00:00:00Z INFO started',
  '2026-01-01T00:00:01Z WARN the queue is long',
  '2026-01-01T00:00:02Z ERROR database refused the connection',
  '2026-01-01T00:00:03Z ERROR database refused the connection',
].join('\n');

const SOURCES = [
  { name: 'src/limiter.ts', text: TEXT },
  { name: 'README.md', text: 'The limiter is fair.\nIt can be cancelled.\n' },
];

/** One small input for every job. */
export const INPUTS: { [N in JobName]: InputOf<N> } = {
  classify: { text: TEXT, labels: ['bug', { label: 'feature', description: 'something new' }] },
  triage_logs: { text: LOG },
  summarize_fast: { text: TEXT },
  draft: { instruction: 'Say it in one sentence.', text: TEXT },
  extract: {
    text: TEXT,
    schema: {
      type: 'object',
      properties: { limit: { type: 'integer' }, name: { type: 'string' } },
      required: ['limit'],
    },
  },
  chat: { messages: [{ role: 'user', content: 'How many calls run at once?' }] },
  commit_message: { diff: DIFF },
  code_review: { diff: DIFF },
  summarize_deep: { text: TEXT },
  research: { question: 'Who waits?', sources: SOURCES },
  incident_brief: { log_text: LOG, sources: SOURCES },
  repo_brief: { sources: SOURCES },
  change_brief: { diff: DIFF },
  incident_pack: { log_text: LOG, title: 'The outage' },
  repo_pack: { sources: SOURCES },
  change_pack: { diff: DIFF },
  embed: { texts: ['one text', 'another text'] },
  embed_search: {
    query: 'one text',
    candidates: [
      { id: 'a', text: 'one text' },
      { id: 'b', text: 'something else entirely' },
    ],
  },
};
