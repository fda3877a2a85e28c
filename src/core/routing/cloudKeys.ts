import { InternError } from '../errors';
import { environmentKey } from './cloud';
import type { Environment } from '../config';
import { isPlausibleToken, mayCarryToken, Tokens, type TokenSource } from '../ollama/tokens';

/** Where a key comes from. */
export type KeySource = 'stored' | 'environment' | 'none';

/** The keys of Ollama Cloud, by origin: one that a person set wins over the environment's. */
export class CloudKeys {
  readonly #stored: Tokens;

  constructor(
    source: TokenSource | undefined,
    private readonly env: Environment,
  ) {
    this.#stored = new Tokens(source);
  }

  set(baseUrl: string, key: string | undefined): void {
    this.#stored.set(baseUrl, key);
  }

  async source(baseUrl: string): Promise<KeySource> {
    return (await this.#find(baseUrl)).source;
  }

  /** The headers of a request to the cloud. Rejects without a key: nothing is sent then. */
  async headers(baseUrl: string): Promise<{ headers: Record<string, string>; token: string }> {
    const { key } = await this.#find(baseUrl);
    if (key === undefined) throw noKeyError();
    return { headers: { authorization: `Bearer ${key}` }, token: key };
  }

  async #find(baseUrl: string): Promise<{ key: string | undefined; source: KeySource }> {
    if (!mayCarryToken(baseUrl)) return { key: undefined, source: 'none' };
    const stored = await this.#stored.of(baseUrl);
    if (stored !== undefined) return { key: stored, source: 'stored' };
    const key = environmentKey(new URL(baseUrl).origin, this.env);
    return key !== undefined && isPlausibleToken(key)
      ? { key, source: 'environment' }
      : { key: undefined, source: 'none' };
  }
}

export function noKeyError(): InternError {
  return new InternError({
    code: 'auth_failed',
    message: 'The cloud is on, but there is no key for it.',
    hint: 'Set the cloud key. Until then nothing is sent there.',
    actions: [{ kind: 'set_cloud_key' }],
  });
}
