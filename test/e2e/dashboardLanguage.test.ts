import fs from 'node:fs';
import path from 'node:path';
import { assertAccessible } from './axe';
import { sampleLog } from './dashboardLog';
import { DashboardStage, isTooWide, pictures, section, waitForText } from './dashboardStage';
import assert from 'node:assert/strict';

const LANGUAGES = {
  de: { now: 'Jetzt', calls: 'Aufrufe', running: 'Läuft', nothing: /Nichts läuft/ },
  'zh-cn': { now: '当前', calls: '调用', running: '运行中', nothing: /没有正在运行的调用/ },
};

describe('the dashboard in other languages', () => {
  const stage = DashboardStage.forEach();

  for (const [language, words] of Object.entries(LANGUAGES)) {
    it(`is in the display language of the editor (${language})`, async () => {
      fs.writeFileSync(stage().logPath, sampleLog(Date.now()));
      const { wb } = await stage().open({ language });
      const frame = await stage().show();
      await frame.getByRole('tab', { name: words.now, exact: true }).waitFor();
      await waitForText(section(frame, words.running), words.nothing);
      assert.equal(await frame.locator('html').getAttribute('lang'), language);
      await assertAccessible(frame);
      await wb.runCommand('View: Close Primary Side Bar');
      for (const width of [1280, 400]) {
        await wb.page.setViewportSize({ width, height: 800 });
        assert.ok(!(await isTooWide(frame)), `the page scrolls sideways at ${width} pixels`);
        await wb.screenshot(path.join(pictures, `dashboard-${language}-${width}.png`));
      }
      await frame.getByRole('tab', { name: new RegExp(`^${words.calls}`) }).click();
      await wb.screenshot(path.join(pictures, `dashboard-${language}-calls.png`));
    });
  }
});
