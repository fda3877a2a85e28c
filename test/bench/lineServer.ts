import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { OllamaServer } from '../support/ollama/server';

/** Whether every line is a chunk of its own, as Ollama writes them, or all of them are one. */
export type Shape = 'a chunk a line' | 'one chunk';

/**
 * Answers every chat with the same lines. Their bytes are made beforehand and written in one go, so that what a
 * benchmark measures is the reading. The simulator answers the rest. An answer comes after `latencyMs`.
 */
export async function startLineServer(
  simulator: OllamaServer,
  lines: string[],
  shape: Shape,
  latencyMs = 0,
) {
  let chats = 0;
  const chunks = shape === 'one chunk' ? [lines.join('')] : lines;
  const answer = Buffer.from(
    [
      'HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n',
      ...chunks.map((chunk) => `${Buffer.byteLength(chunk).toString(16)}\r\n${chunk}\r\n`),
      '0\r\n\r\n',
    ].join(''),
  );
  const server = createServer((socket) => {
    let received = '';
    socket.setEncoding('latin1').on('error', () => socket.destroy());
    socket.on('data', (text: string) => {
      received += text;
      const headEnd = received.indexOf('\r\n\r\n') + 4;
      const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0);
      if (headEnd < 4 || received.length < headEnd + length) return;
      const [method, path] = received.split(' ', 2) as [string, string];
      const body = received.slice(headEnd);
      received = '';
      if (path === '/api/chat') {
        chats++;
        if (latencyMs === 0) socket.write(answer);
        else setTimeout(() => socket.write(answer), latencyMs);
      } else void passOn(method, path, body).then((text) => socket.write(text));
    });
  });
  const passOn = async (method: string, path: string, body: string): Promise<string> => {
    const response = await fetch(simulator.url + path, { method, ...(body && { body }) });
    const text = await response.text();
    return `HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    /** How many chats were answered. */
    get chats(): number {
      return chats;
    },
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}
