import * as vscode from 'vscode';
import {
  type Candidates,
  candidatesOf,
  counted,
  InternError,
  type Intern,
  MOST_TEXTS,
} from '../core';
import type { Answers } from './answers';
import { orError, withRemedies } from './errors';
import { COMMANDS } from './ids';
import type { InputBoxes } from './inputBoxes';
import { readQuery } from './jobInputs';
import { runWithProgress } from './jobRunner';
import { openJsonAnswer } from './json';
import { selectedRanges, selectedSources } from './sources';

/** Commands that make vectors. They stay on this machine. */
export function registerEmbedCommands(
  intern: Intern,
  answers: Answers,
  boxes: InputBoxes,
): vscode.Disposable[] {
  const register = vscode.commands.registerCommand;
  return [
    register(COMMANDS.embedSelection, () => orError(() => embedSelection(intern))),
    register(COMMANDS.searchByMeaning, () => orError(() => search(answers, boxes))),
  ];
}

/** One vector for each selection, as JSON with a vector a line. */
async function embedSelection(intern: Intern): Promise<void> {
  const sources = selectedSources([]);
  const [{ name }] = sources;
  const texts = sources.map(({ text }) => text);
  if (texts.length > MOST_TEXTS) throw tooMany(counted(texts.length, 'selection'));
  const envelope = await withRemedies('Embed', (overflow) =>
    runWithProgress(
      intern,
      'embed',
      { texts },
      {
        title: `Embedding ${counted(texts.length, 'selection')} of ${name}`,
        overflow,
        onDelta: () => undefined,
      },
    ),
  );
  if (!envelope) return;
  const { model, result } = envelope;
  const vectors = result.embeddings.map((vector) => `    ${JSON.stringify(vector)}`).join(',\n');
  const lines = [
    `  "model": ${JSON.stringify(model)},`,
    `  "dim": ${result.dim},`,
    `  "embeddings": [\n${vectors}\n  ]`,
  ];
  await openJsonAnswer(`{\n${lines.join('\n')}\n}`, envelope);
}

async function search(answers: Answers, boxes: InputBoxes): Promise<void> {
  const { list, count, where } = await material();
  const compared = `${count} of ${where}`;
  if (list.length > MOST_TEXTS) throw tooMany(compared);
  const query = await boxes.ask('Query', readQuery, {
    title: 'Search by Meaning',
    prompt: `In ${compared}`,
    placeHolder: 'what happens when the server is away',
  });
  if (query === undefined) return;
  await answers.start({
    job: 'embed_search',
    input: { query, candidates: list },
    title: `Search in ${where}`,
    progress: `Comparing ${compared}`,
    task: 'Search',
    notes: [`Searched: ${compared}.`],
  });
}

/** What is selected, or else the text in the clipboard. */
async function material(): Promise<Candidates & { where: string }> {
  const editor = vscode.window.activeTextEditor;
  if (editor && selectedRanges(editor).length > 0) {
    const sources = selectedSources([]);
    const [{ name }] = sources;
    const passages = sources.map(({ text, range }) => ({ text, firstLine: range.start.line + 1 }));
    return { ...candidatesOf(passages), where: name };
  }
  const text = await vscode.env.clipboard.readText();
  if (text.trim() !== '') {
    return { ...candidatesOf([{ text, firstLine: 1 }]), where: 'the clipboard' };
  }
  throw new InternError({
    code: 'bad_input',
    message: 'There is nothing to search in: no text is selected, and the clipboard has none.',
    hint: 'Select or copy the text first.',
  });
}

function tooMany(given: string): InternError {
  return new InternError({
    code: 'bad_input',
    message: `${given} are too many: at most ${MOST_TEXTS} are compared at once.`,
    hint: 'Select fewer of them.',
  });
}
