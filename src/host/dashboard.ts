import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';
import {
  type Envelope,
  hostLabel,
  type Intern,
  type InternError,
  type LogLine,
  phaseText,
  type PsModel,
  type RunningCall as CoreRunningCall,
  readLog,
  toInternError,
} from '../core';
import {
  entryFromEnvelope,
  entryFromError,
  entryFromLine,
  recordJson,
  withHint,
} from '../shared/calls';
import {
  type CallEntry,
  COMMANDS,
  EVENTS,
  type ResidencyState,
  type ResidentModel,
  type RunningCall,
  type Status,
  withCall,
} from '../shared/dashboard';
import { Receiver, type Wire } from '../shared/ipc';
import { Evictions } from '../shared/residency';
import { VIEWS } from './ids';
import { Disposer } from './lifecycle';

export interface DashboardOptions {
  extensionUri: vscode.Uri;
  intern: Intern;
  stopCall: (callId: string) => void;
  openLog: () => void;
  pickProfile: () => void;
  startServer: () => void;
  openSettings: (setting: string) => void;
}

const POLL_MS = 3_000;
/** A server that does not answer is asked less often. */
const POLL_FAILED_MS = 5_000;
/** Every token is a phase: they are gathered for this long. */
const PHASE_MS = 200;
/** Enough lines for the list, as some record no call. */
const TAIL_LINES = 400;
/** Others may log whole answers, and the list is read again for each look. */
const TAIL_BYTES = 512 * 1024;

/** The dashboard in the editor area: one panel, which starts from a snapshot whenever it becomes visible. */
export class DashboardPanel implements vscode.Disposable {
  readonly #options: DashboardOptions;
  readonly #disposer = new Disposer();
  readonly #evictions = new Evictions();
  #panel: vscode.WebviewPanel | undefined;
  /** The webview is visible and has its snapshot. */
  #ready = false;
  /** The call whose details are to be shown, once there is somebody to tell. */
  #wanted: string | undefined;
  #calls: CallEntry[] = [];
  #residency: ResidencyState = { state: 'asking' };
  #host: string;
  #poll: NodeJS.Timeout | undefined;
  #asking: AbortController | undefined;
  readonly #changedPhases = new Map<string, CoreRunningCall>();
  #phaseTimer: NodeJS.Timeout | undefined;

