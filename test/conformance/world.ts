/** The server under test, and which of its models can play which part of the recordings. */
import { request as httpRequest } from 'node:http';
import { defineModel, type InstalledModel, type ModelDefinition } from '../support/ollama/models';
import { startOllama, type OllamaServer } from '../support/ollama/server';
import type { WireRequest, WireResponse } from './capture';

/** What a case needs of the model that stands in for a recorded one. */
export type Role =
  | 'completion'
  | 'tools'
  | 'thinking'
  | 'embedding'
  | 'thoughtless'
  | 'toolless'
  | 'insertless'
  | 'blind'
  | 'broken';

export interface World {
  base: string;
  /** Set when the server under test is the simulator: only there faults can be switched on. */
  simulator?: OllamaServer;
  /** The name that plays the recorded model in the given role, if the server has one. */
  modelFor(recorded: string, role: Role): string | undefined;
  close(): Promise<void>;
}

const SMALL: Partial<ModelDefinition> = {
  parameterSize: '293K',
  parameterCount: 292_800,
  size: 1_185_848,
  contextLength: 512,
  embeddingLength: 64,
  quantization: 'unknown',
};

const RECORDED: ModelDefinition[] = [
  { name: 'stories260k', rendering: 'native', capabilities: ['completion'] },
  { name: 'stories-tools', capabilities: ['tools', 'completion'] },
  { name: 'stories-toolbare', capabilities: ['tools', 'completion'] },
  thinker('stories-think'),
  thinker('stories-thinkpre'),
  thinker('stories-thinkgo'),
  { name: 'bert-random', family: 'bert', capabilities: ['embedding'] },
  { name: 'broken', capabilities: ['completion'] },
];

/** The models of the recordings, as far as a server shows them. */
export const LOOKALIKES: readonly InstalledModel[] = RECORDED.map((model) =>
  defineModel({ ...SMALL, ...model }),
);

function thinker(name: string): ModelDefinition {
  return {
    name,
    rendering: 'native',
    contextLength: 4096,
    capabilities: ['tools', 'thinking', 'completion'],
    // The list guesses, and here it guesses less than `show` knows.
    listedCapabilities: ['completion'],
  };
}

export async function openSimulator(): Promise<World> {
  const simulator = await startOllama({ models: LOOKALIKES, registryOnline: false });
  return {
    base: simulator.url,
    simulator,
    modelFor: (recorded) => recorded,
    close: () => simulator.close(),
  };
}

interface Listed {
  name: string;
  size: number;
  remote_host?: string;
}

/** Small models first: the cases ask for few tokens, but loading takes its time. */
export async function openReal(host: string): Promise<World> {
  const base = (/^https?:\/\//.test(host) ? host : `http://${host}`).replace(/\/+$/, '');
  const { models } = (await json(`${base}/api/tags`)) as { models: Listed[] };
  const local = models.filter((model) => !model.remote_host).sort((a, b) => a.size - b.size);
  const known: { name: string; can: Set<string> }[] = [];
  for (const { name } of local) {
    const shown = (await json(`${base}/api/show`, { model: name })) as { capabilities?: string[] };
    known.push({ name, can: new Set(shown.capabilities ?? []) });
  }
  const suits: Record<Role, (can: Set<string>) => boolean> = {
    completion: (can) => can.has('completion') && !can.has('thinking'),
    tools: (can) => can.has('tools') && !can.has('thinking'),
    thinking: (can) => can.has('thinking'),
    embedding: (can) => can.has('embedding'),
    thoughtless: (can) => can.has('completion') && !can.has('thinking'),
    toolless: (can) => can.has('completion') && !can.has('tools'),
    insertless: (can) => can.has('completion') && !can.has('insert'),
    blind: (can) => can.has('completion') && !can.has('vision'),
    broken: () => false,
  };
  return {
    base,
    modelFor: (_recorded, role) => known.find(({ can }) => suits[role](can))?.name,
    close: async () => undefined,
  };
}

async function json(url: string, body?: object): Promise<unknown> {
  const init = body ? { method: 'POST', body: JSON.stringify(body) } : {};
  return (await fetch(url, init)).json();
}

/** Over a plain socket: `fetch` would not let a case set Host, nor say how a body was framed. */
export function send(base: string, wire: WireRequest, bytes?: Buffer): Promise<WireResponse> {
  const body = bytes ?? Buffer.from(wire.body ?? '');
  // Node sends no body with DELETE unless its length is given.
  const length = body.length > 0 ? { 'Content-Length': String(body.length) } : {};
  return new Promise((resolve, reject) => {
    const request = httpRequest(base + wire.path, {
      method: wire.method,
      headers: { Connection: 'close', ...length, ...wire.headers },
    });
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers as Record<string, string>,
          body: Buffer.concat(chunks).toString('utf8').trim(),
        });
      });
    });
    request.end(body);
  });
}
