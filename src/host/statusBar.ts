import * as vscode from 'vscode';
import type { Envelope, Intern, InternError } from '../core';
import { COMMANDS } from './ids';
import { Disposer } from './lifecycle';
import { plain } from './plain';
import { detailsOf, linksOf, type Status, type StatusInput, statusOf } from './status';

/** Failures of the server, not of one request: the status stays on them until a call succeeds. */
const STANDING = new Set([
  'unreachable',
  'config',
  'auth_failed',
  'model_missing',
  'out_of_memory',
]);
/** Of these, what a server that answers has overcome. */
const ENDED_BY_ANSWER = new Set(['unreachable', 'auth_failed']);

const SOON_MS = 100;
const COUNT_MS = 1_000;

const COLORS: Readonly<Record<Status['tone'], string | undefined>> = {
  plain: undefined,
  warning: 'statusBarItem.warningBackground',
  error: 'statusBarItem.errorBackground',
};

/** The backend and model of the latest call, what runs now, or what is wrong. */
export class StatusBar implements vscode.Disposable {
  readonly #disposer = new Disposer();
  readonly #item: vscode.StatusBarItem;
  #latest: Envelope | undefined;
  #failure: InternError | undefined;
  #timer: NodeJS.Timeout | undefined;
  #countdown: NodeJS.Timeout | undefined;
  #tooltip = '';

  constructor(private readonly intern: Intern) {
    this.#item = this.#disposer.own(
      vscode.window.createStatusBarItem(
        'ollamaIntern.status',
        vscode.StatusBarAlignment.Right,
        100,
      ),
    );
    this.#item.name = 'Ollama Intern';
    this.#item.command = COMMANDS.showDashboard;
    this.#disposer.own(
      intern.listen({
        onCallStarted: () => this.#render(),
        onPhase: () => this.#renderSoon(),
        onEnvelope: (envelope) => {
          this.#latest = envelope;
          this.#failure = undefined;
          this.#renderSoon();
        },
        onError: (error) => {
          if (STANDING.has(error.code)) this.#failure = error;
          this.#renderSoon();
        },
        onBackend: ({ breaker, error }) => {
          const answers = breaker.state === 'closed' && error === undefined;
          if (answers && this.#failure && ENDED_BY_ANSWER.has(this.#failure.code)) {
            this.#failure = undefined;
          }
          this.#renderSoon();
        },
        onConfig: () => {
          this.#failure = undefined;
          this.#render();
        },
      }),
    );
    this.#render();
    this.#item.show();
  }

  dispose(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#countdown);
    this.#disposer.dispose();
  }

  /** The running call leaves the list right after its event; many tokens make many events. */
  #renderSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#render();
    }, SOON_MS);
  }

  #render(): void {
    const { config, backends, running } = this.intern;
    const input = {
      config,
      backends,
      running,
      latest: this.#latest,
      failure: this.#failure,
    };
    const { icon, text, tone, label, retryInMs } = statusOf(input);
    const color = COLORS[tone];
    this.#item.text = `$(${icon}) ${plain(text)}`;
    this.#item.backgroundColor = color === undefined ? undefined : new vscode.ThemeColor(color);
    this.#item.accessibilityInformation = { label, role: 'button' };
    this.#setTooltip(input);
    clearTimeout(this.#countdown);
    if (retryInMs !== undefined) {
      // On the second of what is left, and once more when it is over.
      const next = retryInMs % COUNT_MS || COUNT_MS;
      this.#countdown = setTimeout(() => this.#render(), next);
    }
  }

  #setTooltip(input: StatusInput): void {
    const md = new vscode.MarkdownString(undefined, true);
    const links = linksOf(input);
    md.isTrusted = { enabledCommands: links.map(({ command }) => command) };
    md.appendMarkdown('**Ollama Intern**\n\n');
    for (const lines of detailsOf(input)) {
      md.appendMarkdown(`${lines.map(asMarkdown).join('  \n')}\n\n`);
    }
    md.appendMarkdown(
      links.map(({ title, command }) => `[${title}](command:${command})`).join(' · '),
    );
    // One that is open is drawn anew whenever it is set.
    if (md.value === this.#tooltip) return;
    this.#tooltip = md.value;
    this.#item.tooltip = md;
  }
}

/** Text as it stands. The editor's own way makes every space one at which no line may break. */
function asMarkdown(text: string): string {
  return new vscode.MarkdownString().appendText(plain(text)).value.replaceAll('&nbsp;', ' ');
}
