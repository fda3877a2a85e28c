import { homedir } from 'node:os';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { type ArtifactEntry, type ArtifactStore, counted } from '../core';
import { artifactStore } from './briefCommands';
import { orError } from './errors';
import { COMMANDS } from './ids';
import { plain } from './plain';

const MOST_LISTED = 200;
/** Titles in the question before artifacts are deleted. */
const MOST_NAMED = 10;
const DEFAULT_DAYS = 90;

interface Item extends vscode.QuickPickItem {
  entry?: ArtifactEntry;
}

export function registerArtifactCommands(): vscode.Disposable[] {
  return [
    vscode.commands.registerCommand(COMMANDS.openArtifact, () =>
      orError(() => openArtifact(artifactStore())),
    ),
  ];
}

/** Lists the artifacts, and does what a person wants with one of them. */
async function openArtifact(store: ArtifactStore): Promise<void> {
  const { items, total } = await store.list({ limit: MOST_LISTED });
  if (total === 0) {
    const hint = 'Incident Pack, Repository Pack and Change Pack make some.';
    void vscode.window.showInformationMessage(`There are no artifacts yet. ${hint}`);
    return;
  }
  const remove: Item = { label: 'Delete Older Artifacts…', alwaysShow: true };
  const separator: Item = { label: '', kind: vscode.QuickPickItemKind.Separator };
  const chosen = await vscode.window.showQuickPick([...items.map(itemOf), separator, remove], {
    title: items.length < total ? `The Newest ${items.length} of ${total} Artifacts` : 'Artifacts',
    matchOnDescription: true,
  });
  if (chosen === remove) return deleteOlder(store);
  const entry = chosen?.entry;
  if (!entry) return;
  const action = await vscode.window.showQuickPick(
    [
      { label: 'Open', run: () => open(entry) },
      { label: 'Compare with Another…', run: () => compare(entry, items) },
      { label: 'Export…', run: () => exportTo(store, entry) },
    ],
    { title: entry.title },
  );
  await action?.run();
}

function itemOf(entry: ArtifactEntry): Item {
  const { title, kind, created_at, weak } = entry;
  const when = new Date(created_at).toLocaleString();
  return {
    label: plain(title),
    description: [kind, when, ...(weak ? ['weak'] : [])].join(' · '),
    entry,
  };
}

async function open({ markdown_path }: ArtifactEntry): Promise<void> {
  await vscode.window.showTextDocument(vscode.Uri.file(markdown_path), { preview: false });
}

/** The older on the left. */
async function compare(entry: ArtifactEntry, all: readonly ArtifactEntry[]): Promise<void> {
  const others = all.filter(({ kind, slug }) => kind === entry.kind && slug !== entry.slug);
  if (others.length === 0) {
    void vscode.window.showInformationMessage(`There is no other ${entry.kind} artifact.`);
    return;
  }
  const chosen = await vscode.window.showQuickPick(others.map(itemOf), {
    title: `Compare ${entry.title} with`,
    matchOnDescription: true,
  });
  if (!chosen?.entry) return;
  const pair = [entry, chosen.entry].toSorted(
    (a, b) => Date.parse(a.created_at) - Date.parse(b.created_at),
  );
  const uris = pair.map(({ markdown_path }) => vscode.Uri.file(markdown_path));
  const title = pair.map((one) => one.title).join(' ↔ ');
  await vscode.commands.executeCommand('vscode.diff', ...uris, title);
}

async function exportTo(store: ArtifactStore, entry: ArtifactEntry): Promise<void> {
  const [folder] = vscode.workspace.workspaceFolders ?? [];
  const uri = await vscode.window.showSaveDialog({
    title: 'Export Artifact',
    defaultUri: vscode.Uri.file(join(folder?.uri.fsPath ?? homedir(), `${entry.slug}.md`)),
    filters: { Markdown: ['md'], JSON: ['json'] },
  });
  if (!uri) return;
  // The dialog has asked already.
  const { path } = await store.export(entry, uri.fsPath, { overwrite: true });
  void vscode.window.showInformationMessage(plain(`Exported to ${path}.`));
}

/** Says first what would go. */
async function deleteOlder(store: ArtifactStore): Promise<void> {
  const typed = await vscode.window.showInputBox({
    title: 'Delete Artifacts Older than So Many Days',
    value: String(DEFAULT_DAYS),
    validateInput: (text) => (isDays(text) ? undefined : 'A whole number of days.'),
  });
  if (typed === undefined || !isDays(typed)) return;
  const { matched, bytes } = await store.prune({ olderThanDays: Number(typed), dryRun: true });
  if (matched.length === 0) {
    void vscode.window.showInformationMessage(`No artifact is older than ${typed} days.`);
    return;
  }
  const named = matched.slice(0, MOST_NAMED).map(({ title, kind }) => `${title} (${kind})`);
  const more = matched.length - named.length;
  const confirm = 'Delete';
  const chosen = await vscode.window.showWarningMessage(
    `Delete ${counted(matched.length, 'artifact')} (${Math.ceil(bytes / 1024)} KB) for good?`,
    { modal: true, detail: [...named, ...(more > 0 ? [`and ${more} more`] : [])].join('\n') },
    confirm,
  );
  if (chosen !== confirm) return;
  // No other ones: some may have grown old enough, or have come, since they were named.
  const deleted = await store.delete(matched);
  void vscode.window.showInformationMessage(`Deleted ${counted(deleted, 'artifact')}.`);
}

function isDays(text: string): boolean {
  return /^\d{1,5}$/.test(text);
}
