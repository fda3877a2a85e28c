import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import type { Request } from 'playwright-core';
import type { Theme } from '../support/host/workbench.ts';
import { assertAccessible } from './axe';
import { evictionLine, sampleLog } from './dashboardLog';
import {
  DashboardStage,
  isTooWide,
  pictures,
  section,
  waitForIcons,
  waitForText,
} from './dashboardStage';
import { poll, showTab, webviewFrame } from './support';

describe("the dashboard's view of now", () => {
  const stage = DashboardStage.forEach();

  it('asks Ollama for nothing before it is opened, and then what is in memory', async () => {
    const { wb, server } = await stage().open();
    await wb.openFile('queue.ts');
    assert.deepEqual(
      server.requests.map((request) => request.path),
      [],
    );
    const frame = await stage().show();
    await wb.page.locator('.tab.active', { hasText: 'Ollama Intern' }).waitFor();
    await server.waitForRequest((request) => request.path === '/api/ps');
    await waitForText(section(frame, 'Running'), /Nothing is running/);
    await waitForText(section(frame, 'Residency'), /hermes3:8b not loaded Load/);
    await waitForText(section(frame, 'Backends'), /local 127\.0\.0\.1:\d+ · Ollama .* no model/);
    await waitForText(section(frame, 'Latest calls'), /No calls yet/);
    await wb.openFile('queue.ts');
    await poll(
      () => frame.isDetached(),
      10_000,
      () => 'the hidden webview stays',
    );
    const before = stage().asked('/api/ps');
    await wb.runCommand('Ollama Intern: Open Settings');
    assert.ok(stage().asked('/api/ps') <= before + 1, 'somebody still looks');
  });

  it('loads, keeps and unloads a model, and tells of a call that was made elsewhere', async () => {
    const { wb, server } = await stage().open({}, { loadMs: 600 });
    const frame = await stage().show();
    const residency = section(frame, 'Residency');
    await residency.getByRole('button', { name: 'Load hermes3:8b' }).click();
    await waitForText(residency, /hermes3:8b .*GB, all in VRAM .*expires in \d/);
    const loads = server.stats.loads;
    await residency.getByRole('button', { name: 'Keep loaded: hermes3:8b' }).click();
    await waitForText(residency, /hermes3:8b .*kept loaded/);
    assert.equal(server.stats.loads, loads, 'it was loaded again');
    await residency.getByRole('button', { name: 'Unload hermes3:8b' }).click();
    const seen = await waitForText(residency, /hermes3:8b not loaded/);
    assert.doesNotMatch(seen, /evicted|pushed out/);
    await stage().summarize();
    const again = await stage().show();
    await waitForText(section(again, 'Latest calls'), /summarize_fast/);
    await waitForText(section(again, 'Backends'), /1 model loaded/);
    await again
      .getByRole('tab', { name: /^Calls/ })
      .getByText('1', { exact: true })
      .waitFor();
    await section(again, 'Latest calls').getByText('summarize_fast').first().click();
    await again.getByRole('complementary').waitFor();
    await wb.page.keyboard.press('Escape');
  });

  it('knows of a load that was asked for before it was hidden, and says that it failed', async () => {
    const { wb, server } = await stage().open({}, { loadMs: 18_000 });
    let frame = await stage().show();
    await section(frame, 'Residency').getByRole('button', { name: 'Load hermes3:8b' }).click();
    await waitForText(section(frame, 'Residency'), /hermes3:8b not loaded loading/);
    await stage().go(frame, 'Calls');
    await stage().go(frame, 'Now');
    await waitForText(section(frame, 'Residency'), /hermes3:8b not loaded loading/);
    await wb.openFile('queue.ts');
    frame = await stage().show();
    await waitForText(section(frame, 'Residency'), /loading/);
    await waitForText(section(frame, 'Residency'), /hermes3:8b .*in VRAM .*Unload/, 30_000);

    const isLoad = ({ path }: { path: string }): boolean => path === '/api/generate';
    await section(frame, 'Residency').getByRole('button', { name: 'Unload hermes3:8b' }).click();
    await waitForText(section(frame, 'Residency'), /hermes3:8b not loaded Load/);
    server.faults.next({ match: isLoad, load: 'out-of-memory' });
    await section(frame, 'Residency').getByRole('button', { name: 'Load hermes3:8b' }).click();
    await stage().go(frame, 'Set-up');
    await waitForText(frame.locator('.setup'), /memory/, 30_000);
    server.faults.next({ match: isLoad, load: 'out-of-memory' });
    await frame.getByRole('button', { name: 'Load hermes3:8b' }).first().click();
    await waitForText(frame.locator('[data-tier=instant]'), /loading/);
    await wb.openFile('queue.ts');
    await wb.waitForNotification(/memory/, 40_000);
  });

  it('shows the phase of a running call with its speed, and its Stop ends it', async () => {
    const { wb, server } = await stage().open({}, { tokenMs: 300, loadMs: 8_000 });
    await stage().startSummary();
    const frame = await stage().show();
    const running = section(frame, 'Running');
    await waitForText(running, /summarize_fast .*(?:loading|writing)/);
    await waitForText(running, /summarize_fast .*writing · \d+ tokens · \d\.\d tok\/s/);
    await waitForText(section(frame, 'Backends'), /1 of 2 running/);
    await wb.screenshot(path.join(pictures, 'dashboard-running.png'));
    await running.getByRole('button', { name: 'Stop summarize_fast' }).click();
    await server.waitFor(() => server.stats.cancelled, 'the call to be cancelled');
    await waitForText(running, /Nothing is running/);
    await waitForText(section(frame, 'Latest calls'), /summarize_fast.*cancelled/);
  });

  it('says that Ollama cannot be reached, and notices by itself when it can', async () => {
    const { wb, server } = await stage().open();
    await server.stop();
    const frame = await stage().show();
    const residency = section(frame, 'Residency');
    await waitForText(residency, /Ollama cannot be reached at 127\.0\.0\.1:\d+/);
    await waitForText(section(frame, 'Backends'), /unreachable/);
    assert.deepEqual(await residency.getByRole('button').allInnerTexts(), [
      'Start Ollama',
      'Try Again',
      'Open Setting',
    ]);
    await assertAccessible(frame);
    await wb.screenshot(path.join(pictures, 'dashboard-unreachable.png'));
    await residency.getByRole('button', { name: 'Open Setting' }).click();
    const settings = wb.page.locator('.settings-editor');
    await settings.waitFor({ state: 'visible' });
    await settings.getByText('Host', { exact: false }).first().waitFor();
    await showTab(wb, 'Ollama Intern');
    const again = await stage().frame();
    await waitForText(section(again, 'Residency'), /cannot be reached/);
    await server.start();
    await waitForText(section(again, 'Residency'), /No model is in memory/, 20_000);
  });

  it('says which models are slow or were pushed out, and offers another profile', async () => {
    fs.writeFileSync(stage().logPath, evictionLine('qwen3:8b', Date.now() - 4 * 60_000));
    const { wb } = await stage().open({}, { vram: 9 * 2 ** 30 });
    await stage().load('qwen3:14b', 8_192);
    const frame = await stage().show();
    const residency = section(frame, 'Residency');
    await waitForText(residency, /qwen3:14b \S+ of \S+ GB in VRAM .*qwen3:8b evicted 4 min ago/);
    await waitForText(
      residency,
      /qwen3:14b has \S+ GB in RAM, which makes it 5 to 10 times slower/,
    );
    await waitForText(residency, /qwen3:8b was pushed out of memory/);
    await waitForIcons(frame);
    await assertAccessible(frame);
    await wb.screenshot(path.join(pictures, 'dashboard-memory.png'));
    await residency.getByRole('button', { name: 'Change Profile' }).first().click();
    const offered = await wb.pickRows();
    assert.ok(
      offered.some((row) => row.includes('dev-rtx5080-qwen3')),
      offered.join(' | '),
    );
  });

  it('starts Ollama when it is asked to', async function () {
    // The stand-in for the program is a shell script.
    if (process.platform === 'win32') this.skip();
    const started = path.join(stage().scratch, 'started');
    const program = path.join(stage().scratch, 'ollama');
    fs.writeFileSync(program, `#!/bin/sh\necho "$1 $OLLAMA_HOST" > '${started}'\n`, {
      mode: 0o755,
    });
    // Both the workbench and its terminal take the path from the shell's own files.
    const home = path.join(stage().scratch, 'home');
    const profile = path.join(home, '.profile');
    fs.mkdirSync(home);
    fs.writeFileSync(profile, `PATH='${stage().scratch}':"$PATH"\nexport PATH\n`);
    const { server } = await stage().open({ home, env: { SHELL: '/bin/sh', ENV: profile } });
    await server.stop();
    const frame = await stage().show();
    await frame.getByRole('button', { name: 'Start Ollama' }).click();
    await poll(
      () => fs.existsSync(started),
      30_000,
      () => 'Nothing was started',
    );
    await poll(
      () => fs.readFileSync(started, 'utf8') === `serve 127.0.0.1:${server.port}\n`,
      5_000,
      () => `What was started is ${fs.readFileSync(started, 'utf8')}`,
    );
    await server.start();
    await waitForText(section(frame, 'Residency'), /No model is in memory/, 20_000);
  });

  it('counts down to the next try of a backend that is left alone, and tries it at once', async () => {
    const { wb, server } = await stage().open({ settings: { 'ollamaIntern.tiers.instant': '' } });
    await server.stop();
    const frame = await stage().show();
    await waitForText(section(frame, 'Backends'), /unreachable/);
    for (let call = 0; call < 3; call++) {
      await wb.openFile('queue.ts');
      await wb.runCommand('Ollama Intern: Summarize File');
      await wb.waitForNotification(/cannot be reached/);
      await wb.runCommand('Notifications: Clear All Notifications');
    }
    const again = await stage().show();
    const backends = section(again, 'Backends');
    await waitForText(backends, /unreachable · next try in 0:\d\d/);
    await wb.screenshot(path.join(pictures, 'dashboard-breaker.png'));
    await backends.getByRole('button', { name: 'Retry local now' }).click();
    await waitForText(backends, /tried with the next call/);
    assert.equal(await backends.getByRole('button').count(), 0, 'there is nothing left to retry');
  });

  it('goes from view to view by keyboard, and comes back to the same after hiding and reload', async () => {
    fs.writeFileSync(stage().logPath, sampleLog(Date.now()));
    const { wb } = await stage().open();
    let frame = await stage().show();
    await frame.getByRole('tab', { name: 'Now' }).focus();
    await wb.page.keyboard.press('ArrowRight');
    await wb.page.keyboard.press('ArrowRight');
    const isTrends = async () =>
      (await frame.locator('[role=tab][aria-selected=true]').innerText()) === 'Trends';
    assert.ok(await isTrends());
    await wb.openFile('queue.ts');
    await poll(
      () => frame.isDetached(),
      10_000,
      () => 'The hidden webview stays',
    );
    await showTab(wb, 'Ollama Intern');
    frame = await stage().frame();
    assert.ok(await isTrends());
    const loaded = wb.page.waitForEvent('load');
    await wb.runCommand('Developer: Reload Window').catch(() => undefined);
    await loaded;
    frame = await stage().frame(60_000);
    assert.ok(await isTrends());
    await wb.statusBarItem('ollamaIntern.status');
    await stage().show();
    const tabs = wb.page.locator('.tabs-container .tab', { hasText: 'Ollama Intern' });
    assert.equal(await tabs.count(), 1, 'the command shows the panel that was restored');
  });

  it('takes the focus along when a key leads from one view to another', async () => {
    fs.writeFileSync(stage().logPath, sampleLog(Date.now()));
    const { wb } = await stage().open();
    const { keyboard } = wb.page;
    const frame = await stage().show();
    const latest = frame.getByRole('grid', { name: 'Latest calls' });
    const details = frame.getByRole('complementary');
    for (const width of [1280, 660]) {
      await wb.page.setViewportSize({ width, height: 800 });
      await stage().go(frame, 'Now');
      await waitForText(section(frame, 'Latest calls'), /summarize_fast/);
      await latest.focus();
      await keyboard.press('Enter');
      await details.locator('dl').waitFor();
      assert.equal(await details.locator(':focus').count(), 1, `at ${width} pixels`);
      await keyboard.press('Escape');
      await details.waitFor({ state: 'detached' });
      await frame
        .getByRole('grid', { name: 'Calls, latest first' })
        .and(frame.locator(':focus'))
        .waitFor();
    }
    await stage().go(frame, 'Now');
    await frame.getByRole('button', { name: 'All calls' }).focus();
    await keyboard.press('Enter');
    await frame.locator('#view[data-view=calls]:focus').waitFor();
  });

  it('loads nothing from anywhere but the workbench', async () => {
    fs.writeFileSync(stage().logPath, sampleLog(Date.now()));
    const { wb } = await stage().open();
    const seen: Request[] = [];
    wb.page.context().on('request', (request) => seen.push(request));
    const frame = await stage().show();
    for (const view of ['Calls', 'Trends', 'Set-up', 'Now'] as const) await stage().go(frame, view);
    await waitForText(section(frame, 'Latest calls'), /summarize_fast/);
    const own = new URL(wb.url).host;
    const others = seen.filter((request) => {
      const url = request.url();
      return !/^(?:blob|data):/.test(url) && new URL(url).host !== own;
    });
    assert.ok(others.some((request) => request.url().endsWith('/dist/webview/dashboard.js')));
    for (const request of others) {
      // The workbench itself answers for its resources, which have a host in name only.
      const response = await request.response();
      assert.ok(response?.fromServiceWorker(), `${request.url()} is loaded from the network`);
      assert.match(request.url(), /\.vscode-resource\..*\/dist\/webview\//);
    }
  });

  for (const theme of ['dark', 'light', 'hc', 'hcLight'] satisfies Theme[]) {
    it(`fits into a window of any width, and axe finds nothing (${theme})`, async () => {
      fs.writeFileSync(stage().logPath, sampleLog(Date.now()));
      const { wb } = await stage().open({ theme }, { vram: 9 * 2 ** 30 });
      await stage().load('qwen3:14b', 8_192);
      await wb.runCommand('View: Close Primary Side Bar');
      await stage().show();
      for (const width of [2000, 1280, 360]) {
        await wb.page.setViewportSize({ width, height: 800 });
        const frame = await webviewFrame(wb, '[role=tablist]');
        await waitForText(section(frame, 'Residency'), /qwen3:14b .*in VRAM/);
        await waitForIcons(frame);
        await assertAccessible(frame);
        await wb.screenshot(path.join(pictures, `dashboard-now-${theme}-${width}.png`));
        assert.ok(!(await isTooWide(frame)), `the page scrolls sideways at ${width} pixels`);
        assert.ok(await frame.getByRole('button', { name: 'Refresh', exact: true }).isVisible());
      }
    });
  }
});
