import * as vscode from 'vscode';
import { InternError, type Typed } from '../core';
import { plain } from './plain';

/** Boxes in which a person types what a job needs. */
export class InputBoxes {
  /** What was typed last, by what it was asked for. */
  readonly #typed = new Map<string, string>();

  /** What is wrong with what is typed stands under it; the next time it is still there. Undefined when closed. */
  async ask<T>(
    what: string,
    read: (text: string) => Typed<T>,
    options: vscode.InputBoxOptions,
  ): Promise<T | undefined> {
    const text = await vscode.window.showInputBox({
      ...options,
      prompt: options.prompt && plain(options.prompt),
      value: this.#typed.get(what),
      ignoreFocusOut: true,
      validateInput: (typed) => {
        // Nothing is wrong yet with a box that nobody has typed in.
        const found = typed.trim() === '' ? undefined : read(typed);
        return found && 'problem' in found ? found.problem : undefined;
      },
    });
    if (text === undefined) return undefined;
    this.#typed.set(what, text);
    const found = read(text);
    if ('value' in found) return found.value;
    throw new InternError({
      code: 'bad_input',
      message: found.problem,
      hint: 'Run the command again: what you typed is still there.',
    });
  }
}
