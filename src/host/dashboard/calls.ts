import * as vscode from 'vscode';
import type { InternError } from '../../core';
import type { WhichCall } from '../../core/audit/calls';
import type { LogService } from '../../core/audit/logService';
import { detailsOf, recordJson } from '../../shared/calls';
import { COMMANDS, REQUESTS } from '../../shared/dashboard';
import type { Receiver, Wire } from '../../shared/ipc';

const MOST_HINTS = 200;
const SHOWN_MS = 3_000;

/** What to do about calls that failed: for the person who waited, so the log has none of it. */
export class Hints {
  readonly #hints = new Map<string, string>();

  remember({ callId, hint }: Pick<InternError, 'callId' | 'hint'>): void {
    if (callId === undefined || !hint) return;
    this.#hints.set(callId, hint);
    if (this.#hints.size <= MOST_HINTS) return;
    const [oldest] = this.#hints.keys();
    if (oldest !== undefined) this.#hints.delete(oldest);
  }

  of(callId: unknown): string | undefined {
    return typeof callId === 'string' ? this.#hints.get(callId) : undefined;
  }
}

/** Answers what the webview asks about the calls of the log. */
export function answerAboutCalls(
  receiver: Receiver,
  log: Pick<LogService, 'calls' | 'facets' | 'call'>,
  hints: Hints,
  post: (reply: Wire) => void,
): Receiver {
  return receiver
    .answer(REQUESTS.calls, post, (query) => log.calls(query))
    .answer(REQUESTS.facets, post, () => log.facets())
    .answer(REQUESTS.call, post, async (which) => {
      const found = await log.call(which);
      if (!found) return null;
      const details = detailsOf(found.line, found.row);
      return { ...details, hint: hints.of(details.record.call_id) };
    })
    .on(COMMANDS.copyCall, (which) => void copy(which));

  async function copy(which: WhichCall): Promise<void> {
    const found = await log.call(which).catch(() => undefined);
    if (!found) {
      vscode.window.showWarningMessage(vscode.l10n.t('This call is not in the log any more.'));
      return;
    }
    await vscode.env.clipboard.writeText(recordJson(found.line, found.row));
    vscode.window.setStatusBarMessage(vscode.l10n.t('Copied the record of the call.'), SHOWN_MS);
  }
}
