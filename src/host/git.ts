import * as vscode from 'vscode';
import { type ErrorAction, InternError } from '../core';
import { OPEN_FOLDER } from './actions';
import { plain } from './plain';
import { CONFIG_SECTION, SETTINGS } from './ids';

/** As much of the Git extension's API, version 1, as is used here. */
interface GitExtension {
  /** Throws while `git.enabled` is off. */
  getAPI(version: 1): GitApi;
}

interface GitApi {
  readonly repositories: Repository[];
  getRepository(uri: vscode.Uri): Repository | null;
}

export interface Repository {
  readonly rootUri: vscode.Uri;
  readonly inputBox: { value: string };
  readonly state: {
    readonly HEAD?: { readonly name?: string };
    readonly indexChanges: readonly unknown[];
    readonly workingTreeChanges: readonly { readonly status: number }[];
    readonly untrackedChanges?: readonly unknown[];
  };
  status(): Promise<void>;
  diff(cached?: boolean): Promise<string>;
  /** What the second has that the first has not, since they parted. */
  diffBetweenPatch(first: string, second: string): Promise<string>;
  log(options: { maxEntries: number }): Promise<{ hash: string; message: string }[]>;
  getRefs(options: { sort: 'committerdate' }): Promise<{ name?: string; commit?: string }[]>;
}

/** A difference to work on. */
export interface Change {
  repository: Repository;
  /** As it is called in titles: `staged changes`. */
  what: string;
  diff: string;
  /** What is not in it. */
  notes: string[];
}

const GIT = 'vscode.git';
const UNTRACKED = 7;
const MOST_COMMITS = 20;
const STYLE_SUBJECTS = 10;
const SHOW_CHANGES: ErrorAction = {
  kind: 'run_command',
  command: 'workbench.view.scm',
  title: 'Show Source Control',
};

/** What a menu of source control tells a command: a repository, or a group of what is changed in it. */
interface Clicked {
  rootUri?: unknown;
  id?: unknown;
  resourceStates?: readonly { resourceUri?: unknown }[];
}

/**
 * The repository of a view of source control, or that of the active file, or the only one, or one that a person
 * chooses. Undefined when they choose none.
 */
export async function chooseRepository(clicked?: unknown): Promise<Repository | undefined> {
  const git = await gitApi();
  const { rootUri, resourceStates } = (clicked ?? {}) as Clicked;
  const given = rootUri ?? resourceStates?.[0]?.resourceUri;
  const near = given instanceof vscode.Uri ? given : vscode.window.activeTextEditor?.document.uri;
  const found = near && git.getRepository(near);
  if (found) return found;
  const [only, ...others] = git.repositories;
  if (!only) {
    throw new InternError({
      code: 'bad_input',
      message: 'No Git repository is open.',
      hint: 'Open a folder that is in one, or make one.',
      actions: [
        OPEN_FOLDER,
        { kind: 'run_command', command: 'git.init', title: 'Initialize Repository' },
      ],
    });
  }
  if (others.length === 0) return only;
  const chosen = await vscode.window.showQuickPick(
    git.repositories.map((repository) => ({
      label: plain(nameOf(repository)),
      description: plain(repository.state.HEAD?.name ?? ''),
      detail: plain(repository.rootUri.fsPath),
      repository,
    })),
    { title: 'Repository' },
  );
  return chosen?.repository;
}

/** Those that are open already: nothing is started for it. */
export function openRepositoryCount(): number {
  const extension = vscode.extensions.getExtension<GitExtension>(GIT);
  try {
    return extension?.isActive ? extension.exports.getAPI(1).repositories.length : 0;
  } catch {
    return 0;
  }
}

export function nameOf({ rootUri }: Repository): string {
  return rootUri.path.split('/').filter(Boolean).at(-1) ?? rootUri.path;
}

/** Which change, in which repository. */
export function titleOf({ what, repository }: Change): string {
  return `${what}, ${nameOf(repository)}`;
}

async function stagedChange(repository: Repository): Promise<Change | undefined> {
  const diff = await repository.diff(true);
  return diff.trim() ? { repository, what: 'staged changes', diff, notes: [] } : undefined;
}

/** What differs from what is staged. Files that Git does not know are not in it. */
async function workingTreeChange(repository: Repository): Promise<Change | undefined> {
  const diff = await repository.diff(false);
  if (!diff.trim()) return undefined;
  return { repository, what: 'working tree', diff, notes: await untrackedNotes(repository) };
}

/** The staged changes, or else the working tree. Rejects when nothing is changed. */
export async function currentChange(
  repository: Repository,
): Promise<Change & { isStaged: boolean }> {
  const staged = await stagedChange(repository);
  if (staged) return { ...staged, isStaged: true };
  return { ...(await workingTreeOrFail(repository)), isStaged: false };
}

/** How commits of a repository are worded. */
export async function commitStyle(repository: Repository) {
  const config = vscode.workspace.getConfiguration(CONFIG_SECTION, repository.rootUri);
  return {
    conventional: config.get<boolean>(SETTINGS.commitConventional) === true,
    recent_subjects: (await commitsOf(repository, STYLE_SUBJECTS)).map(({ message }) =>
      subjectOf(message),
    ),
  };
}