  constructor(options: DashboardOptions) {
    this.#options = options;
    const { intern } = options;
    this.#host = intern.config.host;
    this.#disposer.own(
      vscode.window.registerWebviewPanelSerializer(VIEWS.dashboard, {
        deserializeWebviewPanel: async (panel) => this.#adopt(panel),
      }),
    );
    this.#disposer.own(
      intern.listen({
        onCallStarted: (call) => this.#post(EVENTS.callStarted.with({ call: toRunning(call) })),
        onPhase: (call) => this.#onPhase(call),
        onEnvelope: (envelope) => this.#onEnvelope(envelope),
        onError: (error, job) => void this.#onError(error, job),
        onConfig: () => this.#onConfig(),
      }),
    );
  }

  /** With the details of a call, if there is one to look at. */
  show(callId?: string): void {
    this.#wanted = callId;
    if (this.#panel) {
      this.#panel.reveal();
      return this.#showWanted();
    }
    this.#adopt(
      vscode.window.createWebviewPanel(VIEWS.dashboard, 'Ollama Intern', vscode.ViewColumn.Active),
    );
  }

  dispose(): void {
    this.#panel?.dispose();
    this.#rest();
    this.#disposer.dispose();
  }

  /** Takes over a new panel, or one that the editor restored. */
  #adopt(panel: vscode.WebviewPanel): void {
    if (this.#panel) {
      panel.dispose();
      return;
    }
    this.#panel = panel;
    const { extensionUri, intern } = this.#options;
    const root = vscode.Uri.joinPath(extensionUri, 'dist', 'webview');
    panel.title = 'Ollama Intern';
    panel.iconPath = new vscode.ThemeIcon('dashboard');
    panel.webview.options = { enableScripts: true, localResourceRoots: [root] };

    const receiver = this.#receiver();
    panel.webview.onDidReceiveMessage((message) => receiver.receive(message));
    panel.onDidChangeViewState(() => {
      // A hidden webview is gone; it says `ready` when it is back.
      if (!panel.visible) this.#rest();
    });
    panel.onDidDispose(() => {
      this.#panel = undefined;
      this.#rest();
    });
    // Whoever opens the dashboard wants to see what is there now.
    intern.models.refresh();
    panel.webview.html = html(panel.webview, root);
  }

  #receiver(): Receiver {
    const { stopCall, openLog, pickProfile, startServer, openSettings } = this.#options;
    return new Receiver()
      .on(COMMANDS.ready, () => void this.#start())
      .on(COMMANDS.stopCall, ({ call_id }) => stopCall(call_id))
      .on(COMMANDS.copyCall, ({ call_id }) => void this.#copy(call_id))
      .on(COMMANDS.refresh, () => void this.#start())
      .on(COMMANDS.openLog, () => openLog())
      .on(COMMANDS.pickProfile, () => pickProfile())
      .on(COMMANDS.startServer, () => startServer())
      .on(COMMANDS.openSettings, ({ setting }) => openSettings(setting));
  }

  async #start(): Promise<void> {
    await this.#readLog();
    if (!this.#panel?.visible) return;
    this.#ready = true;
    this.#post(
      EVENTS.snapshot.with({
        now: Date.now(),
        status: this.#status(),
        residency: this.#residency,
        running: this.#options.intern.running.map(toRunning),
        calls: this.#calls,
      }),
    );
    this.#showWanted();
    void this.#look();
  }

  #showWanted(): void {
    if (!this.#ready || this.#wanted === undefined) return;
    this.#post(EVENTS.showCall.with({ call_id: this.#wanted }));
    this.#wanted = undefined;
  }

  /** Stops everything that goes on only for somebody who looks. */
  #rest(): void {
    this.#ready = false;
    clearTimeout(this.#poll);
    clearTimeout(this.#phaseTimer);
    this.#phaseTimer = undefined;
    this.#changedPhases.clear();
    this.#asking?.abort();
    this.#asking = undefined;
  }

  /** Other windows and programs write to the same log, so it is read again for each snapshot. */
  async #readLog(): Promise<void> {
    const lines = await this.#tail(TAIL_LINES);
    for (const line of lines.reverse()) {
      const entry = entryFromLine(line);
      if (!entry) continue;
      const hint = this.#calls.find(({ id }) => id === entry.id)?.hint;
      this.#remember(hint ? withHint(entry, { hint }) : entry);
    }
    this.#evictions.learn(lines);
  }

  async #tail(limit: number): Promise<LogLine[]> {
    const { intern } = this.#options;
    try {
      await intern.flush();
      return await readLog(intern.config.logPath, { limit, bytes: TAIL_BYTES });
    } catch {
      // A log that cannot be read is reported by whoever writes it.
      return [];
    }
  }

  /** Asks what is in memory, now and then again and again while somebody looks. */
  async #look(): Promise<void> {
    clearTimeout(this.#poll);
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    const residency = await this.#readResidency(asking.signal);
    if (asking.signal.aborted || !this.#ready) return;
    this.#asking = undefined;
    if (JSON.stringify(residency) !== JSON.stringify(this.#residency)) {
      this.#residency = residency;
      this.#post(EVENTS.residencyChanged.with({ residency }));
    }
    const pause = residency.state === 'failed' ? POLL_FAILED_MS : POLL_MS;
    this.#poll = setTimeout(() => void this.#look(), pause);
  }

  async #readResidency(signal: AbortSignal): Promise<ResidencyState> {
    try {
      const models = (await this.#options.intern.models.resident(signal)).map(toResident);
      // An answer that nobody waits for any more may be another server's.
      const evicted = signal.aborted ? [] : this.#evictions.look(models, Date.now());
      return { state: 'known', models, evicted };
    } catch (thrown) {
      return toFailed(toInternError(thrown));
    }
  }

  #status(): Status {
    const { host, profile, problems } = this.#options.intern.config;
    return { host: hostLabel(host), profile, problems: problems.map(({ message }) => message) };
  }

  #onPhase(call: CoreRunningCall): void {
    if (!this.#ready) return;
    this.#changedPhases.set(call.call_id, call);
    this.#phaseTimer ??= setTimeout(() => {
      this.#phaseTimer = undefined;
      for (const changed of this.#changedPhases.values()) {
        const { call_id, phase, text } = toRunning(changed);
        this.#post(EVENTS.callPhase.with({ call_id, phase, text }));
      }
      this.#changedPhases.clear();
    }, PHASE_MS);
  }

  #onEnvelope(envelope: Envelope): void {
    const call = entryFromEnvelope(envelope, Date.now());
    this.#changedPhases.delete(envelope.call_id);
    this.#remember(call);
    this.#post(EVENTS.callFinished.with({ call }));
    if (this.#ready) void this.#look();
  }

  /** The error knows little of its call; the line that was logged for it knows the rest. */
  async #onError(error: InternError, job: string): Promise<void> {
    if (error.callId) this.#changedPhases.delete(error.callId);
    let call = entryFromError(error, job, Date.now());
    if (this.#panel) {
      const line = (await this.#tail(20)).find(({ call_id }) => call_id === error.callId);
      const logged = line && entryFromLine(line);
      if (logged) call = withHint(logged, error);
    }
    this.#remember(call);
    this.#post(EVENTS.callFailed.with({ call }));
    if (this.#ready) void this.#look();
  }

  #onConfig(): void {
    const { host } = this.#options.intern.config;
    if (host !== this.#host) {
      this.#host = host;
      this.#evictions.reset();
      this.#residency = { state: 'asking' };
      this.#post(EVENTS.residencyChanged.with({ residency: this.#residency }));
      if (this.#ready) void this.#look();
    }
    this.#post(EVENTS.statusChanged.with({ status: this.#status() }));
  }

  #remember(call: CallEntry): void {
    this.#calls = withCall(this.#calls, call);
  }

  async #copy(callId: string): Promise<void> {
    const call = this.#calls.find(({ id }) => id === callId);
    if (!call) return;
    await vscode.env.clipboard.writeText(recordJson(call));
    vscode.window.setStatusBarMessage('Copied the record of the call.', 3_000);
  }

  #post(message: Wire): void {
    if (this.#ready) void this.#panel?.webview.postMessage(message);
  }
}

