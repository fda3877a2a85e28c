import { openWorkbench, poll, type Workbench } from '../host/workbench';
import type { Scene, Shown } from './main';

const ANSWER_MS = 5 * 60_000;

/** Does the main job in the browser workbench, as a person with a keyboard would. */
export async function showInBrowser(scene: Scene): Promise<Shown> {
  const workbench = await openWorkbench({
    extensionPath: scene.root,
    folder: scene.workspace,
    settings: { 'chat.disableAIFeatures': true, ...scene.settings },
    env: scene.env,
  });
  try {
    await workbench.statusBarItem('ollamaIntern.status');
    await workbench.openFile(scene.file);
    await workbench.page.keyboard.press('ControlOrMeta+A');
    await workbench.runCommand('Ollama Intern: Summarize Selection');
    const summary = await readAnswer(workbench);
    await workbench.screenshot(scene.screenshot);
    return {
      summary,
      address: workbench.url,
      screenshot: scene.screenshot,
      close: () => workbench.close(),
    };
  } catch (error) {
    await workbench.screenshot(scene.screenshot.replace(/\.png$/, '-failed.png'));
    await workbench.close();
    throw error;
  }
}

/** The answer, once the line under it says that it is complete. */
async function readAnswer(workbench: Workbench): Promise<string> {
  let text = '';
  const lines = workbench.page.locator(
    '.editor-instance .monaco-editor[data-uri^="ollama-intern:"] .view-line',
  );
  await poll(
    async () => {
      text = (await lines.allTextContents()).join('\n').replaceAll('\u00a0', ' ');
      if (/cannot be reached|did not answer|is not installed/.test(text)) throw new Error(text);
      return /^instant · /m.test(text);
    },
    ANSWER_MS,
    () => `No summary came. The document says: ${text}\n${workbench.diagnostics()}`,
  );
  // What the editor shows is wrapped to its width: the text itself is copied.
  await lines.first().click();
  const whole = await workbench.wholeEditorText();
  return whole.split(/^─+$/m)[0]?.trim() ?? '';
}