async function nothingChanged(repository: Repository): Promise<InternError> {
  const [untracked] = await untrackedNotes(repository);
  return new InternError({
    code: 'bad_input',
    message: `Nothing is changed in ${nameOf(repository)}.${untracked ? ` ${untracked}` : ''}`,
    hint: untracked ? 'Stage them first.' : 'Change or stage something first.',
    actions: [SHOW_CHANGES],
  });
}

/** Asks which change, unless a group was clicked, and gets it. Undefined when a person chooses none. */
export async function chooseChange(
  repository: Repository,
  title: string,
  clicked?: unknown,
): Promise<Change | undefined> {
  const { id } = (clicked ?? {}) as Clicked;
  if (id === 'index') return stagedOrOffer(repository);
  if (id === 'workingTree') return workingTreeOrFail(repository);
  await repository.status();
  const { indexChanges, workingTreeChanges } = repository.state;
  const tracked = workingTreeChanges.filter(({ status }) => status !== UNTRACKED);
  const chosen = await vscode.window.showQuickPick(
    [
      { label: 'Staged Changes', description: files(indexChanges.length), get: stagedOrOffer },
      { label: 'Working Tree', description: files(tracked.length), get: workingTreeOrFail },
      { label: 'Compared with a Branch or Commit…', description: '', get: chooseRange },
    ],
    { title: `${title}: ${nameOf(repository)}` },
  );
  return chosen?.get(repository);
}

async function stagedOrOffer(repository: Repository): Promise<Change | undefined> {
  const staged = await stagedChange(repository);
  if (staged) return staged;
  const working = await workingTreeChange(repository);
  if (!working) throw await nothingChanged(repository);
  const take = 'Use the Working Tree';
  const chosen = await vscode.window.showWarningMessage('Nothing is staged.', take);
  return chosen === take ? working : undefined;
}

async function workingTreeOrFail(repository: Repository): Promise<Change> {
  const change = await workingTreeChange(repository);
  if (!change) throw await nothingChanged(repository);
  return change;
}

interface RevisionItem extends vscode.QuickPickItem {
  revision?: string;
}

/** What the current branch has that a branch or commit has not, since they parted. */
async function chooseRange(repository: Repository): Promise<Change | undefined> {
  const refs = await repository.getRefs({ sort: 'committerdate' });
  const commits = await commitsOf(repository, MOST_COMMITS);
  const current = repository.state.HEAD?.name;
  const items: RevisionItem[] = [
    { label: 'Branches and Tags', kind: vscode.QuickPickItemKind.Separator },
    ...refs.flatMap(({ name, commit }) =>
      name && name !== current
        ? [{ label: plain(name), description: commit?.slice(0, 8), revision: name }]
        : [],
    ),
    { label: 'Commits', kind: vscode.QuickPickItemKind.Separator },
    ...commits.map(({ hash, message }) => ({
      label: hash.slice(0, 8),
      description: plain(subjectOf(message)),
      revision: hash,
    })),
  ];
  const chosen = await vscode.window.showQuickPick(items, {
    title: 'Compare with',
    matchOnDescription: true,
  });
  const revision = chosen?.revision;
  if (!chosen || !revision) return undefined;
  // Git would take such a name for an option.
  const diff = revision.startsWith('-') ? '' : await repository.diffBetweenPatch(revision, 'HEAD');
  if (!diff.trim()) {
    throw new InternError({
      code: 'bad_input',
      message: `${current ?? 'HEAD'} has nothing that ${chosen.label} has not.`,
      hint: 'Choose another branch or commit.',
      actions: [SHOW_CHANGES],
    });
  }
  return { repository, what: `changes since ${chosen.label}`, diff, notes: [] };
}

/** A repository without commits has no log. */
async function commitsOf(repository: Repository, maxEntries: number) {
  return repository.log({ maxEntries }).catch(() => []);
}

function subjectOf(message: string): string {
  return message.trim().split('\n')[0] ?? '';
}

async function untrackedNotes(repository: Repository): Promise<string[]> {
  await repository.status();
  const { workingTreeChanges, untrackedChanges = [] } = repository.state;
  const mixed = workingTreeChanges.filter(({ status }) => status === UNTRACKED);
  const count = mixed.length + untrackedChanges.length;
  return count > 0 ? [`Files that Git does not know yet are not in it: ${count}.`] : [];
}

function files(count: number): string {
  return count === 1 ? '1 file' : `${count} files`;
}

async function gitApi(): Promise<GitApi> {
  const extension = vscode.extensions.getExtension<GitExtension>(GIT);
  if (!extension) {
    throw unavailable('The Git extension is missing or switched off.', {
      kind: 'run_command',
      command: 'workbench.view.extensions',
      title: 'Show Extensions',
    });
  }
  try {
    return (await extension.activate()).getAPI(1);
  } catch (cause) {
    throw unavailable(
      'Git is switched off, or not installed.',
      { kind: 'run_command', command: 'workbench.action.openSettings', title: 'Open Settings' },
      cause,
    );
  }
}

function unavailable(message: string, action: ErrorAction, cause?: unknown): InternError {
  return new InternError({
    code: 'config',
    message,
    hint: 'Changes are read with the editor’s own Git support.',
    actions: [action],
    cause,
  });
}
