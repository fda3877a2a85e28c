/** Recorded exchanges with a real server: `curl -i` output under a first line that has the call. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface WireRequest {
  method: string;
  path: string;
  headers: Record<string, string>;
  body?: string;
}

export interface WireResponse {
  status: number;
  headers: Record<string, string>;
  body: string;
}

export interface Exchange {
  /** Absent where only the answer was recorded. */
  request?: WireRequest;
  response: WireResponse;
}

export const WIRE_DIRECTORY = path.join(__dirname, '../fixtures/wire');

export function captureNames(): string[] {
  return readdirSync(WIRE_DIRECTORY)
    .filter((file) => file.endsWith('.txt'))
    .map((file) => file.slice(0, -'.txt'.length))
    .sort();
}

/** Most files hold one exchange; `==` lines divide those that hold several. */
export function readCapture(name: string): Exchange[] {
  const text = readFileSync(path.join(WIRE_DIRECTORY, `${name}.txt`), 'utf8');
  const parts = text.split(/^(?:###|==) /m).filter((part) => part.trim());
  return parts.map((part) => {
    const [head = '', rest = ''] = split(part, '\n');
    return { request: readRequest(head), response: readResponse(rest) };
  });
}

const HEADER = / -H ([\w-]+): (\S+)/;

function readRequest(line: string): WireRequest | undefined {
  const call = /^(.*?)https?:\/\/[^/\s]+(\/\S*)(?: -d (.*))?$/.exec(line.replace(HEADER, ' '));
  if (!call) return undefined;
  const [, before = '', target = '/', body] = call;
  const method = /-X (\w+)/.exec(before)?.[1];
  const header = HEADER.exec(line);
  return {
    method: method ?? (/-I\b/.test(before) ? 'HEAD' : body === undefined ? 'GET' : 'POST'),
    path: target,
    headers: header ? { [header[1] ?? '']: header[2] ?? '' } : {},
    body,
  };
}

function readResponse(text: string): WireResponse {
  const withoutContinue = text.replace(/^HTTP\/1\.1 100 Continue\s+/, '');
  const lines = withoutContinue.split('\n');
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(lines[0] ?? '')?.[1]);
  const headers: Record<string, string> = {};
  let at = 1;
  for (; at < lines.length; at++) {
    const header = /^([A-Z][\w-]*): (.*?)\r?$/.exec(lines[at] ?? '');
    if (!header) break;
    headers[(header[1] ?? '').toLowerCase()] = header[2] ?? '';
  }
  return { status, headers, body: lines.slice(at).join('\n').trim() };
}

function split(text: string, by: string): [string, string] {
  const at = text.indexOf(by);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + by.length)];
}
