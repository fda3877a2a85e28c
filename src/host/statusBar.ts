import * as vscode from 'vscode';
import {
  type Envelope,
  envelopeLine,
  formatDuration,
  GENERATIVE_TIERS,
  hostLabel,
  type Intern,
  type InternError,
  isLoopback,
  JOBS,
  phaseText,
  type RunningCall,
} from '../core';
import { COMMANDS } from './ids';
import { Disposer } from './lifecycle';

interface Failure {
  error: InternError;
}

/** Failures of the server, not of one request: the status stays on them until a call succeeds. */
const STANDING = new Set([
  'unreachable',
  'config',
  'auth_failed',
  'model_missing',
  'out_of_memory',
]);

/** The backend and model of the latest call, what runs now, or what is wrong. */
export class StatusBar implements vscode.Disposable {
  readonly #disposer = new Disposer();
  readonly #item: vscode.StatusBarItem;
  #latest: Envelope | undefined;
  /** The latest call was made under the profile that is in force now. */
  #isCurrent = false;
  #failure: Failure | undefined;

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
          this.#isCurrent = true;
          this.#failure = undefined;
          this.#renderSoon();
        },
        onError: (error) => {
          this.#failure = STANDING.has(error.code) ? { error } : this.#failure;
          this.#renderSoon();
        },
        onConfig: ({ profile }) => {
          this.#failure = undefined;
          this.#isCurrent = this.#latest?.hardware_profile === profile;
          this.#render();
        },
      }),
    );
    this.#render();
    this.#item.show();
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#disposer.dispose();
  }

  #timer: NodeJS.Timeout | undefined;

  /** The running call leaves the list right after its event; many tokens make many events. */
  #renderSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#render();
    }, 100);
  }

  #render(): void {
    const { config, running } = this.intern;
    const [call] = running;
    const shown = this.#isCurrent ? this.#latest : undefined;
    const model = shown?.model ?? config.tiers.workhorse.model;
    const backend = shown?.backend ?? 'local';
    this.#item.backgroundColor = undefined;

    if (call) {
      const more = running.length > 1 ? ` +${running.length - 1}` : '';
      this.#item.text = `$(loading~spin) ${shortPhase(call)}${more}`;
    } else if (this.#failure) {
      this.#item.text = `$(warning) ${FAILURE_TEXT[this.#failure.error.code] ?? 'Intern failed'}`;
      this.#item.backgroundColor = new vscode.ThemeColor('statusBarItem.warningBackground');
    } else {
      this.#item.text = `$(${config.problems.length > 0 ? 'warning' : 'server-process'}) ${backend} · ${model}`;
    }
    this.#item.tooltip = this.#tooltip();
    this.#item.accessibilityInformation = {
      label: `Ollama Intern: ${this.#item.text.replace(/\$\([^)]*\)\s*/, '')}`,
      role: 'button',
    };
  }

  #tooltip(): vscode.MarkdownString {
    const { config, running } = this.intern;
    const md = new vscode.MarkdownString(undefined, true);
    md.isTrusted = {
      enabledCommands: [
        COMMANDS.showDashboard,
        COMMANDS.selectProfile,
        COMMANDS.showLog,
        COMMANDS.openSettings,
      ],
    };
    const line = (text: string): void => void md.appendText(text).appendMarkdown('\n\n');
    md.appendMarkdown('**Ollama Intern**\n\n');
    if (this.#failure) line(`${this.#failure.error.message} ${this.#failure.error.hint}`);
    for (const problem of config.problems) line(problem.message);
    for (const call of running) {
      line(`${title(call.job)}: ${call.phase ? phaseText(call.phase) : 'starting'}`);
    }
    if (this.#latest) {
      line(`Last call: ${title(this.#latest.job)}, ${formatDuration(this.#latest.elapsed_ms)}`);
      line(envelopeLine(this.#latest));
    }
    line(
      isLoopback(config.host)
        ? `Local: ${hostLabel(config.host)} · nothing leaves this machine`
        : `Local: ${hostLabel(config.host)} · prompts go to that machine`,
    );
    line(
      `Profile ${config.profile}: ${GENERATIVE_TIERS.map((t) => `${t} ${config.tiers[t].model}`).join(', ')}`,
    );
    const link = (text: string, command: string): string => `[${text}](command:${command})`;
    md.appendMarkdown(
      [
        link('Dashboard', COMMANDS.showDashboard),
        link('Select Profile', COMMANDS.selectProfile),
        link('Show Log', COMMANDS.showLog),
        link('Settings', COMMANDS.openSettings),
      ].join(' · '),
    );
    return md;
  }
}

const FAILURE_TEXT: Partial<Record<string, string>> = {
  unreachable: 'Ollama offline',
  config: 'Intern needs set-up',
  auth_failed: 'Ollama refused',
  model_missing: 'model missing',
  out_of_memory: 'out of memory',
};

function title(job: string): string {
  return job in JOBS ? JOBS[job as keyof typeof JOBS].title : job;
}

function shortPhase(call: RunningCall): string {
  switch (call.phase?.phase) {
    case 'loading':
      return phaseText(call.phase);
    case 'queued':
      return 'queued';
    case 'writing':
      return `writing · ${call.model}`;
    default:
      return call.model;
  }
}