function toRunning({ call_id, job, model, started_at, phase }: CoreRunningCall): RunningCall {
  return {
    call_id,
    job,
    model,
    started_at,
    phase: phase?.phase ?? 'starting',
    text: phase ? phaseText(phase) : 'starting',
  };
}

function toFailed({ code, message, hint, actions }: InternError): ResidencyState {
  return {
    state: 'failed',
    code,
    message,
    hint,
    startable: actions.some(({ kind }) => kind === 'start_server'),
    setting: actions.find((action) => action.kind === 'open_setting')?.setting,
  };
}

function toResident(model: PsModel): ResidentModel {
  const { name, size, size_vram, context_length } = model;
  const expiresAt = Date.parse(model.expires_at);
  return {
    name,
    size,
    size_vram,
    context_length,
    expires_at: Number.isNaN(expiresAt) ? undefined : expiresAt,
  };
}

function html(webview: vscode.Webview, root: vscode.Uri): string {
  const nonce = randomBytes(16).toString('base64');
  const uri = (file: string) => webview.asWebviewUri(vscode.Uri.joinPath(root, file)).toString();
  const policy = [
    `default-src 'none'`,
    `img-src ${webview.cspSource}`,
    `font-src ${webview.cspSource}`,
    `style-src ${webview.cspSource}`,
    `script-src 'nonce-${nonce}'`,
  ].join('; ');
  // The icon elements find their style sheet by this id.
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta http-equiv="Content-Security-Policy" content="${policy}" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <link id="vscode-codicon-stylesheet" rel="stylesheet" href="${uri('codicon.css')}" />
    <link rel="stylesheet" href="${uri('dashboard.css')}" />
    <title>Ollama Intern</title>
  </head>
  <body>
    <script nonce="${nonce}" src="${uri('dashboard.js')}"></script>
  </body>
</html>`;
}
