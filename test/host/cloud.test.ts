import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import * as vscode from 'vscode';
import type { Envelope } from '../../src/core';
import { COMMANDS } from '../../src/host/ids';
import { CLOUD_KEY, type CloudServer, startCloud } from '../support/ollama/cloud';
import { eventually, type Shown, Stage } from './support';

const MODEL = 'gpt-oss:120b-cloud';
const TEXT = { text: 'A sentence. Another sentence.' };

describe('the cloud', () => {
  let stage: Stage;
  let cloud: CloudServer;

  beforeEach(async () => {
    stage = await Stage.open();
    cloud = await startCloud();
    await stage.set({ 'cloud.host': cloud.url, 'cloud.model': MODEL });
  });

  afterEach(async () => {
    stage.answer = () => undefined;
    await run(COMMANDS.disableCloud);
    await run(COMMANDS.clearCloudKey);
    await cloud.close();
    await stage.dispose();
  });

  const run = <T>(command: string) => vscode.commands.executeCommand<T>(command);
  const call = () => stage.api.intern.run('summarize_fast', TEXT);
  const status = () => stage.api.intern.backends.find(({ backend }) => backend === 'cloud');
  const mode = () => vscode.workspace.getConfiguration('ollamaIntern').inspect('cloud.mode');
  const of = (kind: Shown['kind']) => stage.shown.filter((shown) => shown.kind === kind);
  const said = (text: RegExp) => stage.shown.filter((shown) => text.test(shown.text));

  /** Chooses these buttons wherever they are offered, and closes everything else. */
  function choose(...titles: string[]): void {
    stage.answer = ({ buttons }) => buttons.find((button) => titles.includes(button));
  }

  /** `null`: the box for the key is closed. */
  async function enable(key: string | null = CLOUD_KEY): Promise<void> {
    stage.typed = key ?? undefined;
    choose('Cloud First');
    assert.equal(await run(COMMANDS.enableCloud), true);
    stage.answer = () => undefined;
  }

  async function calls(count: number): Promise<Envelope[]> {
    const envelopes: Envelope[] = [];
    for (let i = 0; i < count; i++) envelopes.push(await call());
    return envelopes;
  }

  describe('enabling it', () => {
    it('says in a modal message what leaves, where to and with which models', async () => {
      await stage.set({ 'cloud.deepModel': 'qwen3-coder:480b-cloud' });
      await enable();
      await stage.set({ 'cloud.deepModel': undefined });
      const [modal] = stage.shown;
      assert.equal(modal?.kind, 'warning');
      assert.deepEqual(modal.buttons, ['Cloud First', 'Cloud as Fallback']);
      const { host } = new URL(cloud.url);
      assert.ok(modal.text.includes(host));
      for (const told of [host, MODEL, 'qwen3-coder:480b-cloud', 'prompt of every job']) {
        assert.ok(modal.modal?.includes(told), told);
      }
      assert.match(modal.modal ?? '', /What stays: embeddings, the audit log/);
      assert.match(modal.modal ?? '', /The key goes to 127\.0\.0\.1:\d+ alone/);
    });

    it('asks for a key, and then the cloud answers', async () => {
      await enable();
      assert.equal(mode()?.globalValue, 'primary');
      assert.deepEqual(of('error'), []);
      assert.equal(said(/^The cloud is on: asked first\.$/).length, 1);
      const envelope = await call();
      assert.equal(envelope.backend, 'cloud');
      assert.equal(envelope.model, MODEL);
      assert.equal(envelope.degraded, undefined);
      assert.equal(cloud.requests.at(-1)?.headers.authorization, `Bearer ${CLOUD_KEY}`);
    });

    it('sends and changes nothing when the message is closed', async () => {
      stage.typed = CLOUD_KEY;
      assert.equal(await run(COMMANDS.enableCloud), false);
      assert.equal(mode()?.globalValue, undefined);
      assert.equal((await call()).backend, 'local');
      assert.equal(cloud.requests.length, 0);
    });

    it('as a fallback leaves this machine first', async () => {
      stage.typed = CLOUD_KEY;
      choose('Cloud as Fallback');
      await run(COMMANDS.enableCloud);
      assert.equal(mode()?.globalValue, 'fallback');
      assert.equal((await call()).backend, 'local');
      assert.equal(cloud.requests.length, 0);
      await stage.server.stop();
      const envelope = await call();
      assert.equal(envelope.backend, 'cloud');
      assert.equal(envelope.degrade_reason, 'local_unreachable');
      await stage.server.start();
    });

    it('says so when it is on already, and asks for no key that is there', async () => {
      await enable();
      stage.typed = 'another-key';
      choose('Cloud First');
      assert.equal(await run(COMMANDS.enableCloud), true);
      assert.equal(said(/^The cloud is already asked first\.$/).length, 1);
      assert.equal((await call()).backend, 'cloud');
    });

    it('refuses an address where others could read the key', async () => {
      await stage.set({ 'cloud.host': 'http://cloud.test' });
      choose('Cloud First');
      assert.equal(await run(COMMANDS.enableCloud), false);
      assert.deepEqual(
        stage.shown.map(({ kind, modal, buttons }) => [kind, modal, buttons]),
        [['error', undefined, ['Open Setting']]],
      );
      assert.match(stage.shown[0]?.text ?? '', /plain HTTP/);
      assert.equal(mode()?.globalValue, undefined);
      await stage.set({ 'cloud.host': cloud.url });
    });
  });

  it('when disabled is off whatever the environment says, and gets nothing more', async () => {
    await enable();
    await call();
    const before = cloud.requests.length;
    await run(COMMANDS.disableCloud);
    assert.equal(mode()?.globalValue, 'off');
    assert.match(
      stage.shown.at(-1)?.text ?? '',
      /^The cloud is off\. Nothing leaves this machine\.$/,
    );
    assert.equal((await call()).backend, 'local');
    assert.equal(cloud.requests.length, before);
  });

  describe('its key', () => {
    it('that is missing is an error at once, and calls stay here and say so', async () => {
      await enable(null);
      const error = await eventually(() => of('error')[0], 'the error');
      assert.match(error.text, /there is no key/);
      assert.deepEqual(error.buttons, ['Set Cloud Key', 'Disable Cloud']);
      for (const envelope of await calls(3)) {
        assert.equal(envelope.backend, 'local');
        assert.equal(envelope.degrade_reason, 'cloud_auth_failed');
      }
      assert.equal(cloud.requests.length, 0);
      assert.equal(of('error').length, 1);
    });

    it('is set from the error itself', async () => {
      stage.answer = ({ buttons }) => {
        const chosen = ['Cloud First', 'Set Cloud Key'].find((title) => buttons.includes(title));
        // The first box is closed, the second is filled in.
        stage.typed = chosen === 'Set Cloud Key' ? CLOUD_KEY : undefined;
        return chosen;
      };
      await run(COMMANDS.enableCloud);
      await eventually(() => status()?.breaker.state === 'closed', 'the key');
      assert.equal((await call()).backend, 'cloud');
    });

    it('that is missing is said again when the cloud is turned on again', async () => {
      await enable(null);
      await eventually(() => of('error').length === 1, 'the error');
      await run(COMMANDS.disableCloud);
      await enable(null);
      await eventually(() => of('error').length === 2, 'the error once more');
    });

    it('that is revoked is told once; set again, the cloud is back', async () => {
      await enable();
      assert.equal((await call()).backend, 'cloud');
      cloud.keys.clear();
      for (const envelope of await calls(3)) {
        assert.equal(envelope.backend, 'local');
        assert.equal(envelope.degrade_reason, 'cloud_auth_failed');
      }
      assert.equal(status()?.breaker.state, 'misconfigured');
      assert.deepEqual(
        of('error').map(({ buttons }) => buttons),
        [['Set Cloud Key', 'Test Connection', 'Disable Cloud']],
      );
      assert.deepEqual(of('warning').slice(1), [], 'only the question about consent');

      cloud.keys.add('new-key');
      stage.typed = 'new-key';
      assert.equal(await run(COMMANDS.setCloudKey), true);
      assert.match(stage.shown.at(-1)?.text ?? '', /^The cloud key for 127\.0\.0\.1:\d+ is set\.$/);
      const envelope = await call();
      assert.equal(envelope.backend, 'cloud');
      assert.equal(envelope.degraded, undefined);
    });

    it('is refused again when it is wrong again, and that is told again', async () => {
      await enable('wrong');
      await call();
      stage.typed = 'wrong-too';
      await run(COMMANDS.setCloudKey);
      await call();
      assert.equal(of('error').length, 2);
    });

    it('shows in no setting, message, log line, status or config', async () => {
      const secret = 'cl0ud-5ecret-4711';
      cloud.keys.add(secret);
      await enable(secret);
      await call();
      cloud.keys.clear();
      await call();
      await run(COMMANDS.testCloud);
      const { config, backends } = stage.api.intern;
      const settings = JSON.stringify(vscode.workspace.getConfiguration('ollamaIntern'));
      const shown = inspect([stage.shown, await stage.log(), config, backends], { depth: 9 });
      assert.ok(!`${settings}${shown}`.includes(secret));
      assert.ok(cloud.requests.some((r) => r.headers.authorization?.includes(secret)));
    });

    it('is forgotten when it is cleared', async () => {
      await enable();
      await run(COMMANDS.clearCloudKey);
      assert.match(
        stage.shown.map(({ text }) => text).join('\n'),
        /The cloud key for .* is cleared\./,
      );
      await eventually(() => status()?.breaker.state === 'misconfigured', 'the missing key');
      const before = cloud.requests.length;
      assert.equal((await call()).degrade_reason, 'cloud_auth_failed');
      assert.equal(cloud.requests.length, before);
      await run(COMMANDS.clearCloudKey);
      assert.match(stage.shown.at(-1)?.text ?? '', /^No cloud key was set for/);
    });

    it('stays when the box is closed, and a wrong one is not kept', async () => {
      await enable();
      stage.typed = undefined;
      assert.equal(await run(COMMANDS.setCloudKey), false);
      stage.typed = 'two words';
      assert.equal(await run(COMMANDS.setCloudKey), false);
      assert.match(stage.shown.at(-1)?.text ?? '', /^A cloud key has no spaces/);
      assert.equal((await call()).backend, 'cloud');
    });
  });

  describe('that does not answer', () => {
    it('is told once over many calls, and once more when it is back', async () => {
      await enable();
      await call();
      await cloud.stop();
      const reasons = (await calls(5)).map(({ backend, degrade_reason }) => {
        assert.equal(backend, 'local');
        return degrade_reason;
      });
      assert.deepEqual(reasons, [
        ...Array<string>(3).fill('cloud_unreachable'),
        ...Array<string>(2).fill('circuit_open'),
      ]);
      const paused = of('warning').filter(({ modal }) => modal === undefined);
      assert.equal(paused.length, 1);
      assert.match(
        paused[0]?.text ?? '',
        /^Ollama Cloud does not answer \(unreachable\)\. Meanwhile your own Ollama answers; next try in \d+ s\.$/,
      );
      assert.deepEqual(paused[0]?.buttons, ['Retry Cloud Now', 'Show Log']);
      assert.deepEqual(of('error'), []);

      // A probe that fails changes nothing that a person would want to hear of.
      await run(COMMANDS.retryCloud);
      assert.match(stage.shown.at(-1)?.text ?? '', /^The next call asks Ollama Cloud again\.$/);
      assert.equal((await call()).degrade_reason, 'cloud_unreachable');
      assert.equal(of('warning').filter(({ modal }) => modal === undefined).length, 1);

      await cloud.start();
      await run(COMMANDS.retryCloud);
      assert.equal((await call()).backend, 'cloud');
      assert.equal(said(/^Ollama Cloud answers again\.$/).length, 1);
      await call();
      assert.equal(said(/answers again/).length, 1);
    });

    it('is told for as long as its limit says', async () => {
      await enable();
      cloud.limit = { kind: 'hourly', retryAfter: '600' };
      assert.equal((await call()).degrade_reason, 'cloud_rate_limited');
      const [, paused] = of('warning');
      assert.match(paused?.text ?? '', /\(rate limited\).*next try in 10 min\.$/);
      cloud.limit = undefined;
    });

    it('is named under the answer, in words', async () => {
      await enable();
      await cloud.stop();
      await stage.file('note.txt', TEXT.text, true);
      await run(COMMANDS.summarizeSelection);
      await eventually(
        () =>
          /instant · local, degraded: cloud_unreachable · .*\nOllama Cloud could not be reached, so your own Ollama answered\./.test(
            stage.answerDocument().getText(),
          ),
        () => stage.answerDocument().getText(),
      );
      await cloud.start();
    });

    it('fails loudly when this machine does not answer either', async () => {
      await enable();
      await cloud.stop();
      await stage.server.stop();
      await stage.file('note.txt', TEXT.text, true);
      await run(COMMANDS.summarizeSelection);
      const error = await eventually(() => of('error')[0], 'the error');
      assert.match(error.text, /Ollama cannot be reached.*Before that: /);
      await cloud.start();
      await stage.server.start();
    });
  });

  describe('the test of the connection', () => {
    it('says beforehand what it sends, and afterwards what answered', async () => {
      await enable();
      const before = cloud.requests.length;
      assert.equal(await run(COMMANDS.testCloud), true);
      assert.match(
        stage.progress.at(-1) ?? '',
        /^Testing 127\.0\.0\.1:\d+: sending it the word "ping"$/,
      );
      assert.match(
        stage.shown.at(-1)?.text ?? '',
        /^127\.0\.0\.1:\d+ answered with gpt-oss:120b-cloud in [\d.]+ m?s, with the stored key\.$/,
      );
      const sent = cloud.requests.slice(before);
      assert.equal(sent.length, 1);
      assert.deepEqual(sent[0]?.body.messages, [{ role: 'user', content: 'ping' }]);
    });

    it('offers to enable a cloud that is off, and sends nothing', async () => {
      assert.equal(await run(COMMANDS.testCloud), false);
      assert.deepEqual(stage.shown.at(-1)?.buttons, ['Enable Cloud']);
      assert.equal(cloud.requests.length, 0);

      stage.typed = CLOUD_KEY;
      choose('Enable Cloud', 'Cloud First');
      assert.equal(await run(COMMANDS.testCloud), true);
      assert.equal(mode()?.globalValue, 'primary');
    });

    it('tells a refused key in one message, with the way out', async () => {
      await enable();
      cloud.keys.clear();
      assert.equal(await run(COMMANDS.testCloud), false);
      assert.equal(of('error').length, 1);
      assert.equal(status()?.breaker.state, 'misconfigured');
      assert.match(of('error')[0]?.text ?? '', /valid key/);
      assert.equal(of('error')[0]?.buttons[0], 'Set Cloud Key');
    });

    it('closes what was held against the cloud when it answers', async () => {
      await enable();
      cloud.keys.clear();
      await call();
      cloud.keys.add(CLOUD_KEY);
      assert.equal(await run(COMMANDS.testCloud), true);
      assert.equal(status()?.breaker.state, 'closed');
      assert.equal((await call()).backend, 'cloud');
    });
  });

  describe('trying it again', () => {
    it('says that it is not paused', async () => {
      await enable();
      await run(COMMANDS.retryCloud);
      assert.match(stage.shown.at(-1)?.text ?? '', /^Ollama Cloud is not paused\.$/);
    });

    it('tests a key that was refused instead', async () => {
      await enable();
      cloud.keys.clear();
      await call();
      cloud.keys.add(CLOUD_KEY);
      await run(COMMANDS.retryCloud);
      assert.match(stage.shown.at(-1)?.text ?? '', /answered with gpt-oss:120b-cloud/);
      assert.equal(status()?.breaker.state, 'closed');
    });
  });
});
