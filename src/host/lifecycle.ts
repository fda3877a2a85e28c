import type * as vscode from 'vscode';

/** Owns what it registers and lets go of it in reverse order. */
export class Disposer implements vscode.Disposable {
  readonly #owned: vscode.Disposable[] = [];

  own<T extends vscode.Disposable>(disposable: T): T {
    this.#owned.push(disposable);
    return disposable;
  }

  dispose(): void {
    for (const disposable of this.#owned.splice(0).reverse()) disposable.dispose();
  }
}
