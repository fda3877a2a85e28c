import { InternError } from './errors';

export const DEFAULT_HOST = 'http://127.0.0.1:11434';

/**
 * The base URL of an Ollama server from what a person or `OLLAMA_HOST` gives: scheme and port may be missing, a path
 * is kept, a `/v1` or `/api` suffix (the OpenAI-compatible URL that many guides show) is understood, and the
 * bind-only addresses 0.0.0.0 and [::] mean loopback.
 */
export function parseHost(text: string): string {
  const trimmed = text.trim().replace(/^["']+|["']+$/g, '');
  if (trimmed === '') return DEFAULT_HOST;
  const isWhole = hasScheme(trimmed);
  const address = isWhole ? trimmed : `http://${spelledOut(trimmed)}`;
  const url = tryUrl(address);
  if (!url || !/^https?:$/.test(url.protocol) || url.hostname === '') throw badHost(text);

  if (!isWhole) {
    if (url.hostname === 'ollama.com') url.protocol = 'https:';
    else if (!/:\d+$/.test(authority(spelledOut(trimmed)))) url.port = '11434';
  }
  if (url.hostname === '0.0.0.0') url.hostname = '127.0.0.1';
  if (url.hostname === '[::]') url.hostname = '[::1]';
  const path = url.pathname.replace(/(?:\/(?:v1|api)?|["'])+$/, '');
  return `${url.protocol}//${url.host}${path}`;
}

export function hasScheme(text: string): boolean {
  return /^[a-z][a-z\d+.-]*:\/\//i.test(text);
}

/** Whether a text names a user or a password, which are not sent. */
export function hasCredentials(text: string): boolean {
  return /^(?:[a-z][a-z\d+.-]*:\/\/)?[^/?#]*@/i.test(text.trim());
}

/** What may be repeated of an address that somebody wrote. */
export function shownAddress(text: string): string {
  return hasCredentials(text) ? text.replace(/^.*@/, '***@') : text;
}

/** Whether an address is this machine's own. */
export function isLoopback(baseUrl: string): boolean {
  const { hostname } = new URL(baseUrl);
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127(?:\.\d+){3}$/.test(hostname)
  );
}

/** How a base URL is shown: without the scheme when that says nothing. */
export function hostLabel(baseUrl: string): string {
  return baseUrl.replace(/^http:\/\//, '');
}

function tryUrl(text: string): URL | undefined {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}

function authority(text: string): string {
  return text.split('/', 1)[0] ?? '';
}

/** What a URL wants: a bare `::1` has no brackets in OLLAMA_HOST, and `:11434` no host. */
function spelledOut(text: string): string {
  if (/^:\d+(?:\/|$)/.test(text)) return `127.0.0.1${text}`;
  const host = authority(text);
  return (host.match(/:/g)?.length ?? 0) > 1 && !host.startsWith('[')
    ? text.replace(host, `[${host}]`)
    : text;
}

function badHost(text: string): InternError {
  return new InternError({
    code: 'config',
    message: `"${shownAddress(text)}" is not an address of an Ollama server.`,
    hint: 'Write it like 127.0.0.1:11434 or https://gpu-box.example:8443/ollama.',
    actions: [{ kind: 'open_setting', setting: 'ollamaIntern.host' }],
  });
}
