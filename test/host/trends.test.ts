import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as vscode from 'vscode';
import type { TrendQuery, Trends } from '../../src/core/audit/calls';
import { answerAboutTrends } from '../../src/host/dashboard/trendsExport';
import { COMMANDS, REQUESTS } from '../../src/shared/dashboard';
import { Receiver, Requester } from '../../src/shared/ipc';
import { eventually, Stage } from './support';

const FIGURES = {
  ...{ calls: 1, failed: 0, cancelled: 0, fallbacks: 0 },
  ...{ tokens_in: 10, tokens_out: 5, elapsed_ms: 2_000 },
};
const TRENDS: Trends = {
  ...{ from: 0, to: 60_000, bucket_ms: 60_000, profile: 'dev', future: 0 },
  profiles: [{ profile: 'dev', ...FIGURES }],
  total: { ...FIGURES, evictions: 0 },
  buckets: [{ at: 0, evictions: 0, ...FIGURES }],
  by: { backend: [], tier: [], model: [] },
};

describe('the trends in the panel', () => {
  let stage: Stage;
  let receiver: Receiver;
  let asked: TrendQuery[];
  let proposed: vscode.SaveDialogOptions | undefined;
  let chosen: vscode.Uri | undefined;
  let trends: () => Promise<Trends>;
  const window = vscode.window as unknown as Record<string, unknown>;
  const original = window['showSaveDialog'];

  beforeEach(async () => {
    stage = await Stage.open();
    asked = [];
    proposed = undefined;
    trends = async () => TRENDS;
    window['showSaveDialog'] = async (options: vscode.SaveDialogOptions) => {
      proposed = options;
      return chosen;
    };
  });

  afterEach(async () => {
    window['showSaveDialog'] = original;
    await stage.dispose();
  });

  function listen(): Requester {
    receiver = new Receiver();
    const requester = new Requester((message) => receiver.receive(message));
    const log = {
      trends: (query: TrendQuery) => {
        asked.push(query);
        return trends();
      },
    };
    answerAboutTrends(receiver, log, (reply) => requester.receive(reply));
    return requester;
  }

  const shownText = async (nth: number): Promise<string> =>
    (await eventually(() => stage.shown[nth], 'nothing is shown')).text;
  const exportThem = () => receiver.receive(COMMANDS.exportTrends.with({ range: '24h' }));

  it('are those of the range and the profile up to now', async () => {
    const before = Date.now();
    const reply = await listen().ask(REQUESTS.trends, { range: '7d', profile: 'dev' });
    assert.deepEqual(reply, TRENDS);
    const [{ now = 0, ...query } = {}] = asked as Partial<TrendQuery>[];
    assert.deepEqual(query, { range: '7d', profile: 'dev' });
    assert.ok(now >= before && now <= Date.now());
  });

  it('are written where the person wants, below a name that says what they are', async () => {
    listen();
    chosen = vscode.Uri.file(join(stage.folder, 'chosen.csv'));
    exportThem();
    const text = await shownText(0);
    assert.equal(text, `Exported to ${chosen.fsPath}.`);
    assert.match(readFileSync(chosen.fsPath, 'utf8'), /^from,to,profile.*\r\n1970-/);
    assert.match(
      proposed?.defaultUri?.path ?? '',
      /\/ollama-intern-trends-24h-\d{4}-\d\d-\d\d\.csv$/,
    );
  });

  it('write nothing when no file is chosen', async () => {
    listen();
    chosen = undefined;
    exportThem();
    await eventually(() => proposed, 'no file is asked for');
    assert.deepEqual(stage.shown, []);
  });

  it('say why they could not be written, or read', async () => {
    listen();
    writeFileSync(join(stage.folder, 'file'), '');
    chosen = vscode.Uri.file(join(stage.folder, 'file', 'chosen.csv'));
    exportThem();
    const text = await shownText(0);
    assert.match(text, /^The trends could not be exported\. .*file/);

    trends = () => Promise.reject(new Error('The log is closed.'));
    exportThem();
    assert.equal(await shownText(1), 'The trends could not be exported. The log is closed.');
  });
});
