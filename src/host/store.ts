import type * as vscode from 'vscode';
import type { Store } from '../core';

const PREFIX = 'learned.';

/** What the core learns about models, kept with the extension's global state. */
export class MementoStore implements Store {
  constructor(private readonly memento: vscode.Memento) {}

  get(key: string): unknown {
    return this.memento.get(PREFIX + key);
  }

  set(key: string, value: unknown): void {
    void this.memento.update(PREFIX + key, value);
  }
}
