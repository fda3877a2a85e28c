import assert from 'node:assert/strict';
import path from 'node:path';
import type { Frame, Locator } from 'playwright-core';
import type { Theme } from '../support/host/workbench.ts';
import { CLOUD_KEY, type CloudServer, startCloud } from '../support/ollama/cloud';
import { defineModel } from '../support/ollama/server';
import { assertAccessible } from './axe';
import { DashboardStage, isTooWide, pictures, waitForIcons, waitForText } from './dashboardStage';
import { poll, webviewFrame } from './support';

const MODELS = ['hermes3:8b', 'qwen3:8b', 'qwen3:14b'].map((name) =>
  defineModel({ name, contextLength: 131_072 }),
);
const EMBEDDER = defineModel({ name: 'nomic-embed-text', capabilities: ['embedding'] });

describe("the dashboard's set-up", function () {
  const stage = DashboardStage.forEach();
  let cloud: CloudServer | undefined;

  afterEach(async () => {
    await cloud?.close();
    cloud = undefined;
  });

  const row = (frame: Frame, tier: string): Locator => frame.locator(`[data-tier=${tier}]`);
  const model = (frame: Frame, tier: string): Locator =>
    frame.getByRole('combobox', { name: `Model of the ${tier} tier` });
  const budget = (frame: Frame, tier: string): Locator =>
    frame.getByRole('textbox', { name: `Budget of the ${tier} tier in seconds`, exact: true });

  async function waitForValue(field: Locator, value: string): Promise<void> {
    await poll(
      async () => (await field.inputValue()) === value,
      10_000,
      () => `${String(field)} never has the value ${value}`,
    );
  }

  it('changes the profile, a model and a budget, and takes them back', async () => {
    const { wb, server } = await stage().open({}, { models: [...MODELS, EMBEDDER], pullable: [] });
    const frame = await stage().show('Set-up');
    await waitForText(row(frame, 'deep'), /installed, \d+\.\d GB Load/);

    await frame.getByLabel('Hardware profile').selectOption('dev-rtx5080-qwen3');
    await waitForValue(model(frame, 'deep'), 'qwen3:14b');
    await wb.statusBarItem(/local · qwen3:8b/);

    const workhorse = model(frame, 'workhorse');
    await workhorse.click();
    await wb.page.keyboard.type('herm');
    await frame.getByRole('option', { name: /hermes3:8b/ }).waitFor();
    await wb.page.keyboard.press('ArrowDown');
    await wb.page.keyboard.press('Enter');
    await row(frame, 'workhorse').getByRole('button', { name: 'Reset to qwen3:8b' }).waitFor();
    assert.equal(await workhorse.inputValue(), 'hermes3:8b');

    await budget(frame, 'deep').fill('45');
    await wb.page.keyboard.press('Tab');
    await wb.statusBarItem('ollamaIntern.status');
    // What is shown comes from the extension again.
    await stage().go(frame, 'Now');
    await stage().go(frame, 'Set-up');
    await waitForValue(budget(frame, 'deep'), '45');
    await waitForValue(model(frame, 'workhorse'), 'hermes3:8b');

    await row(frame, 'workhorse').getByRole('button', { name: 'Reset to qwen3:8b' }).click();
    await waitForValue(model(frame, 'workhorse'), 'qwen3:8b');
    await budget(frame, 'deep').fill('');
    await wb.page.keyboard.press('Enter');
    await frame.getByRole('button', { name: 'Reset to dev-rtx5080', exact: true }).click();
    await waitForValue(model(frame, 'deep'), 'hermes3:8b');
    await wb.statusBarItem(/local · hermes3:8b/);
    await stage().go(frame, 'Now');
    await stage().go(frame, 'Set-up');
    await waitForValue(budget(frame, 'deep'), '');

    await row(frame, 'instant').getByRole('button', { name: 'Load hermes3:8b' }).click();
    await waitForText(row(frame, 'deep'), /loaded/);
    assert.deepEqual(
      server.runners.map(({ name, numCtx }) => [name, numCtx]),
      [['hermes3:8b', 16_384]],
      'with the window that its tiers share',
    );
  });

  it('keeps what was typed and cannot be saved, and Escape brings back what is set', async () => {
    const { wb } = await stage().open({}, { models: MODELS });
    const frame = await stage().show('Set-up');
    const deep = budget(frame, 'deep');
    await deep.fill('soon');
    await wb.page.keyboard.press('Enter');
    const problem = row(frame, 'deep').getByRole('alert');
    await waitForText(problem, /seconds between 1 and 3600/);
    assert.equal(await deep.inputValue(), 'soon');
    assert.equal(await deep.getAttribute('aria-invalid'), 'true');
    assert.equal(await deep.getAttribute('aria-describedby'), await problem.getAttribute('id'));
    await assertAccessible(frame);
    await wb.page.keyboard.press('Escape');
    assert.equal(await deep.inputValue(), '');
    await problem.waitFor({ state: 'detached' });

    const instant = model(frame, 'instant');
    await instant.fill('what is this');
    // A setting that changes elsewhere meanwhile is followed, but not here.
    await wb.runCommand('Ollama Intern: Select Hardware Profile');
    await wb.pick(/m5-max/);
    await waitForValue(model(frame, 'deep'), 'qwen3:32b');
    await waitForText(row(frame, 'instant'), /is not a model name/);
    assert.equal(await instant.inputValue(), 'what is this');
    await instant.focus();
    await wb.page.keyboard.press('Escape');
    await waitForValue(instant, 'qwen3:14b');
  });

  it('says what is not installed, pulls it, and says when Ollama cannot be reached', async () => {
    const { wb, server } = await stage().open({}, { models: [], pullable: [...MODELS, EMBEDDER] });
    const frame = await stage().show('Set-up');
    await waitForText(frame.locator('.setup'), /Ollama has no models yet/);
    await waitForText(row(frame, 'embed'), /not installed Pull/);
    await assertAccessible(frame);
    await wb.screenshot(path.join(pictures, 'dashboard-setup-empty.png'));
    await row(frame, 'embed').getByRole('button', { name: 'Pull nomic-embed-text' }).click();
    await wb.waitForNotification(/nomic-embed-text is ready/);
    await waitForText(row(frame, 'embed'), /installed, \d+\.\d GB Load/);
    await waitForText(row(frame, 'deep'), /not installed/);
    await server.stop();
    await waitForText(frame.locator('.setup'), /Ollama cannot be reached/, 20_000);
    await waitForText(row(frame, 'embed'), /unknown/);
    await frame.getByRole('button', { name: 'Start Ollama' }).waitFor();
    await frame.getByRole('button', { name: 'Test local' }).click();
    await waitForText(frame.locator('[data-backend=local]'), /cannot be reached/);
    assert.deepEqual(
      (await wb.notifications()).filter(({ message }) => /cannot be reached/.test(message)),
      [],
      'it is said here and nowhere else',
    );
    await wb.screenshot(path.join(pictures, 'dashboard-setup-unreachable.png'));
    await server.start();
    await frame.getByRole('button', { name: 'Test local' }).click();
    await waitForText(frame.locator('[data-backend=local]'), /answered in \d/);
  });

  it('turns the cloud on and off with consent, and never holds its key', async () => {
    cloud = await startCloud();
    const { wb } = await stage().open(
      {
        env: {
          OLLAMA_CLOUD_HOST: cloud.url,
          INTERN_CLOUD_MODEL: 'gpt-oss:120b-cloud',
          OLLAMA_API_KEY: undefined,
          OLLAMA_CLOUD_PRIMARY: undefined,
        },
      },
      { models: MODELS },
    );
    const { page } = wb;
    let frame = await stage().show('Set-up');
    const line = () => frame.locator('[data-backend=cloud]');
    await waitForText(line(), /no key Set Key/);

    // The consent is asked for, and nothing is changed without it.
    await frame.getByLabel('Cloud mode').selectOption('primary');
    const dialog = page.locator('.monaco-dialog-box');
    await dialog.waitFor({ state: 'visible' });
    assert.match(await dialog.innerText(), /What leaves/);
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    assert.equal(await frame.getByLabel('Cloud mode').inputValue(), 'off');

    await line().getByRole('button', { name: 'Set Key' }).click();
    await page.locator('.quick-input-widget input[type="password"]').waitFor();
    await page.keyboard.type(CLOUD_KEY);
    await page.keyboard.press('Enter');
    await waitForText(line(), /key stored/);

    await frame.getByLabel('Cloud mode').selectOption('primary');
    await dialog.waitFor({ state: 'visible' });
    await page.keyboard.press('Enter');
    await waitForValue(frame.getByLabel('Cloud mode'), 'primary');
    await waitForText(row(frame, 'embed'), /never/);
    await waitForText(row(frame, 'instant'), /Cloud: gpt-oss:120b/);
    assert.doesNotMatch(await row(frame, 'embed').innerText(), /Cloud: /);
    const budgetOf = frame.getByRole('textbox', {
      name: 'Cloud budget of the instant tier in seconds',
    });
    await budgetOf.fill('12');
    await page.keyboard.press('Enter');
    await line().getByRole('button', { name: 'Test cloud' }).click();
    await waitForText(line(), /answered in \d/);
    await waitForIcons(frame);
    await assertAccessible(frame);
    await wb.screenshot(path.join(pictures, 'dashboard-setup-cloud.png'));
    cloud.keys.clear();
    await line().getByRole('button', { name: 'Test cloud' }).click();
    await waitForText(line(), /key/i);
    await waitForText(line().locator('.error'), /\w+/);
    assert.ok(!(await frame.content()).includes(CLOUD_KEY), 'the page holds the key');

    await line().getByRole('button', { name: 'Clear Key' }).click();
    await waitForText(line(), /no key/);
    assert.equal(await line().getByRole('status').innerText(), '', 'of a key that is gone');
    await frame.getByLabel('Cloud mode').selectOption('off');
    await waitForValue(frame.getByLabel('Cloud mode'), 'off');
    frame = await stage().frame();
    assert.equal(await budgetOf.count(), 0);
  });

  it('is used by keyboard alone', async () => {
    const { wb } = await stage().open({}, { models: [...MODELS, EMBEDDER] });
    const { keyboard } = wb.page;
    const frame = await stage().show('Set-up');
    await waitForText(row(frame, 'deep'), /installed/);
    const focused = () =>
      frame.evaluate<string>(
        `document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()`,
      );
    await frame.getByRole('tab', { name: 'Set-up' }).focus();
    const way: string[] = [];
    for (let step = 0; step < 40; step++) {
      await keyboard.press('Tab');
      way.push(await focused());
      if (way.at(-1) === 'Cloud mode') break;
    }
    for (const name of [
      'Hardware profile',
      'Model of the instant tier',
      'Load hermes3:8b',
      'Budget of the embed tier in seconds',
      'Test local',
    ]) {
      assert.ok(way.includes(name), `${name} is not on the way: ${way.join(' | ')}`);
    }
    await model(frame, 'instant').focus();
    await keyboard.press('ArrowDown');
    await frame.getByRole('listbox').waitFor();
    await assertAccessible(frame);
    await wb.screenshot(path.join(pictures, 'dashboard-setup-list.png'));
    await keyboard.press('Escape');
    await frame.getByRole('listbox').waitFor({ state: 'detached' });
    await keyboard.press('ArrowUp');
    await keyboard.press('Enter');
    await row(frame, 'instant').getByRole('button', { name: 'Reset to hermes3:8b' }).focus();
    await keyboard.press('Enter');
    await waitForValue(model(frame, 'instant'), 'hermes3:8b');
  });

  for (const theme of ['dark', 'light', 'hc', 'hcLight'] satisfies Theme[]) {
    it(`fits into a window of any width, and axe finds nothing (${theme})`, async () => {
      const { wb } = await stage().open(
        {
          theme,
          settings: {
            'ollamaIntern.tiers.deep': 'qwen3:32b',
            'ollamaIntern.budgets.deep': 120,
            'ollamaIntern.gateway.host': 'http://127.0.0.1:4000',
          },
        },
        { models: [...MODELS, EMBEDDER] },
      );
      await stage().load('hermes3:8b', 8_192);
      await stage().show('Set-up');
      await wb.runCommand('View: Toggle Primary Side Bar Visibility');
      // The bar at the side takes 60 of them.
      for (const width of [2000, 1280, 620, 360]) {
        await wb.page.setViewportSize({ width, height: 900 });
        const frame = await webviewFrame(wb, '[role=tablist]');
        await waitForText(row(frame, 'instant'), /loaded/);
        await waitForIcons(frame);
        await assertAccessible(frame);
        await wb.screenshot(path.join(pictures, `dashboard-setup-${theme}-${width}.png`));
        assert.ok(!(await isTooWide(frame)), `the page scrolls sideways at ${width} pixels`);
      }
    });
  }
});
