import * as vscode from 'vscode';
import type { Intern, RunningCall as CoreRunningCall } from '../../core';
import { LogService } from '../../core/audit/logService';
import { COMMANDS, type EvictedModel, EVENTS } from '../../shared/dashboard';
import { Receiver, type Wire } from '../../shared/ipc';
import { COMMANDS as PRODUCT_COMMANDS, VIEWS } from '../ids';
import { Disposer } from '../lifecycle';
import type { Notifications } from '../notifications';
import { plain } from '../plain';
import { answerAboutCalls, Hints } from './calls';
import { NEWS_MS } from './evictions';
import { Rates, runningCall, statusOf, tellOfLog } from './live';
import { MemoryWatch } from './memory';
import { pageHtml, resourceRoot } from './page';
import { answerSetup } from './setup';
import { answerAboutTrends } from './trendsExport';
import { ModelWork } from './work';

export interface DashboardOptions {
  extensionUri: vscode.Uri;
  intern: Intern;
  notifications: Notifications;
  /** Runs a command of the product. */
  run: (command: string, ...args: unknown[]) => void;
}

/** Every token is a phase, and every end of a call a change of the log: they are gathered for this long. */
const GATHER_MS = 200;

/** The dashboard in the editor area: one panel, which starts from a snapshot whenever it becomes visible. */
export class DashboardPanel implements vscode.Disposable {
  readonly #o: DashboardOptions;
  readonly #disposer = new Disposer();
  readonly #log: LogService;
  readonly #memory: MemoryWatch;
  readonly #work: ModelWork;
  readonly #rates = new Rates();
  readonly #hints = new Hints();
  #panel: vscode.WebviewPanel | undefined;
  /** The webview is visible and has its snapshot. */
  #ready = false;
  /** The call whose details are to be shown, once there is somebody to tell. */
  #wanted: string | undefined;
  #host: string;
  #version: string | undefined;
  #logPath: string | undefined;
  readonly #changedPhases = new Map<string, CoreRunningCall>();
  /** What was told last. */
  #status = '';
  readonly #gathering = new Map<() => void, NodeJS.Timeout>();

