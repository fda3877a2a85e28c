export interface Unavailable {
  reason: string;
}

export interface Weights {
  path: string;
  /** Unset for a file of the user's: the engine names it after the file. */
  name?: string;
}

export function ensureLlama(): Promise<{ dir: string } | Unavailable>;
export function ensureModel(options?: { gguf?: string }): Promise<Weights | Unavailable>;
export function ensureEmbeddingModel(): Promise<Weights | Unavailable>;
