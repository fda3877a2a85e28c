import * as vscode from 'vscode';
import type { Envelope } from '../core';
import { envelopeLines } from './jobRunner';
import { plain } from './plain';

/** Opens JSON as a document that can be edited and saved. */
export async function openJson(json: string): Promise<void> {
  const document = await vscode.workspace.openTextDocument({
    language: 'json',
    content: `${json}\n`,
  });
  await vscode.window.showTextDocument(document, vscode.ViewColumn.Beside);
}

/** The same for an answer, of which it says what to beware of. */
export async function openJsonAnswer(
  json: string,
  envelope: Envelope,
  more: readonly string[] = [],
): Promise<void> {
  await openJson(json);
  // JSON has no room for a line under it.
  const notes = [...envelopeLines(envelope).slice(1), ...more];
  if (notes.length > 0) void vscode.window.showWarningMessage(plain(notes.join(' ')));
}
