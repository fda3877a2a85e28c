import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startOllama } from '../support/ollama/server.ts';
import type { HostFixture } from '../support/host/runHost.ts';

const sample = path.resolve(__dirname, '..', 'fixtures', 'workspace');

/** What the host tests find around them: a simulated Ollama and a folder of their own to work in. */
export async function prepare(): Promise<HostFixture> {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'intern-host-'));
  const folder = path.join(scratch, 'workspace');
  fs.mkdirSync(folder);
  if (fs.existsSync(sample)) fs.cpSync(sample, folder, { recursive: true });
  const ollama = await startOllama();
  return {
    folder,
    env: { OLLAMA_HOST: ollama.url, INTERN_LOG_PATH: path.join(scratch, 'log.ndjson') },
    async stop() {
      await ollama.close();
      fs.rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}
