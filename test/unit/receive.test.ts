import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import Agent from 'undici/lib/dispatcher/agent.js';
import { receive, type Refusal } from '../../src/core/ollama/receive';

const head = (status = '200 OK', more = ''): string =>
  `HTTP/1.1 ${status}\r\nTransfer-Encoding: chunked\r\n${more}\r\n`;
const chunk = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const END = '0\r\n\r\n';

describe('receiving an answer', () => {
  let server: Server;
  let agent: Agent;
  let origin: string;
  let answer: (socket: Socket) => void;
  let sockets: Socket[];

  beforeEach(async () => {
    sockets = [];
    server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      socket.on('data', () => answer(socket));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    agent = new Agent();
  });
  afterEach(async () => {
    await agent.destroy();
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  const ask = (
    onBytes: (bytes: Buffer) => void,
    signal?: AbortSignal,
  ): Promise<Refusal | undefined> =>
    receive(agent, { origin, path: '/', method: 'GET' }, signal, onBytes);

  it('hands over what one packet brought in one piece', async () => {
    answer = (socket) =>
      socket.write(head() + chunk('one ') + chunk('two ') + chunk('three') + END);
    const pieces: string[] = [];
    assert.equal(await ask((bytes) => pieces.push(bytes.toString())), undefined);
    assert.deepEqual(pieces, ['one two three']);
  });

  it('hands over each packet when it comes, and all of them before the end', async () => {
    answer = (socket) => socket.write(head() + chunk('one'));
    const pieces: string[] = [];
    await ask((bytes) => {
      pieces.push(bytes.toString());
      if (pieces.length === 1) sockets[0]?.write(chunk('two'));
      else sockets[0]?.write(END);
    });
    assert.deepEqual(pieces, ['one', 'two']);
  });

  it('reads an answer of another status in full and hands over nothing of it', async () => {
    answer = (socket) => {
      socket.write(head('503 Busy', 'Retry-After: 7\r\n') + chunk('{"error":'));
      setImmediate(() => socket.write(chunk('"später"}') + END));
    };
    const refusal = await ask(() => assert.fail('it is no answer'));
    assert.equal(refusal?.statusCode, 503);
    assert.equal(refusal.headers['retry-after'], '7');
    assert.equal(refusal.text, '{"error":"später"}');
  });

  it('goes by the real answer, whatever interim ones come before it', async () => {
    answer = (socket) =>
      socket.write(`HTTP/1.1 103 Early Hints\r\n\r\n${head()}${chunk('one')}${END}`);
    let text = '';
    assert.equal(await ask((bytes) => (text += bytes.toString())), undefined);
    assert.equal(text, 'one');
  });

  it('hands over what came before the connection was cut, and then fails', async () => {
    answer = (socket) => socket.end(head() + chunk('one'));
    let text = '';
    await assert.rejects(
      ask((bytes) => (text += bytes.toString())),
      { code: 'UND_ERR_SOCKET' },
    );
    assert.equal(text, 'one');
  });

  for (const more of ['', 'Connection: close\r\n']) {
    it(`rejects with the exception of its reader and closes the connection (${more.trim()})`, async () => {
      const bug = new TypeError('a bug of ours');
      answer = (socket) => socket.write(head('200 OK', more) + chunk('one') + (more && END));
      await assert.rejects(
        ask(() => {
          throw bug;
        }),
        (error) => error === bug,
      );
      const [socket] = sockets as [Socket];
      if (!socket.closed) await once(socket, 'close');
    });
  }

  it('sends nothing when it was cancelled before', async () => {
    const reason = new Error('too late');
    await assert.rejects(
      ask(() => {}, AbortSignal.abort(reason)),
      (error) => error === reason,
    );
    assert.equal(sockets.length, 0);
  });

  it('is cancelled at once while the connection is being made, which then carries nothing', async () => {
    let connect!: () => void;
    const asked = new Promise<void>((resolve) => {
      agent = new Agent({
        connect: (_options, callback) => {
          connect = () => callback(new Error('nobody is there'), null);
          resolve();
        },
      });
    });
    const controller = new AbortController();
    const asking = ask(() => {}, controller.signal);
    await asked;
    const reason = new Error('too late');
    controller.abort(reason);
    await assert.rejects(asking, (error) => error === reason);
    connect();
  });

  it('hands over nothing more once its reader cancels, and closes the connection', async () => {
    answer = (socket) => socket.write(head() + chunk('one'));
    const controller = new AbortController();
    const reason = new Error('enough');
    const pieces: string[] = [];
    const asking = ask((bytes) => {
      pieces.push(bytes.toString());
      controller.abort(reason);
    }, controller.signal);
    await assert.rejects(asking, (error) => error === reason);
    const [socket] = sockets as [Socket];
    if (!socket.closed) await once(socket, 'close');
    assert.deepEqual(pieces, ['one']);
  });

  it("keeps its caller's asynchronous context, on a connection that another caller opened", async () => {
    answer = (socket) => socket.write(head() + chunk('one') + END);
    const context = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    for (const name of ['first', 'second']) {
      await context.run(name, () => ask(() => seen.push(context.getStore())));
      // undici lets a connection rest for one turn.
      await turn();
    }
    assert.deepEqual(seen, ['first', 'second']);
    assert.equal(sockets.length, 1);
  });
});
