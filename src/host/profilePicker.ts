import * as vscode from 'vscode';
import {
  availableProfiles,
  type Intern,
  parseModelRef,
  type Profile,
  sameModel,
  TIERS,
} from '../core';
import { COMMANDS, CONFIG_SECTION, SETTINGS } from './ids';
import { plain } from './plain';
import { adopted, readSettings } from './settings';

interface Item extends vscode.QuickPickItem {
  profile: string;
}

/** Lets a person choose the hardware profile; says which of its models are installed. True when one was chosen. */
export async function selectProfile(intern: Intern): Promise<boolean> {
  const { profiles } = availableProfiles(readSettings());
  const picker = vscode.window.createQuickPick<Item>();
  picker.title = 'Hardware Profile';
  picker.placeholder = 'Which models does this machine run?';
  picker.matchOnDescription = true;
  picker.matchOnDetail = true;
  const current = intern.config.profile;
  const show = (installed?: string[]): void => {
    const active = picker.activeItems[0]?.profile ?? current;
    picker.items = Object.entries(profiles).map(([name, profile]) => ({
      profile: name,
      label: `${name === current ? '$(check) ' : ''}${plain(name)}`,
      description: plain(profile.label ?? ''),
      detail: plain(
        [modelsOf(profile).join(', '), installedText(profile, installed)]
          .filter(Boolean)
          .join(' · '),
      ),
    }));
    picker.activeItems = picker.items.filter((item) => item.profile === active);
  };
  show();
  picker.show();
  picker.busy = true;
  // A model may have been pulled or removed elsewhere since.
  intern.models.refresh();
  // The list is useful without an answer; what is installed is filled in when the server says so.
  void intern.models
    .installed()
    .then((models) => show(models.map((m) => m.name)))
    .catch(() => undefined)
    .finally(() => (picker.busy = false));

  const chosen = await new Promise<string | undefined>((resolve) => {
    picker.onDidAccept(() => resolve(picker.selectedItems[0]?.profile));
    picker.onDidHide(() => resolve(undefined));
  });
  picker.dispose();
  if (!chosen) return false;
  const config = vscode.workspace.getConfiguration(CONFIG_SECTION);
  // A workspace that has a profile of its own would hide a choice made for the person.
  const target = config.inspect(SETTINGS.profile)?.workspaceValue
    ? vscode.ConfigurationTarget.Workspace
    : vscode.ConfigurationTarget.Global;
  await config.update(SETTINGS.profile, chosen, target);
  await adopted(intern, (now) => now.profile === chosen);
  const profile = profiles[chosen];
  if (profile) void offerMissing(intern, profile);
  return true;
}

function modelsOf(profile: Profile): string[] {
  return [...new Set(TIERS.map((tier) => profile.tiers[tier]))];
}

/** Models of other backends are nobody's to install. */
function missing(profile: Profile, installed: readonly string[]): string[] {
  return modelsOf(profile)
    .map(parseModelRef)
    .filter(({ backend }) => backend === 'local')
    .map(({ model }) => model)
    .filter((model) => !installed.some((name) => sameModel(name, model)));
}

function installedText(profile: Profile, installed: string[] | undefined): string | undefined {
  if (!installed) return undefined;
  const absent = missing(profile, installed);
  return absent.length === 0 ? 'all installed' : `not installed: ${absent.join(', ')}`;
}

async function offerMissing(intern: Intern, profile: Profile): Promise<void> {
  const installed = await intern.models.installed().catch(() => undefined);
  if (!installed) return;
  const absent = missing(
    profile,
    installed.map((m) => m.name),
  );
  if (absent.length === 0) return;
  const pull = absent.length === 1 ? `Pull ${absent[0]}` : 'Pull Them';
  const chosen = await vscode.window.showWarningMessage(
    plain(`This profile needs models that are not installed: ${absent.join(', ')}.`),
    pull,
  );
  if (chosen !== pull) return;
  for (const model of absent) {
    if (!(await vscode.commands.executeCommand<boolean>(COMMANDS.pullModel, model))) return;
  }
}
