import * as vscode from 'vscode';
import { JOBS, type Tier, TIERS } from '../core';
import { contextValue } from './contexts';
import { COMMAND_JOBS, type CommandId, COMMANDS } from './ids';
import { type Manifest, titleOf } from './manifest';
import { holds } from './when';

interface Item extends vscode.QuickPickItem {
  command?: CommandId;
}

const HEADINGS: Record<Tier, string> = {
  instant: 'Instant',
  workhorse: 'Workhorse',
  deep: 'Deep',
  embed: 'Embed',
};

/** What a command does where its job can do more. */
const DETAILS: Partial<Record<CommandId, string>> = {
  [COMMANDS.askSelection]: 'An answer about the selected text, or about the whole file.',
  [COMMANDS.answerHere]: 'An answer about the selected text, shown at its place in the file.',
  [COMMANDS.explainProblem]: 'What a problem that the editor reports means, and how to correct it.',
  [COMMANDS.draftFix]: 'A draft that corrects a problem that the editor reports.',
};

/** One list of what the product can do now, for the keyboard: the jobs by their tiers, and then the rest. */
export function registerRunJob({ contributes }: Manifest): vscode.Disposable {
  return vscode.commands.registerCommand(COMMANDS.runJob, async () => {
    const chosen = await vscode.window.showQuickPick(itemsOf(contributes), {
      title: 'Run Job',
      placeHolder: 'What can be done now',
      matchOnDetail: true,
    });
    if (chosen?.command) await vscode.commands.executeCommand(chosen.command);
  });
}

/** What the palette would show, too. */
function itemsOf({ commands, menus }: Manifest['contributes']): Item[] {
  const clauses = new Map(menus.commandPalette.map(({ command, when }) => [command, when]));
  const possible = commands.filter(
    ({ command }) => command !== COMMANDS.runJob && holds(clauses.get(command), contextValue),
  );
  const items = possible.map((entry) => {
    const { command } = entry;
    const name = COMMAND_JOBS[command];
    const job = name && JOBS[name];
    const detail = DETAILS[command] ?? job?.description;
    return { label: titleOf(entry), detail, tier: job?.tier, command };
  });
  const group = (label: string, tier: Tier | undefined): Item[] => {
    const own = items.filter((item) => item.tier === tier);
    const heading = { label, kind: vscode.QuickPickItemKind.Separator };
    return own.length > 0 ? [heading, ...own] : [];
  };
  return [...TIERS.flatMap((tier) => group(HEADINGS[tier], tier)), ...group('More', undefined)];
}
