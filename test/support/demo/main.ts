import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { envelopeLine, type Envelope } from '../../../src/core';
import { cache, root } from '../setup.mjs';
import { findOllama, startComputed, startEmbedded, type Target } from '../target';
import { showInBrowser } from './browser';
import { findDesktop, showOnDesktop } from './desktop';

const { values: flags } = parseArgs({
  options: {
    once: { type: 'boolean', default: false },
    browser: { type: 'boolean', default: false },
    gguf: { type: 'string' },
  },
});

/** What a show needs, and what it shows. */
export interface Scene {
  root: string;
  workspace: string;
  /** The file of the workspace that is summarized. */
  file: string;
  logPath: string;
  screenshot: string;
  settings: Record<string, unknown>;
  env: Record<string, string>;
}

/** The main job was done once; the window is still open. */
export interface Shown {
  summary: string;
  /** Where a person can look, when there is such a place. */
  address?: string;
  screenshot?: string;
  close(): Promise<void>;
}

async function chooseTarget(): Promise<Target> {
  const ollama = flags.gguf ? undefined : await findOllama();
  if (ollama) return ollama;
  if (!flags.gguf)
    console.log('No Ollama with a model answers; the embedded engine is used instead.');
  const embedded = await startEmbedded(flags.gguf);
  if (!('reason' in embedded)) return embedded;
  if (flags.gguf) throw new Error(embedded.reason);
  console.log(`The embedded engine cannot be used: ${embedded.reason}`);
  return startComputed();
}

async function main(): Promise<void> {
  const target = await chooseTarget();
  console.log(`\nAnswers come from ${target.description}.`);
  const folder = join(cache, 'demo');
  await mkdir(folder, { recursive: true });
  const scene: Scene = {
    root,
    workspace: join(root, 'test', 'support', 'demo', 'workspace'),
    file: 'queue.ts',
    logPath: join(folder, 'log.ndjson'),
    screenshot: join(folder, 'summarize-selection.png'),
    env: { OLLAMA_HOST: target.url, INTERN_LOG_PATH: join(folder, 'log.ndjson') },
    settings: {
      'ollamaIntern.tiers.instant': target.model,
      'ollamaIntern.tiers.workhorse': target.model,
      'ollamaIntern.tiers.deep': target.model,
      // A small machine without a GPU is no reason for the demo to fail.
      'ollamaIntern.budgets.instant': 120,
    },
  };
  await rm(scene.logPath, { force: true });

  const desktop = flags.browser ? undefined : await findDesktop();
  console.log(
    desktop ? `Opening ${desktop} …` : 'Opening a real VS Code workbench in a headless browser …',
  );
  const shown = await (desktop ? showOnDesktop(desktop, scene) : showInBrowser(scene));

  console.log(`\nSummary of ${scene.file}:\n\n${indent(shown.summary)}\n`);
  const envelope = await lastEnvelope(scene.logPath);
  console.log(envelopeLine(envelope));
  console.log(`\nEnvelope:\n${indent(JSON.stringify(envelope, null, 2))}`);
  if (shown.screenshot) console.log(`\nScreenshot: ${shown.screenshot}`);

  if (!flags.once) {
    if (shown.address) console.log(`\nThe workbench: ${shown.address}`);
    console.log('Ctrl-C ends it.');
    await untilInterrupted();
  }
  await shown.close();
  await target.close();
}

async function lastEnvelope(logPath: string): Promise<Envelope> {
  const lines = (await readFile(logPath, 'utf8')).trim().split('\n');
  const last = JSON.parse(lines.at(-1) ?? '{}') as { envelope?: Envelope };
  if (!last.envelope) throw new Error(`The log's last line is no call: ${lines.at(-1)}`);
  return last.envelope;
}

function untilInterrupted(): Promise<void> {
  // A pending promise alone does not keep a process alive.
  const alive = setInterval(() => {}, 60_000);
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        clearInterval(alive);
        resolve();
      });
    }
  });
}

function indent(text: string): string {
  return text.replace(/^/gm, '  ');
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  },
);
