/** Runs the cases against a server and compares its answers with the recordings. */
import assert from 'node:assert/strict';
import type { Body } from '../support/ollama/http';
import type { Json } from '../support/ollama/validate';
import type { WireRequest, WireResponse } from './capture';
import { CASES, exchangeOf, type Case } from './cases';
import { assertShape } from './shape';
import { send, type Role, type World } from './world';

/** What the recorded models could do. */
const RECORDED_ROLES: Record<string, Role> = {
  stories260k: 'completion',
  'stories-tools': 'tools',
  'stories-toolbare': 'tools',
  'stories-think': 'thinking',
  'stories-thinkpre': 'thinking',
  'stories-thinkgo': 'thinking',
  'bert-random': 'embedding',
  broken: 'broken',
};

/** Models on a slow machine take their time to load. */
const REAL_TIMEOUT = 10 * 60_000;

export function conformanceSuite(open: () => Promise<World>): void {
  let world: World;

  before(async () => {
    world = await open();
  });
  after(() => world?.close());

  for (const test of CASES) {
    it(test.name, async function () {
      if (!world.simulator) this.timeout(REAL_TIMEOUT);
      const reason = await reasonToSkip(test, world);
      if (reason) {
        console.log(`      skipped "${test.name}": ${reason}`);
        this.skip();
      }
      await runCase(test, world);
    });
  }
}

async function reasonToSkip(test: Case, world: World): Promise<string | undefined> {
  if (test.simulatorOnly && !world.simulator) return test.simulatorOnly;
  const unless = await test.unless?.(world);
  if (unless || test.run) return unless;
  const { recorded, role } = modelOf(test);
  if (!recorded || world.modelFor(recorded, role)) return undefined;
  return `no installed model is ${role}`;
}

async function runCase(test: Case, world: World): Promise<void> {
  if (test.run) return test.run(world);
  const { recorded, role } = modelOf(test);
  const model = world.modelFor(recorded || 'stories260k', role) ?? '';
  await test.before?.(world, model);
  try {
    const { response } = exchangeOf(test);
    const request = requestOf(test, recorded, model);
    const answer = await send(world.base, request, test.bytes?.());
    const expected = { ...response, body: renamed(response.body, recorded, model) };
    compare(test, answer, expected, Boolean(world.simulator));
  } finally {
    await test.after?.(world);
  }
}

function modelOf(test: Case): { recorded: string; role: Role } {
  const { request } = exchangeOf(test);
  const body = test.request?.body ?? parsed(request?.body ?? '');
  const named = typeof body?.model === 'string' ? body.model : '';
  const recorded = named in RECORDED_ROLES ? named : '';
  return { recorded, role: test.role ?? RECORDED_ROLES[recorded] ?? 'completion' };
}

function requestOf(test: Case, recorded: string, model: string): WireRequest {
  const { request } = exchangeOf(test);
  const base = request ?? { method: 'POST', path: '', headers: {} };
  const { body: given, ...rest } = test.request ?? {};
  const body = given ?? parsed(base.body ?? '');
  const text = body === undefined ? base.body : JSON.stringify({ ...body, ...test.body });
  const named = recorded && text?.replace(`"model":"${recorded}"`, `"model":"${model}"`);
  return { ...base, ...rest, body: named || text };
}

/** Error texts name the model that was asked for, some of them with its tag. */
function renamed(text: string, recorded: string, model: string): string {
  if (!recorded || recorded === model) return text;
  const tagged = model.includes(':') ? model : `${model}:latest`;
  return text.replaceAll(`${recorded}:latest`, tagged).replaceAll(recorded, model);
}

function compare(test: Case, answer: WireResponse, expected: WireResponse, strict: boolean): void {
  assert.equal(answer.status, expected.status, answer.body);
  assert.equal(answer.headers['content-type'], expected.headers['content-type']);
  assert.equal(answer.headers['retry-after'], expected.headers['retry-after']);
  assertFraming(answer, expected);
  if (expected.body === '' || !/^[{d]/.test(expected.body)) {
    assert.equal(answer.body, expected.body);
    return;
  }
  const lines = linesOf(answer.body);
  const recorded = linesOf(expected.body);
  const last = lines.at(-1) ?? {};
  const recordedLast = recorded.at(-1) ?? {};
  if (isError(recordedLast)) assertError(test, last, recordedLast);
  else assertShape(last, recordedLast, { strict });
  if (isStream(expected)) assertLines(lines, recorded, strict);
  assertEnd(last);
  test.check?.({ lines: lines as unknown as Body[], last: last as unknown as Body });
}

/** A stream is chunked; of one-piece answers Go chunks only the long ones. */
function assertFraming(answer: WireResponse, expected: WireResponse): void {
  const chunked = ({ headers }: WireResponse) => headers['transfer-encoding'] === 'chunked';
  assert.notEqual(chunked(answer), 'content-length' in answer.headers, 'one kind of framing');
  const sameLength = isStream(expected) || expected.status >= 400;
  if (sameLength) assert.equal(chunked(answer), chunked(expected), 'chunked');
}

function isStream({ headers }: WireResponse): boolean {
  return /ndjson|event-stream/.test(headers['content-type'] ?? '');
}

function isError(line: Line): boolean {
  return typeof line === 'object' && 'error' in line && line.error !== null;
}

/** The exact text, but for what may differ by nature. */
function assertError(test: Case, actual: Line, expected: Line): void {
  const blurred = (value: Line) =>
    (test.blur ?? []).reduce(
      (text, [pattern, by]) => text.replace(pattern, by),
      JSON.stringify(withoutId(value)),
    );
  assert.equal(blurred(actual), blurred(expected));
}

function withoutId(value: Line): Line {
  if (typeof value === 'string' || !('request_id' in value)) return value;
  return { ...value, request_id: 'req' };
}

/** Every line before the last is built like the recorded first, thoughts and calls aside. */
function assertLines(lines: Line[], recorded: Line[], strict: boolean): void {
  const [model] = recorded;
  if (model === undefined || recorded.length < 2) return;
  for (const line of lines.slice(0, -1)) {
    const chunk = typeof line === 'object' && 'choices' in line;
    if (chunk) assertShape(line, without(model, ['choices']), { strict: false });
    else assertShape(plainLine(line), plainLine(model), { strict });
  }
}

function plainLine(line: Line): Line {
  if (typeof line === 'string' || !line.message) return line;
  return { ...line, message: without(line.message as Json, ['thinking', 'tool_calls']) };
}

function without(line: Line, names: string[]): Line {
  return Object.fromEntries(Object.entries(line).filter(([name]) => !names.includes(name)));
}

/** An answer that is complete says why it ended, and only then has figures. */
function assertEnd(line: Line): void {
  const last = line as Partial<Body>;
  if (typeof last.done !== 'boolean') return;
  if (!last.done) {
    assert.equal(last.done_reason, undefined);
    assert.equal(last.eval_count, undefined);
    return;
  }
  const reason = last.done_reason ?? '';
  assert.ok(['stop', 'length', 'load', 'unload'].includes(reason), reason);
  if (last.eval_count === undefined) return;
  const { total_duration, prompt_eval_count, eval_count, eval_duration } = last;
  for (const figure of [total_duration, prompt_eval_count, eval_count, eval_duration]) {
    assert.ok(figure && Number.isInteger(figure) && figure > 0, String(figure));
  }
}

/** JSON, or the text of a line that is none. */
type Line = Json | string;

function linesOf(body: string): Line[] {
  return body
    .split('\n')
    .filter((line) => line.trim())
    .map((line) => line.replace(/^data: /, ''))
    .map((line) => parsed(line) ?? line);
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
