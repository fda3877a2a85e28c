import * as vscode from 'vscode';
import { hostLabel, type Intern, isPlausibleToken, mayCarryToken } from '../core';
import { COMMANDS } from './ids';

/** A server that may have a secret. */
export interface SecretServer {
  name: string;
  host: string;
  /** Of its address. */
  setting: string;
}

/** What one kind of secret is, and to whom it is told. */
export interface SecretKind {
  /** Before the origin, in the secret storage. */
  prefix: string;
  /** `token` */
  noun: string;
  /** Of the box that asks for it. */
  title: string;
  prompt: (origin: string) => string;
  /** The servers that it may be for; where there are several, the person is asked. */
  servers: (intern: Intern) => SecretServer[];
  apply: (intern: Intern, origin: string, secret: string | undefined) => void;
  /** What holds after it was cleared. */
  cleared?: (intern: Intern) => Promise<string>;
}

/** Secrets of servers in the editor's secret storage: one for each origin. */
export class ServerSecrets {
  /** What the intern knows, by origin: the storage tells this window of its own changes too. */
  readonly #told = new Map<string, string | undefined>();

  constructor(
    private readonly secrets: vscode.SecretStorage,
    private readonly kind: SecretKind,
  ) {}

  get(origin: string): Thenable<string | undefined> {
    return this.secrets.get(this.kind.prefix + origin);
  }

  /** Tells the intern what other windows set or clear. */
  follow(intern: Intern): vscode.Disposable {
    const { prefix } = this.kind;
    return this.secrets.onDidChange(async ({ key }) => {
      if (!key.startsWith(prefix)) return;
      const origin = key.slice(prefix.length);
      const secret = await this.get(origin);
      const isKnown = this.#told.has(origin) && this.#told.get(origin) === secret;
      if (!isKnown) this.#tell(intern, origin, secret);
    });
  }

  /** Asks for the secret of the server that is set. False when none was given. */
  async ask(intern: Intern): Promise<boolean> {
    const { prefix, noun, title, prompt } = this.kind;
    const server = await this.#choose(intern, title);
    if (!server) return false;
    if (!mayCarryToken(server.host)) {
      await this.#refuse(server);
      return false;
    }
    const { origin } = new URL(server.host);
    const wrong = `A ${noun} has no spaces and only plain characters. Leave out the word Bearer.`;
    const typed = await vscode.window.showInputBox({
      title,
      prompt: prompt(origin),
      password: true,
      ignoreFocusOut: true,
      validateInput: (text) => (isPlausibleToken(text.trim()) ? undefined : wrong),
    });
    const secret = typed?.trim();
    if (!secret) return false;
    if (!isPlausibleToken(secret)) {
      void vscode.window.showErrorMessage(wrong);
      return false;
    }
    await this.secrets.store(prefix + origin, secret);
    this.#tell(intern, origin, secret);
    void vscode.window.showInformationMessage(`The ${noun} for ${hostLabel(origin)} is set.`);
    return true;
  }

  async clear(intern: Intern): Promise<void> {
    const { prefix, noun, cleared } = this.kind;
    const server = await this.#choose(intern, `Clear the ${noun}`);
    if (!server) return;
    const { origin } = new URL(server.host);
    const had = (await this.get(origin)) !== undefined;
    await this.secrets.delete(prefix + origin);
    this.#tell(intern, origin, undefined);
    const what = had
      ? `The ${noun} for ${hostLabel(origin)} is cleared.`
      : `No ${noun} was set for ${hostLabel(origin)}.`;
    const now = await cleared?.(intern);
    void vscode.window.showInformationMessage(now ? `${what} ${now}` : what);
  }

  #tell(intern: Intern, origin: string, secret: string | undefined): void {
    this.#told.set(origin, secret);
    this.kind.apply(intern, origin, secret);
  }

  async #choose(intern: Intern, title: string): Promise<SecretServer | undefined> {
    const servers = this.kind.servers(intern);
    if (servers.length < 2) return servers[0];
    const items = servers.map((server) => ({
      label: server.name,
      description: hostLabel(server.host),
      server,
    }));
    return (await vscode.window.showQuickPick(items, { title, placeHolder: 'Of which server?' }))
      ?.server;
  }

  async #refuse({ host, setting }: SecretServer): Promise<void> {
    const { noun } = this.kind;
    const open = 'Open Setting';
    const chosen = await vscode.window.showErrorMessage(
      `A ${noun} is not sent to ${hostLabel(host)} over plain HTTP, where others can read it. Set the https address of the server.`,
      open,
    );
    if (chosen) await vscode.commands.executeCommand(COMMANDS.openSettings, setting);
  }
}