  constructor(options: DashboardOptions) {
    this.#o = options;
    const { intern, extensionUri } = options;
    this.#host = intern.config.host;
    this.#log = this.#disposer.own(
      new LogService(vscode.Uri.joinPath(extensionUri, 'dist', 'logWorker.js').fsPath),
    );
    tellOfLog(this.#log, this.#post, (tell) => this.#soon(tell));
    this.#memory = new MemoryWatch(intern, (residency) =>
      this.#post(EVENTS.residencyChanged.with({ residency })),
    );
    this.#work = new ModelWork({
      onChange: () => this.#post(EVENTS.workChanged.with({ work: this.#work.state })),
      isShown: () => this.#ready,
      tell: (problem) => void vscode.window.showErrorMessage(plain(problem)),
    });
    this.#disposer.own(
      vscode.window.registerWebviewPanelSerializer(VIEWS.dashboard, {
        deserializeWebviewPanel: async (panel) => this.#adopt(panel),
      }),
    );
    this.#disposer.own(
      intern.listen({
        onCallStarted: (call) => {
          const now = performance.now();
          this.#post(EVENTS.callStarted.with({ call: runningCall(call, this.#rates, now) }));
          this.#soon(this.#tellStatus);
        },
        onPhase: (call) => this.#onPhase(call),
        onEnvelope: ({ call_id }) => this.#onEnded(call_id),
        onError: (error) => {
          this.#hints.remember(error);
          this.#onEnded(error.callId);
        },
        onConfig: () => this.#onConfig(),
        onBackend: () => this.#soon(this.#tellStatus),
        onEvicted: (models) => {
          const now = Date.now();
          this.#memory.evictions.learn(
            models.map((name) => ({ name, at: now })),
            now,
          );
        },
        onModels: () => this.#post(EVENTS.setupChanged.with({})),
        onCloudKey: () => this.#post(EVENTS.setupChanged.with({})),
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
    const { extensionUri, intern } = this.#o;
    const root = resourceRoot(extensionUri);
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
      this.#log.close();
      this.#logPath = undefined;
    });
    // Whoever opens the dashboard wants to see what is there now.
    intern.models.refresh();
    this.#openLog();
    panel.webview.html = pageHtml(panel.webview, root);
  }

  #receiver(): Receiver {
    const { intern, notifications, run } = this.#o;
    const receiver = new Receiver()
      .on(COMMANDS.ready, () => this.#start())
      .on(COMMANDS.refresh, () => this.#refresh())
      .on(COMMANDS.stopCall, ({ call_id }) => void intern.stop(call_id))
      .on(COMMANDS.stopAll, () => {
        for (const { call_id } of intern.running) intern.stop(call_id);
      })
      .on(COMMANDS.retryBackend, ({ backend }) => intern.retryNow(backend))
      .on(COMMANDS.openSettings, ({ setting }) => run(PRODUCT_COMMANDS.openSettings, setting))
      .on(COMMANDS.run, ({ command }) => run(PRODUCT_COMMANDS[command]));
    answerAboutCalls(receiver, this.#log, this.#hints, this.#post);
    answerAboutTrends(receiver, this.#log, this.#post);
    const parts = { memory: this.#memory, work: this.#work, post: this.#post };
    return answerSetup(receiver, { intern, notifications, ...parts });
  }

  #start(): void {
    if (!this.#panel?.visible) return;
    this.#ready = true;
    const now = Date.now();
    const status = statusOf(this.#o.intern, this.#version, now);
    this.#status = JSON.stringify(status);
    this.#post(
      EVENTS.snapshot.with({
        now,
        status,
        residency: this.#memory.state,
        work: this.#work.state,
        running: this.#o.intern.running.map((call) =>
          runningCall(call, this.#rates, performance.now()),
        ),
        log: this.#log.state,
      }),
    );
    this.#showWanted();
    this.#log.watch(true);
    void this.#memory.begin(this.#lately());
    void this.#askVersion();
  }

  #refresh(): void {
    this.#o.intern.models.refresh();
    this.#work.forget();
    this.#openLog();
    this.#start();
  }

  async #lately(): Promise<EvictedModel[]> {
    const evictions = await this.#log.evictions(Date.now() - NEWS_MS);
    return evictions.map(({ model, at }) => ({ name: model, at }));
  }

  async #askVersion(): Promise<void> {
    const { intern } = this.#o;
    const { host } = intern.config;
    const version = await intern.models.version().catch(() => undefined);
    if (host !== intern.config.host) return;
    this.#version = version;
    this.#tellStatus();
  }

  #showWanted(): void {
    if (!this.#ready || this.#wanted === undefined) return;
    this.#post(EVENTS.showCall.with({ call_id: this.#wanted }));
    this.#wanted = undefined;
  }

  /** Stops everything that goes on only for somebody who looks. */
  #rest(): void {
    this.#ready = false;
    for (const timer of this.#gathering.values()) clearTimeout(timer);
    this.#gathering.clear();
    this.#changedPhases.clear();
    this.#memory.rest();
    this.#log.watch(false);
  }

  #openLog(): void {
    this.#logPath = this.#o.intern.config.logPath;
    this.#log.open(this.#logPath);
  }

  #onPhase(call: CoreRunningCall): void {
    this.#rates.hear(call);
    if (!this.#ready) return;
    this.#changedPhases.set(call.call_id, call);
    this.#soon(this.#tellPhases);
  }

  readonly #tellPhases = (): void => {
    const now = performance.now();
    for (const changed of this.#changedPhases.values()) {
      const { call_id, phase } = runningCall(changed, this.#rates, now);
      this.#post(EVENTS.callPhase.with({ call_id, phase }));
    }
    this.#changedPhases.clear();
    this.#tellStatus();
  };

  #onEnded(callId: string | undefined): void {
    if (callId !== undefined) {
      this.#changedPhases.delete(callId);
      this.#rates.forget(callId);
      this.#post(EVENTS.callEnded.with({ call_id: callId }));
    }
    if (!this.#ready) return;
    this.#soon(this.#afterEnd);
  }

  readonly #afterEnd = (): void => {
    this.#tellStatus();
    void this.#memory.stir();
    void this.#o.intern.flush().then(() => this.#log.look());
  };

  #onConfig(): void {
    const { host, logPath } = this.#o.intern.config;
    if (host !== this.#host) {
      this.#host = host;
      this.#version = undefined;
      this.#memory.reset();
      if (this.#ready) void this.#askVersion();
    }
    if (this.#panel && logPath !== this.#logPath) this.#openLog();
    this.#tellStatus();
    this.#post(EVENTS.setupChanged.with({}));
  }

  readonly #tellStatus = (): void => {
    if (!this.#ready) return;
    const status = statusOf(this.#o.intern, this.#version, Date.now());
    const text = JSON.stringify(status);
    if (text === this.#status) return;
    this.#status = text;
    this.#post(EVENTS.statusChanged.with({ status }));
  };

  /** Once within a while, however often it is wanted, and only while somebody looks. */
  #soon(tell: () => void): void {
    if (!this.#ready || this.#gathering.has(tell)) return;
    const timer = setTimeout(() => {
      this.#gathering.delete(tell);
      tell();
    }, GATHER_MS);
    this.#gathering.set(tell, timer);
  }

  readonly #post = (message: Wire): void => {
    if (this.#ready) void this.#panel?.webview.postMessage(message);
  };
}
