/** Jobs of several prompts, as whole calls: what becomes of the parts on one envelope and in the log. */
import assert from 'node:assert/strict';
import * as z from 'zod';
import type { Envelope, Intern, RunOptions } from '../../src/core';
import { defineSteps, type Question, type Steps } from '../../src/core/jobs/job';
import { JOBS } from '../../src/core/jobs/registry';
import type { GenerativeTier, Tier } from '../../src/core/routing/tiers';
import { CLOUD_KEY } from '../support/ollama/cloud';
import { ComputedEngine } from '../support/ollama/computed';
import type { EnginePiece, EngineRequest, EngineResult } from '../support/ollama/engine';
import { faults, type RecordedRequest } from '../support/ollama/server';
import { chatsOf, onChat, Stage, triesOf } from './stage';
import { failure } from './support';

const NAME = 'probe';

function question(content: string): Question {
  return { messages: [{ role: 'user', content }], numPredict: 64, temperature: 0 };
}

/** Answers with nothing to what says so. */
class Mute extends ComputedEngine {
  override async generate(
    request: EngineRequest,
    onPiece: (piece: EnginePiece) => void | Promise<void>,
  ): Promise<EngineResult> {
    if (!JSON.stringify(request).includes('say nothing')) return super.generate(request, onPiece);
    return { promptTokens: 10, outputTokens: 3, doneReason: 'stop' };
  }
}

describe('a job of several prompts', () => {
  const stage = Stage.forEach();
  const jobs = JOBS as unknown as Record<string, unknown>;

  afterEach(() => {
    delete jobs[NAME];
  });

  function run(
    intern: Intern,
    work: (steps: Steps) => Promise<unknown>,
    { tier = 'workhorse', ...options }: RunOptions & { tier?: Tier } = {},
  ): Promise<Envelope> {
    jobs[NAME] = defineSteps({
      name: NAME,
      title: 'Probe',
      description: '',
      version: 1,
      tier: tier as GenerativeTier,
      input: z.object({}),
      run: async (_, steps) => ({ result: await work(steps) }),
      show: () => '',
    });
    return stage().finish(intern.run(NAME as never, {} as never, options));
  }

  it('counts a prompt that was answered with nothing once', async () => {
    const server = await stage().serve({ engine: new Mute() });
    const intern = stage().hire(server);
    const envelope = await run(intern, async (steps) => {
      await steps.ask(question('say nothing')).catch(() => undefined);
      return steps.ask(question('say something'));
    });
    assert.deepEqual(triesOf(envelope), ['local answer', 'local answer']);
  });

  it('that fails is logged where it failed, with what was tried before', async () => {
    const { intern, cloud, local } = await stage().team();
    const failed = failure(
      run(intern, async (steps) => {
        await steps.ask(question('one'));
        cloud.faults.next(onChat(faults.status(500, 'it failed')));
        local.faults.next(onChat(faults.status(500, 'it failed')));
        return steps.ask(question('two'));
      }),
    );
    await failed;
    const line = (await stage().logged(intern)).findLast((l) => l.kind === 'error');
    assert.equal(line?.['backend'], 'local');
    assert.equal(line['model'], 'hermes3:8b');
    assert.deepEqual(triesOf(line as never), ['cloud answer', 'cloud server', 'local server']);
  });

  it('that was answered by the cloud in part does not say that it cost nothing', async () => {
    const { intern, cloud } = await stage().team();
    const envelope = await run(intern, async (steps) => {
      await steps.ask(question('one'));
      cloud.faults.next(onChat(faults.status(500, 'it failed')));
      return steps.ask(question('two'));
    });
    assert.equal(envelope.backend, 'local');
    assert.equal('cost_usd' in envelope, false);
  });

  it('sends what is to be embedded to nobody else', async () => {
    const { intern, cloud } = await stage().team({
      settings: { tiers: { embed: 'cloud/nomic-embed-text' } },
    });
    const asked = cloud.requests.length;
    const error = await failure(run(intern, (steps) => steps.embed(['a text']), { tier: 'embed' }));
    assert.equal(error.code, 'config');
    assert.match(error.message, /runs elsewhere/);
    assert.equal(cloud.requests.length, asked);
  });

  it('asks nobody about a cloud model when it plans after consent was withdrawn', async () => {
    const cloud = await stage().serveCloud();
    const local = await stage().serve({ cloud: { url: cloud.url } });
    const settings = (mode: string) =>
      stage().settingsFor(local, {
        tiers: { workhorse: 'gpt-oss:120b-cloud' },
        cloud: { mode, host: cloud.url },
      });
    const intern = stage().hire(local, settings('fallback'), {
      cloudKeys: () => Promise.resolve(CLOUD_KEY),
    });
    const isShow = ({ path }: RecordedRequest): boolean => path === '/api/show';
    await run(intern, (steps) => {
      intern.configure(settings('off'));
      return steps.room(question('one'));
    });
    assert.deepEqual(local.requests.filter(isShow), []);
    assert.deepEqual(chatsOf(local), []);
  });
});
