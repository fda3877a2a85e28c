import * as vscode from 'vscode';
import type { Intern } from '../core';
import type { Answers } from './answers';
import { orError, withRemedies } from './errors';
import {
  type Change,
  chooseChange,
  chooseRepository,
  nameOf,
  commitStyle,
  currentChange,
  type Repository,
  titleOf,
} from './git';
import { COMMANDS } from './ids';
import { envelopeLines, runWithProgress } from './jobRunner';
import { plain } from './plain';
import type { ReviewDiagnostics } from './review';

interface Parts {
  intern: Intern;
  answers: Answers;
  review: ReviewDiagnostics;
}

/** Commands that work on what Git says is changed. */
export function registerChangeCommands({ intern, answers, review }: Parts): vscode.Disposable[] {
  const register = vscode.commands.registerCommand;
  return [
    register(COMMANDS.writeCommitMessage, (clicked?: unknown) =>
      orError(async () => {
        const repository = await chooseRepository(clicked);
        if (repository) await writeCommitMessage(intern, repository);
      }),
    ),
    register(COMMANDS.reviewChanges, async (clicked?: unknown) => {
      const change = await orError(async () => {
        const repository = await chooseRepository(clicked);
        return repository && chooseChange(repository, 'Review Changes', clicked);
      });
      if (change) await reviewChange(change, answers, review);
    }),
    register(COMMANDS.clearReview, () => review.clear()),
  ];
}

async function reviewChange(
  change: Change,
  answers: Answers,
  review: ReviewDiagnostics,
): Promise<void> {
  review.clear();
  const name = titleOf(change);
  await answers.start({
    job: 'code_review',
    input: { diff: change.diff },
    title: `Review of ${name}`,
    progress: `Reviewing ${name}`,
    task: 'Review',
    notes: change.notes,
    again: 'Run again on the change as it was the first time.',
    onResult: ({ findings }) => void review.show(change, findings),
  });
}

async function writeCommitMessage(intern: Intern, repository: Repository): Promise<void> {
  const change = await currentChange(repository);
  const input = { diff: change.diff, ...(await commitStyle(repository)) };
  const envelope = await withRemedies('Describe', (overflow) =>
    runWithProgress(intern, 'commit_message', input, {
      title: `Writing a commit message, ${nameOf(repository)}`,
      overflow,
      onDelta: () => undefined,
    }),
  );
  if (!envelope) return;
  const { subject, body } = envelope.result;
  const isWritten = await offerMessage(repository, body ? `${subject}\n\n${body}` : subject);
  const notes = [
    ...(change.isStaged ? [] : ['Nothing is staged: the message describes the working tree.']),
    ...change.notes,
    // The first line says where it comes from, which the status bar does too.
    ...envelopeLines(envelope).slice(1),
  ];
  if (isWritten && notes.length > 0)
    void vscode.window.showInformationMessage(plain(notes.join(' ')));
}

/** Never takes away what somebody wrote. */
async function offerMessage({ inputBox }: Repository, message: string): Promise<boolean> {
  if (inputBox.value.trim() !== '' && inputBox.value !== message) {
    const [replace, copy] = ['Replace', 'Copy Instead'];
    const chosen = await vscode.window.showWarningMessage(
      'There is a commit message already.',
      replace,
      copy,
    );
    if (chosen === copy) await vscode.env.clipboard.writeText(message);
    if (chosen !== replace) return false;
  }
  inputBox.value = message;
  return true;
}
