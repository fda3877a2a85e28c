import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { ask, read, send } from '../support/ollama/http';
import { faults, ManualClock, startOllama, type OllamaServer } from '../support/ollama/server';

const MODEL = 'hermes3:8b';
const body = (more: object = {}) => ({
  model: MODEL,
  messages: [
    { role: 'user', content: 'Grüße aus Köln, schöne Übung für Zeichen – 日本語のテキスト 🎉' },
  ],
  ...more,
});

describe('simulated Ollama: faults', () => {
  let server: OllamaServer;
  let clock: ManualClock;

  beforeEach(async () => {
    clock = new ManualClock();
    server = await startOllama({ clock });
  });
  afterEach(() => server.close());

  const chat = (more: object = {}) => ask(server.url, '/api/chat', body(more));

  it('answer with any status, body and header, once', async () => {
    server.faults.next(faults.rateLimited(7));
    const limited = await chat();
    assert.equal(limited.status, 429);
    assert.equal(limited.headers.get('retry-after'), '7');
    assert.deepEqual(limited.json, { error: 'too many requests' });
    assert.equal((await chat()).status, 200);
  });

  it('may come without Retry-After', async () => {
    server.faults.next(faults.rateLimited());
    assert.equal((await chat()).headers.get('retry-after'), null);
  });

  it('hit only the requests that match, as often as asked', async () => {
    server.faults.next({
      ...faults.status(503, 'busy'),
      match: ({ path }) => path === '/api/chat',
      times: 2,
    });
    assert.equal((await ask(server.url, '/api/tags')).status, 200);
    assert.equal((await chat()).status, 503);
    assert.equal((await chat()).status, 503);
    assert.equal((await chat()).status, 200);
    assert.equal(server.faults.armed, 0);
  });

  it('send a page that is not JSON', async () => {
    server.faults.next(faults.page(200));
    const page = await chat();
    assert.equal(page.headers.get('content-type'), 'text/html');
    assert.match(page.text, /^<!DOCTYPE html>/);
  });

  it('redirect', async () => {
    server.faults.next(faults.redirect('http://127.0.0.1:1/elsewhere'));
    const { status, headers } = await chat();
    assert.equal(status, 307);
    assert.equal(headers.get('location'), 'http://127.0.0.1:1/elsewhere');
  });

  it('delay the answer', async () => {
    server.faults.next(faults.late(3000));
    const answer = chat();
    await server.waitForRequest();
    await clock.advance(2999);
    assert.equal(server.requests[0]?.status, undefined);
    await clock.advance(1);
    assert.equal((await answer).status, 200);
  });

  it('hang until the client gives up', async () => {
    server.faults.next(faults.hang());
    const leaving = new AbortController();
    const left = assert.rejects(send(server.url, '/api/chat', body(), { signal: leaving.signal }));
    await server.waitForRequest();
    leaving.abort();
    await left;
    await server.whenIdle();
    assert.ok(server.requests[0]?.abortedAt);
  });

  it('reset the connection before the headers', async () => {
    server.faults.next(faults.resetAfter(0));
    await assert.rejects(chat(), /fetch failed/);
  });

  it('reset it in the middle', async () => {
    server.faults.next(faults.resetAfter(2));
    const response = await send(server.url, '/api/chat', body());
    assert.equal(response.status, 200);
    await assert.rejects(response.text());
    assert.equal(server.requests[0]?.lines, 2);
  });

  it('put an error into the stream', async () => {
    server.faults.next(faults.errorAfter(2, 'upstream broke'));
    const { status, lines } = await chat();
    assert.equal(status, 200);
    assert.equal(lines.length, 3);
    assert.deepEqual(lines.at(-1), { error: 'upstream broke' });
  });

  it('put an error before everything else in the stream', async () => {
    server.faults.next(faults.errorAfter(0, 'upstream broke'));
    const { status, lines } = await chat();
    assert.equal(status, 200);
    assert.deepEqual(lines, [{ error: 'upstream broke' }]);
  });

  it('end the stream without done', async () => {
    server.faults.next(faults.endAfter(3));
    const { lines } = await chat();
    assert.equal(lines.length, 3);
    assert.ok(lines.every(({ done }) => done === false));
  });

  it('leave an answer undone, streamed or not', async () => {
    server.faults.next({ ...faults.repeatGuard(), times: 2 });
    assert.equal((await chat()).json.done, false);
    const { json } = await chat({ stream: false });
    assert.equal(json.done, false);
    assert.equal(json.done_reason, undefined);
    assert.equal(json.eval_count, undefined);
  });

  it('insert lines that are no JSON, or far too long', async () => {
    server.faults.next(faults.garbageAfter(1));
    assert.equal((await chat()).lines[1], '<<not json>>');
    server.faults.next(faults.longLineAfter(1, 100_000));
    assert.equal((await chat()).lines[1]?.padding.length, 100_000);
  });

  it('chop lines and characters into single bytes', async () => {
    const whole = await chat({ stream: false });
    server.faults.next({ ...faults.chopped(1) });
    const chunks: Buffer[] = [];
    await new Promise<void>((resolve, reject) => {
      const request = httpRequest(`${server.url}/api/chat`, { method: 'POST' }, (response) => {
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', resolve);
      });
      request.on('error', reject);
      request.end(JSON.stringify(body()));
    });
    assert.ok(chunks.length > 100, `${chunks.length} chunks`);
    const { lines } = await read(new Response(Buffer.concat(chunks)));
    const text = lines.map(({ message }) => message.content).join('');
    assert.equal(text, whole.json.message.content);
  });

  it('slow the lines down', async () => {
    server.faults.next(faults.slow(1000));
    const answer = chat({ options: { num_predict: 2 } });
    await server.waitFor(() => server.requests[0]?.lines === 1);
    await clock.advance(999);
    assert.equal(server.requests[0]?.lines, 1);
    await clock.advance(1001);
    assert.equal((await answer).lines.length, 3);
  });

  it('kill the runner in the middle: an error, and nothing is loaded', async () => {
    server.faults.next(faults.runnerDiesAfter(2));
    const { status, json } = await chat();
    assert.equal(status, 200);
    assert.equal(json.error, 'an error was encountered while running the model: unexpected EOF');
    await server.whenIdle();
    assert.deepEqual(server.runners, []);
    assert.equal((await chat()).json.done, true);
  });

  it('kill the runner before the first token', async () => {
    server.faults.next(faults.runnerDiesAfter(0));
    const { status, json } = await chat();
    assert.equal(status, 500);
    assert.match(json.error, /^model runner has unexpectedly stopped/);
  });

  describe('of the whole server', () => {
    it('stop it, and start it again on the same port', async () => {
      await chat();
      const { port } = server;
      await server.stop();
      await assert.rejects(chat(), /fetch failed/);
      await server.start();
      assert.equal(server.port, port);
      assert.deepEqual(server.runners, []);
      assert.equal((await chat()).status, 200);
    });

    it('restart it under a running answer', async () => {
      const slow = await startOllama({ clock, tokenMs: 1000 });
      try {
        const response = send(slow.url, '/api/chat', body());
        await slow.waitFor(() => slow.stats.active === 1);
        await clock.advance(1000);
        const reading = (await response).text();
        await Promise.all([assert.rejects(reading), slow.restart()]);
        assert.equal((await ask(slow.url, '/api/tags')).status, 200);
      } finally {
        await slow.close();
      }
    });
  });

  describe('of a pull', () => {
    beforeEach(async () => {
      await server.close();
      server = await startOllama({ clock, pullStepMs: 1000, pullSteps: 4 });
    });

    it('is cancelled by leaving, and goes on later where it stopped', async () => {
      const leaving = new AbortController();
      const response = await send(
        server.url,
        '/api/pull',
        { model: 'llama3.2' },
        { signal: leaving.signal },
      );
      await clock.advance(2000);
      await server.waitFor(() => server.requests[0]?.lines === 3);
      leaving.abort();
      await assert.rejects(response.text());
      await server.whenIdle();
      assert.equal(server.models.find('llama3.2'), undefined);

      const again = ask(server.url, '/api/pull', { model: 'llama3.2' });
      await server.waitForRequest(({ id, lines }) => id === 2 && lines === 1);
      await clock.advance(2000);
      const { lines } = await again;
      assert.equal(lines.filter(({ completed }) => completed).length, 2);
      assert.deepEqual(lines.at(-1), { status: 'success' });
      assert.ok(server.models.find('llama3.2'));
    });

    it('is an error inside the stream when there is no such model', async () => {
      const { status, lines } = await ask(server.url, '/api/pull', { model: 'no-such-model' });
      assert.equal(status, 200);
      assert.deepEqual(lines, [
        { status: 'pulling manifest' },
        { error: 'pull model manifest: file does not exist' },
      ]);
    });
  });
});
