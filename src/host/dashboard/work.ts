import { modelKey } from '../../core/ollama/names';
import type { Doing, Work } from '../../shared/dashboard';

export interface WorkParts {
  /** Hears of every change of the state. */
  onChange: () => void;
  /** Whether there is a page that shows the state. */
  isShown: () => boolean;
  /** Tells of a problem that no page shows. */
  tell: (problem: string) => void;
}

/** What is being done about models: it goes on, and may fail, while the page is hidden or another one. */
export class ModelWork {
  readonly #parts: WorkParts;
  readonly #doing = new Map<string, Doing>();
  #problem: string | undefined;

  constructor(parts: WorkParts) {
    this.#parts = parts;
  }

  get state(): Work {
    return { doing: Object.fromEntries(this.#doing), problem: this.#problem };
  }

  /** One thing at a time for each model. Never rejects: what `act` throws is told, with its message. */
  async do(model: string, doing: Doing, act: () => Promise<unknown>): Promise<void> {
    const key = modelKey(model);
    if (this.#doing.has(key)) return;
    this.#doing.set(key, doing);
    this.#problem = undefined;
    this.#parts.onChange();
    try {
      await act();
    } catch (error) {
      const { message } = error as Error;
      if (this.#parts.isShown()) this.#problem = message;
      else this.#parts.tell(message);
    }
    this.#doing.delete(key);
    this.#parts.onChange();
  }

  /** What went wrong is no news any more. */
  forget(): void {
    this.#problem = undefined;
  }
}
