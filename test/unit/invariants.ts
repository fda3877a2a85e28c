import assert from 'node:assert/strict';
import type { InputOf, JobName, ResultOf } from '../../src/core';
import type { BriefFacts, Claim } from '../../src/core/jobs/brief';
import { parseDiff, pathOf } from '../../src/core/jobs/diff';
import { JOBS } from '../../src/core/jobs/registry';
import { problemsOf } from '../../src/core/jobs/shape';
import { assertLifeless } from './excerpts';
import { INPUTS } from './inputs';

type Check<N extends JobName> = (result: ResultOf<N>, input: InputOf<N>) => void;

interface Named {
  name: string;
  text: string;
}

const isText = (value: unknown): void => {
  assert.equal(typeof value, 'string');
  assert.match(value as string, /\S/);
};
const isIn = (values: readonly unknown[], value: unknown): void =>
  assert.ok(values.includes(value), `${JSON.stringify(value)} is not among ${values.join(', ')}`);
const isShare = (value: number): void =>
  assert.ok(value >= 0 && value <= 1, `${value} is not between 0 and 1`);
const areLines = (lines: readonly number[], text: string): void => {
  const count = text.split('\n').length;
  for (const line of lines) {
    assert.ok(Number.isInteger(line) && line >= 1 && line <= count, `line ${line} of ${count}`);
  }
};

/** What a brief rests on is really there, and whatever it claims rests on something. */
function checkBrief(brief: BriefFacts, texts: readonly Named[], advice: readonly string[]): void {
  for (const { source, text, first_line, last_line } of brief.evidence) {
    const whole = texts.find(({ name }) => name === source);
    assert.ok(whole, `evidence from ${source}`);
    assert.ok(whole.text.includes(text.trim()), `not in ${source}: ${text}`);
    areLines([first_line, last_line], whole.text);
  }
  const ids = brief.evidence.map(({ id }) => id);
  for (const [field, value] of Object.entries(brief)) {
    const isClaims = Array.isArray(value) && !['evidence', 'omitted_sources'].includes(field);
    for (const claim of isClaims && field !== 'unread_parts' ? (value as Claim[]) : []) {
      isText(claim.text);
      for (const id of claim.evidence) isIn(ids, id);
      assert.ok(claim.evidence.length > 0 || advice.includes(field), `nothing shows ${claim.text}`);
    }
  }
  if (brief.weak) isText(brief.weak_reason);
}

const ofIncident: Check<'incident_brief'> = (brief, { log_text: log = '', sources = [] }) => {
  checkBrief(brief, [{ name: 'log', text: log }, ...sources], ['next_checks']);
};
const ofRepository: Check<'repo_brief'> = (brief, { sources }) => checkBrief(brief, sources, []);
const ofChange: Check<'change_brief'> = (brief, { diff = '', sources = [] }) => {
  const files = parseDiff(diff).files.map((file) => ({ name: pathOf(file), text: diff }));
  checkBrief(brief, [...files, ...sources], ['validation_checks']);
};
const ofPack = ({ title, markdown }: { title: string; markdown: string }): void => {
  isText(title);
  assert.match(markdown, /^# \S/);
};
const isSummary = ({ summary }: { summary: string }): void => isText(summary);

/** What is true of the result of each job, whatever a model writes. */
const CHECKS: { [N in JobName]: Check<N> } = {
  classify({ label, best, confidence, abstained }, { labels }) {
    const known = [...labels.map((l) => (typeof l === 'string' ? l : l.label)), null];
    isIn(known, label);
    isIn(known, best);
    isShare(confidence);
    if (abstained) assert.equal(label, null);
  },
  triage_logs({ errors, warnings, suspected_cause: cause, weak }, { text }) {
    for (const { message, count, first_line, last_line, lines } of [...errors, ...warnings]) {
      isText(message);
      assert.ok(count >= 1 && first_line <= last_line);
      areLines([first_line, last_line, ...lines], text);
    }
    if (cause) {
      isText(cause.text);
      assert.ok(cause.lines.length > 0 && !weak);
      areLines(cause.lines, text);
    }
  },
  summarize_fast: isSummary,
  summarize_deep: isSummary,
  draft: ({ draft }) => assert.equal(typeof draft, 'string'),
  extract({ ok, data, problems }, { schema }) {
    if (ok) assert.deepEqual(problemsOf(data, schema), []);
    else assert.ok(data === null && problems.length > 0);
  },
  chat: ({ reply }) => isText(reply),
  commit_message({ subject, body }) {
    assert.match(subject, /^\S.{0,71}$/);
    assert.doesNotMatch(subject, /[.\s]$/);
    for (const line of body.split('\n')) assert.ok(line.length <= 72 || !line.trim().includes(' '));
  },
  code_review({ findings, summary }, { diff }) {
    isText(summary);
    for (const { file, line, end_line = line, message } of findings) {
      const changed = parseDiff(diff).files.find((one) => pathOf(one) === file);
      const lines = changed?.hunks.flatMap((hunk) => hunk.lines.map(({ new_line }) => new_line));
      isIn(lines ?? [], line);
      isIn(lines ?? [], end_line);
      isText(message);
    }
  },
  research({ answer, citations, weak, unaddressed_sources }, { sources }) {
    isText(answer);
    assert.equal(weak, citations.length === 0);
    for (const { source, first_line, last_line, quote } of citations) {
      const text = sources.find(({ name }) => name === source)?.text ?? '';
      areLines([first_line, last_line], text);
      const cited = text
        .split('\n')
        .slice(first_line - 1, last_line)
        .join('\n');
      assert.ok(cited.includes(quote.trim()), `${quote} is not in ${source}`);
    }
    for (const name of unaddressed_sources) {
      isIn(
        sources.map((source) => source.name),
        name,
      );
    }
    for (const [, mark] of answer.matchAll(/(?<!`)\[(\d+)\]/g)) {
      assert.ok(Number(mark) <= citations.length, `[${mark}] of ${citations.length}`);
    }
  },
  incident_brief: ofIncident,
  repo_brief: ofRepository,
  change_brief: ofChange,
  incident_pack(pack, input) {
    ofPack(pack);
    ofIncident(pack.brief, input);
  },
  repo_pack(pack, input) {
    ofPack(pack);
    ofRepository(pack.brief, input);
  },
  change_pack(pack, input) {
    ofPack(pack);
    ofChange(pack.brief, input);
  },
  embed({ dim, embeddings }, { texts }) {
    assert.equal(embeddings.length, texts.length);
    for (const vector of embeddings) {
      assert.equal(vector.length, dim);
      assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-3);
    }
  },
  embed_search({ ranked }, { candidates }) {
    const scores = ranked.map(({ score }) => score);
    scores.forEach(isShare);
    assert.deepEqual(
      scores,
      scores.toSorted((a, b) => b - a),
    );
    for (const { id } of ranked) {
      isIn(
        candidates.map((candidate) => candidate.id),
        id,
      );
    }
  },
};

/** A result is what its job promises, and showing it brings nothing to life. Of the inputs that all jobs have. */
export function assertPromised(name: JobName, result: unknown): void {
  const check = CHECKS[name] as (result: unknown, input: unknown) => void;
  check(result, INPUTS[name]);
  const shown = (JOBS[name].show as (result: unknown) => string)(result);
  assert.equal(typeof shown, 'string');
  // A draft is the text itself, for a file.
  if (name !== 'draft') assertLifeless(shown);
}
