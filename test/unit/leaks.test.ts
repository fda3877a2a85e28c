import assert from 'node:assert/strict';
import { CLOUD_KEY, type CloudServer } from '../support/ollama/cloud';
import { faults, type OllamaServer } from '../support/ollama/server';
import { Stage, TEXT } from './stage';
import { failure } from './support';

const MOST_TURNS = 5_000;

function resources(): Record<string, number> {
  const counts: Record<string, number> = { TCPSocketWrap: 0, Timeout: 0 };
  for (const name of process.getActiveResourcesInfo()) {
    if (name in counts) counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

/** Connections close on both sides, which takes a few turns. */
async function assertAsBefore(before: Record<string, number>): Promise<void> {
  const most = Object.entries(before);
  const isAsBefore = (): boolean => {
    const now = resources();
    return most.every(([name, count]) => (now[name] ?? 0) <= count);
  };
  for (let turns = 0; turns < MOST_TURNS && !isAsBefore(); turns++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  assert.ok(isAsBefore(), `${JSON.stringify(resources())} instead of ${JSON.stringify(before)}`);
}

describe('after dispose() nothing stays', () => {
  const stage = Stage.forEach();
  let local: OllamaServer;
  let cloud: CloudServer;
  let before: Record<string, number>;

  beforeEach(async () => {
    local = await stage().serve();
    cloud = await stage().serveCloud();
    before = resources();
  });

  const hire = () =>
    stage().hire(
      local,
      { cloud: { mode: 'primary', host: cloud.url } },
      { cloudKeys: () => Promise.resolve(CLOUD_KEY) },
    );
  const askBoth = (intern: ReturnType<typeof hire>) => [
    intern.run('summarize_fast', { text: TEXT }, { model: 'cloud/minimax-m3:cloud' }),
    intern.run('summarize_fast', { text: TEXT }, { model: 'local/hermes3:8b' }),
  ];

  it('of calls that were answered', async () => {
    const intern = hire();
    await Promise.all([...askBoth(intern), ...askBoth(intern)]);
    assert.ok((resources()['TCPSocketWrap'] ?? 0) > (before['TCPSocketWrap'] ?? 0));
    await intern.dispose();
    await assertAsBefore(before);
  });

  it('of calls and questions that are on their way', async () => {
    const intern = hire();
    const isPrompt = (r: { path: string }): boolean => r.path === '/api/chat';
    for (const server of [local, cloud]) {
      server.faults.next({ ...faults.hang(), match: isPrompt });
      server.faults.next({ ...faults.hang(), match: (r) => r.body.model === 'no-such-model' });
    }
    const calls = askBoth(intern).map(failure);
    await Promise.all([local, cloud].map((server) => server.waitForRequest(isPrompt)));
    for (const backend of ['local', 'cloud']) {
      const model = `${backend}/no-such-model`;
      calls.push(failure(intern.run('summarize_fast', { text: TEXT }, { model })));
    }
    await Promise.all(
      [local, cloud].map((server) =>
        server.waitForRequest((r) => r.body.model === 'no-such-model'),
      ),
    );
    await intern.dispose();
    for (const { code } of await Promise.all(calls)) assert.equal(code, 'cancelled');
    await assertAsBefore(before);
  });

  it('of connections that other network settings have retired', async () => {
    const intern = hire();
    await Promise.all(askBoth(intern));
    cloud.faults.next({ ...faults.hang(), match: (r) => r.path === '/api/chat' });
    const [onCloud] = askBoth(intern).map((call) =>
      call.then(
        () => undefined,
        () => 'cut',
      ),
    );
    await cloud.waitForRequest((r) => r.path === '/api/chat' && r.endedAt === undefined);
    intern.configure(
      stage().settingsFor(local, {
        cloud: { mode: 'primary', host: cloud.url },
        network: { headers: { 'x-team': 'a' } },
      }),
    );
    await Promise.all(askBoth(intern));
    await intern.dispose();
    assert.equal(await onCloud, 'cut');
    await assertAsBefore(before);
  });

  it('and retired connections close by themselves once their calls have ended', async () => {
    const intern = hire();
    await Promise.all(askBoth(intern));
    const one = resources();
    for (let i = 0; i < 5; i++) {
      intern.configure(
        stage().settingsFor(local, {
          cloud: { mode: 'primary', host: cloud.url },
          network: { headers: { 'x-team': String(i) } },
        }),
      );
      await Promise.all(askBoth(intern));
    }
    await assertAsBefore(one);
  });
});
