import * as vscode from 'vscode';
import type { Envelope } from '../core';
import { envelopeLines } from './jobRunner';

/** Opens data as a document that can be edited and saved, and says what to beware of. */
export async function showJson(json: string, envelope: Envelope): Promise<void> {
  const document = await vscode.workspace.openTextDocument({
    language: 'json',
    content: `${json}\n`,
  });
  await vscode.window.showTextDocument(document, vscode.ViewColumn.Beside);
  // JSON has no room for a line under it.
  const [, ...notes] = envelopeLines(envelope);
  if (notes.length > 0) void vscode.window.showWarningMessage(notes.join(' '));
}
