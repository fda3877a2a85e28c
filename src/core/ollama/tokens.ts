import { hostLabel, isLoopback } from '../address';
import { InternError } from '../errors';

/** Where tokens are kept; asked once for each server, when the first request to it is sent. */
export type TokenSource = (origin: string) => PromiseLike<string | undefined>;

/** What stands for the token in a header's value. */
export const TOKEN_PLACEHOLDER = '${token}';

/** Whether a token may be sent there: it is never sent in clear over a network. */
export function mayCarryToken(baseUrl: string): boolean {
  return baseUrl.startsWith('https:') || isLoopback(baseUrl);
}

/** Printable characters without spaces: all that a bearer token may have. */
export function isPlausibleToken(token: string): boolean {
  return /^[\x21-\x7e]+$/.test(token);
}

/** The tokens of reverse proxies, by origin. Nothing shows them but the headers of that origin. */
export class Tokens {
  readonly #known = new Map<string, Promise<string | undefined>>();

  constructor(private readonly source: TokenSource = () => Promise.resolve(undefined)) {}

  set(baseUrl: string, token: string | undefined): void {
    if (token !== undefined && !isPlausibleToken(token)) throw badToken();
    this.#known.set(new URL(baseUrl).origin, Promise.resolve(token));
  }

  async of(baseUrl: string): Promise<string | undefined> {
    const { origin } = new URL(baseUrl);
    for (let asked = this.#find(origin); ;) {
      const token = await asked;
      // Another one may have been set while this one was looked up.
      const latest = this.#known.get(origin);
      if (latest === undefined || latest === asked) return token;
      asked = latest;
    }
  }

  #find(origin: string): Promise<string | undefined> {
    const known = this.#known.get(origin);
    if (known) return known;
    const asked = Promise.resolve(this.source(origin)).catch(() => {
      if (this.#known.get(origin) === asked) this.#known.delete(origin);
      return undefined;
    });
    this.#known.set(origin, asked);
    return asked;
  }

  /** The headers of a request to that server: the extra ones, with its token. */
  async headers(
    baseUrl: string,
    extra: Readonly<Record<string, string>>,
    /** Of the address. */
    setting = 'ollamaIntern.host',
  ): Promise<{ headers: Record<string, string>; token: string | undefined }> {
    const token = await this.of(baseUrl);
    if (token !== undefined && !mayCarryToken(baseUrl)) throw insecureToken(baseUrl, setting);
    const entries = Object.entries(extra);
    const placed = entries.some(([, value]) => value.includes(TOKEN_PLACEHOLDER));
    const named = entries.some(([name]) => name.toLowerCase() === 'authorization');
    return {
      token,
      headers: Object.fromEntries([
        ...(token !== undefined && !placed && !named ? [['authorization', `Bearer ${token}`]] : []),
        ...entries.flatMap(([name, value]) => {
          if (!value.includes(TOKEN_PLACEHOLDER)) return [[name, value]];
          return token === undefined
            ? []
            : [[name, value.replaceAll(TOKEN_PLACEHOLDER, () => token)]];
        }),
      ]) as Record<string, string>,
    };
  }
}

/** Headers that belong to the connection or to the proxy. */
const REFUSED = [
  'host',
  'content-length',
  'content-type',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'upgrade',
  'expect',
  'te',
  'trailer',
  'proxy-authorization',
  'proxy-connection',
];

/** Headers from a setting. What cannot be sent goes to `onProblem`, by its name: a value may be a secret. */
export function readHeaders(
  value: unknown,
  onProblem: (message: string) => void,
): Record<string, string> {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    onProblem('The headers are not a list of names and values. They are ignored.');
    return {};
  }
  const headers: Record<string, string> = {};
  for (const [name, content] of Object.entries(value)) {
    const why = whyNot(name, content);
    if (why) onProblem(`The header ${JSON.stringify(name)} is ignored: ${why}.`);
    else headers[name] = content as string;
  }
  return headers;
}

function whyNot(name: string, value: unknown): string | undefined {
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) return 'that is not a name of a header';
  if (REFUSED.includes(name.toLowerCase())) return 'it is set by the connection itself';
  if (typeof value !== 'string') return 'its value is not text';
  return isHeaderValue(value) ? undefined : 'its value has characters that cannot be sent';
}

/** No line breaks and no other control characters, and nothing beyond Latin-1. */
export function isHeaderValue(text: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(text);
}

function badToken(): InternError {
  return new InternError({
    code: 'bad_input',
    message: 'That is not a token: it has spaces or characters that cannot be sent.',
    hint: 'Copy the token alone, without the word Bearer.',
    actions: [{ kind: 'set_token' }],
  });
}

function insecureToken(baseUrl: string, setting: string): InternError {
  return new InternError({
    code: 'config',
    message: `The token for ${hostLabel(baseUrl)} is not sent over plain HTTP, where others can read it.`,
    hint: 'Use an https address, or clear the token.',
    actions: [{ kind: 'open_setting', setting }],
  });
}
