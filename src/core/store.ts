/** Small facts that outlive the process: learned load times, characters per token. JSON values only. */
export interface Store {
  get(key: string): unknown;
  set(key: string, value: unknown): void;
}

/** Forgets everything at the end of the process. */
export class MemoryStore implements Store {
  readonly #values = new Map<string, unknown>();

  get(key: string): unknown {
    return this.#values.get(key);
  }

  set(key: string, value: unknown): void {
    this.#values.set(key, value);
  }
}
