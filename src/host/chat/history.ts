import type * as vscode from 'vscode';
import type { InputOf } from '../../core';
import { isHandedOver } from './references';

type Turn = vscode.ChatContext['history'][number];

/** The turns so far, the oldest first. One that failed or was stopped is no part of the conversation. */
export function messagesBefore(history: readonly Turn[]): InputOf<'chat'>['messages'] {
  const messages: InputOf<'chat'>['messages'] = [];
  let asked: vscode.ChatRequestTurn | undefined;
  for (const turn of history) {
    if ('prompt' in turn) {
      asked = turn;
      continue;
    }
    const said: unknown = turn.result.metadata?.said;
    if (asked && typeof said === 'string') {
      const { command, prompt } = asked;
      const content = command ? `/${command} ${prompt}`.trim() : prompt;
      messages.push({ role: 'user', content }, { role: 'assistant', content: said });
    }
    asked = undefined;
  }
  return messages;
}

/** What the latest request with anything attached had. */
export function referencesBefore(history: readonly Turn[]): vscode.ChatPromptReference[] {
  for (const turn of history.toReversed()) {
    const references = 'prompt' in turn ? turn.references.filter(isHandedOver) : [];
    if (references.length > 0) return references;
  }
  return [];
}
