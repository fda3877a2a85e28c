import { homedir } from 'node:os';
import * as vscode from 'vscode';
import type { Range } from '../../core/audit/calls';
import { dayText } from '../../core/audit/line';
import type { LogService } from '../../core/audit/logService';
import { COMMANDS, REQUESTS } from '../../shared/dashboard';
import type { Receiver, Wire } from '../../shared/ipc';
import { trendsCsv } from '../../shared/trendsCsv';
import { plain } from '../plain';

type TrendLog = Pick<LogService, 'trends'>;

/** Answers how calls developed, and writes it to a file that the person chooses. */
export function answerAboutTrends(
  receiver: Receiver,
  log: TrendLog,
  post: (reply: Wire) => void,
): void {
  receiver
    .answer(REQUESTS.trends, post, (choice) => log.trends({ ...choice, now: Date.now() }))
    .on(COMMANDS.exportTrends, (choice) => void exportTrends(log, choice));
}

async function exportTrends(
  log: TrendLog,
  choice: { range: Range; profile?: string | undefined },
): Promise<void> {
  try {
    const now = Date.now();
    // Of the moment at which they were wanted, however long the choice of a file takes.
    const csv = trendsCsv(await log.trends({ ...choice, now }));
    const [folder] = vscode.workspace.workspaceFolders ?? [];
    const uri = await vscode.window.showSaveDialog({
      title: vscode.l10n.t('Export Trends'),
      defaultUri: vscode.Uri.joinPath(
        folder?.uri ?? vscode.Uri.file(homedir()),
        `ollama-intern-trends-${choice.range}-${dayText(new Date(now))}.csv`,
      ),
      filters: { CSV: ['csv'] },
    });
    if (!uri) return;
    await vscode.workspace.fs.writeFile(uri, Buffer.from(csv));
    void offerToOpen(uri);
  } catch (error) {
    const { message } = error as Error;
    void vscode.window.showErrorMessage(
      plain(vscode.l10n.t('The trends could not be exported. {0}', message)),
    );
  }
}

async function offerToOpen(uri: vscode.Uri): Promise<void> {
  const open = vscode.l10n.t('Open');
  const chosen = await vscode.window.showInformationMessage(
    plain(vscode.l10n.t('Exported to {0}.', uri.fsPath)),
    open,
  );
  if (chosen === open) await vscode.window.showTextDocument(uri, { preview: false });
}
