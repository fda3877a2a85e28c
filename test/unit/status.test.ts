import assert from 'node:assert/strict';
import {
  type Backend,
  BACKEND_NAMES,
  type BackendStatus,
  type Envelope,
  InternError,
  type Phase,
  resolveConfig,
  routeOf,
  type RunningCall,
  type Settings,
} from '../../src/core';
import { COMMANDS } from '../../src/host/ids';
import {
  breakerLine,
  degradedText,
  detailsOf,
  formatWait,
  linksOf,
  promptsGo,
  type Status,
  pausedText,
  standIn,
  type StatusInput,
  statusOf,
  whereText,
} from '../../src/host/status';

const CLOUD: Settings = { cloud: { mode: 'primary', model: 'gpt-oss:120b-cloud' } };
const FALLBACK: Settings = { cloud: { mode: 'fallback' } };
const GATEWAY: Settings = {
  gateway: { host: '127.0.0.1:4000' },
  tiers: { workhorse: 'gateway/qwen', instant: 'gateway/qwen', deep: 'gateway/qwen' },
};

const HOSTS: Record<Backend, string> = {
  local: 'http://127.0.0.1:11434',
  cloud: 'https://ollama.com',
  gateway: 'http://127.0.0.1:4000',
};

const backend = (name: Backend, more: Partial<BackendStatus> = {}): BackendStatus => ({
  backend: name,
  host: HOSTS[name],
  breaker: { state: 'closed', failures: 0 },
  running: 0,
  waiting: 0,
  error: undefined,
  answered: false,
  key: name === 'cloud' ? 'stored' : undefined,
  ...more,
});

const failure = (code: InternError['code'], status?: number): InternError =>
  new InternError({
    code,
    message: `It failed: ${code}.`,
    hint: 'Do something.',
    details: { partial: false, ...(status && { status }) },
  });

const envelope = (more: Partial<Envelope> = {}): Envelope => ({
  call_id: 'c1',
  job: 'summarize_fast',
  surface: 'command',
  result: '',
  tier_used: 'instant',
  model: 'hermes3:8b',
  hardware_profile: 'dev-rtx5080',
  backend: 'local',
  tokens_in: 412,
  tokens_out: 188,
  elapsed_ms: 5_000,
  residency: null,
  attempts: [],
  queued_ms: 0,
  load_ms: 0,
  warnings: [],
  ...more,
});

const call = (phase?: Phase, more: Partial<RunningCall> = {}): RunningCall => ({
  call_id: 'c1',
  job: 'summarize_fast',
  backend: 'local',
  model: 'hermes3:8b',
  started_at: 0,
  phase,
  ...more,
});

function input(
  settings: Settings = {},
  more: Partial<Omit<StatusInput, 'config'>> = {},
): StatusInput {
  const config = resolveConfig(settings, {});
  return {
    config,
    backends: [
      backend('local'),
      ...(config.cloud.mode === 'off' ? [] : [backend('cloud')]),
      ...(config.gateway ? [backend('gateway')] : []),
    ],
    running: [],
    latest: undefined,
    failure: undefined,
    ...more,
  };
}

const OPEN = { state: 'open', failures: 0, reason: 'rate_limited', retry_in_ms: 17_400 } as const;
const HALF_OPEN = { state: 'half_open', failures: 0, reason: 'rate_limited' } as const;
const MISCONFIGURED = { state: 'misconfigured', failures: 0, reason: 'auth_failed' } as const;

describe('the status bar', () => {
  const cases: [
    what: string,
    input: StatusInput,
    expected: Pick<Status, 'kind' | 'text' | 'icon' | 'tone'>,
  ][] = [
    [
      'the model of this machine before the first call',
      input(),
      { kind: 'local', text: 'local · hermes3:8b', icon: 'server-process', tone: 'plain' },
    ],
    [
      'the model of the latest call',
      input({ profile: 'm5-max' }, { latest: envelope({ tier_used: 'deep', model: 'qwen3:32b' }) }),
      { kind: 'local', text: 'local · qwen3:32b', icon: 'server-process', tone: 'plain' },
    ],
    [
      'the cloud that is asked first, without saying cloud twice',
      input(CLOUD),
      { kind: 'cloud', text: 'cloud · gpt-oss:120b', icon: 'cloud', tone: 'plain' },
    ],
    [
      'this machine when the cloud is only the fallback',
      input(FALLBACK),
      { kind: 'local', text: 'local · hermes3:8b', icon: 'server-process', tone: 'plain' },
    ],
    [
      'the gateway of a tier',
      input(GATEWAY),
      { kind: 'gateway', text: 'gateway · qwen', icon: 'server', tone: 'plain' },
    ],
    [
      'a long name by its end',
      input({ tiers: { workhorse: 'hf.co/org/repo:Q4_K_M' } }),
      { kind: 'local', text: 'local · repo:Q4_K_M', icon: 'server-process', tone: 'plain' },
    ],
    [
      'that a setting could not be used',
      input({ profile: 'none-such' }),
      { kind: 'local', text: 'local · hermes3:8b', icon: 'warning', tone: 'plain' },
    ],
    [
      'a paused cloud with the seconds until the next try',
      input(CLOUD, { backends: [backend('local'), backend('cloud', { breaker: OPEN })] }),
      {
        kind: 'degraded',
        text: 'degraded · rate limited · 18 s',
        icon: 'warning',
        tone: 'warning',
      },
    ],
    [
      'a paused cloud whose time is over, until a call was answered',
      input(CLOUD, { backends: [backend('local'), backend('cloud', { breaker: HALF_OPEN })] }),
      { kind: 'degraded', text: 'degraded · rate limited', icon: 'warning', tone: 'warning' },
    ],
    [
      'a cloud that failed once',
      input(CLOUD, {
        backends: [backend('local'), backend('cloud', { error: failure('timeout') })],
        latest: envelope({ degraded: true, degrade_reason: 'cloud_timeout' }),
      }),
      { kind: 'degraded', text: 'degraded · timed out', icon: 'warning', tone: 'warning' },
    ],
    [
      'this machine failing while the cloud takes over',
      input(FALLBACK, {
        backends: [backend('local', { error: failure('server', 500) }), backend('cloud')],
      }),
      { kind: 'degraded', text: 'degraded · server error', icon: 'warning', tone: 'warning' },
    ],
    [
      'nothing of a fallback that nobody needs now',
      input(FALLBACK, { backends: [backend('local'), backend('cloud', { breaker: OPEN })] }),
      { kind: 'local', text: 'local · hermes3:8b', icon: 'server-process', tone: 'plain' },
    ],
    [
      'no degradation where nothing could answer instead',
      input({}, { backends: [backend('local', { error: failure('timeout') })] }),
      { kind: 'local', text: 'local · hermes3:8b', icon: 'server-process', tone: 'plain' },
    ],
    [
      'a cloud without a key, whether it is first or not',
      input(FALLBACK, {
        backends: [backend('local'), backend('cloud', { breaker: MISCONFIGURED, key: 'none' })],
      }),
      { kind: 'misconfigured', text: 'cloud: no key', icon: 'error', tone: 'error' },
    ],
    [
      'a refused key',
      input(CLOUD, { backends: [backend('local'), backend('cloud', { breaker: MISCONFIGURED })] }),
      { kind: 'misconfigured', text: 'cloud: key refused', icon: 'error', tone: 'error' },
    ],
    [
      'a server that wants a token',
      input(
        {},
        {
          backends: [backend('local', { breaker: MISCONFIGURED })],
          failure: failure('auth_failed', 401),
        },
      ),
      { kind: 'misconfigured', text: 'Ollama refused', icon: 'error', tone: 'error' },
    ],
    [
      'Ollama that is not running',
      input(
        {},
        {
          backends: [backend('local', { error: failure('unreachable') })],
          failure: failure('unreachable'),
        },
      ),
      { kind: 'offline', text: 'Ollama offline', icon: 'warning', tone: 'warning' },
    ],
    [
      'that nothing answers rather than that the cloud has no key',
      input(CLOUD, {
        backends: [
          backend('local', { error: failure('unreachable') }),
          backend('cloud', { breaker: MISCONFIGURED }),
        ],
        failure: failure('unreachable'),
      }),
      { kind: 'offline', text: 'Ollama offline', icon: 'warning', tone: 'warning' },
    ],
    [
      'a gateway that is not running, and not Ollama',
      input(GATEWAY, {
        backends: [backend('local'), backend('gateway', { error: failure('unreachable') })],
        failure: failure('unreachable'),
      }),
      { kind: 'offline', text: 'gateway offline', icon: 'warning', tone: 'warning' },
    ],
    [
      'a model that is missing',
      input({}, { failure: failure('model_missing', 404) }),
      { kind: 'failed', text: 'model missing', icon: 'warning', tone: 'warning' },
    ],
    [
      'the place in the queue',
      input({}, { running: [call({ phase: 'queued', position: 2 })] }),
      { kind: 'queued', text: 'queued, 2nd', icon: 'loading~spin', tone: 'plain' },
    ],
    [
      'where the latest call is, and how many run beside it',
      input({}, { running: [call(), call({ phase: 'queued', position: 1 })] }),
      { kind: 'queued', text: 'queued, next +1', icon: 'loading~spin', tone: 'plain' },
    ],
    [
      'the seconds of a load',
      input(
        {},
        {
          running: [call({ phase: 'loading', model: 'm', elapsed_ms: 3_000, expected_ms: 20_000 })],
        },
      ),
      {
        kind: 'loading',
        text: 'loading m, 3 s of about 20 s',
        icon: 'loading~spin',
        tone: 'plain',
      },
    ],
    [
      'that the cloud reads, in the colour of what is still wrong',
      input(CLOUD, {
        running: [call({ phase: 'reading', model: 'm' }, { backend: 'cloud', model: 'm:cloud' })],
        backends: [backend('local'), backend('cloud', { breaker: HALF_OPEN })],
      }),
      { kind: 'working', text: 'cloud · m', icon: 'loading~spin', tone: 'warning' },
    ],
    [
      'that a local model writes',
      input({}, { running: [call({ phase: 'writing', model: 'm', tokens: 4 })] }),
      { kind: 'working', text: 'writing · hermes3:8b', icon: 'loading~spin', tone: 'plain' },
    ],
  ];
  for (const [what, given, expected] of cases) {
    it(`shows ${what}`, () => {
      const { kind, text, icon, tone, label } = statusOf(given);
      assert.deepEqual({ kind, text, icon, tone }, expected);
      assert.match(label, /^Ollama Intern: \S.*\S$/);
      assert.ok(text.length <= 32, `${text} is too long for the bar`);
    });
  }

  it('forgets a call of a backend or model that calls no longer go to', () => {
    const cloud = envelope({ backend: 'cloud', model: 'gpt-oss:120b-cloud' });
    assert.equal(statusOf(input(CLOUD, { latest: cloud })).text, 'cloud · gpt-oss:120b');
    assert.equal(statusOf(input({}, { latest: cloud })).text, 'local · hermes3:8b');
    const local = envelope({ model: 'hermes3:8b' });
    assert.equal(
      statusOf(input({ profile: 'm5-max' }, { latest: local })).text,
      'local · qwen3:14b',
    );
  });

  it('shows the cloud where a local server passed the call on', () => {
    const tiers = { instant: 'gpt-oss:20b-cloud' };
    const passed = envelope({ backend: 'cloud', model: 'gpt-oss:20b-cloud' });
    assert.equal(
      statusOf(input({ ...FALLBACK, tiers }, { latest: passed })).text,
      'cloud · gpt-oss:20b',
    );
  });

  it('counts down only while it shows a pause', () => {
    const paused = { backends: [backend('local'), backend('cloud', { breaker: OPEN })] };
    assert.equal(statusOf(input(CLOUD, paused)).retryInMs, 17_400);
    assert.equal(statusOf(input(CLOUD, { ...paused, running: [call()] })).retryInMs, undefined);
    assert.equal(statusOf(input(CLOUD)).retryInMs, undefined);
  });

  it('reads no seconds to somebody who listens', () => {
    const { label } = statusOf(
      input(CLOUD, { backends: [backend('local'), backend('cloud', { breaker: OPEN })] }),
    );
    assert.equal(label, 'Ollama Intern: degraded, Ollama Cloud rate limited');
  });

  it('writes a wait in seconds, and a long one in minutes', () => {
    assert.equal(formatWait(1), '1 s');
    assert.equal(formatWait(20_000), '20 s');
    assert.equal(formatWait(90_000), '90 s');
    assert.equal(formatWait(91_000), '2 min');
    assert.equal(formatWait(3_600_000), '60 min');
  });
});

describe('the tooltip of the status bar', () => {
  const line = (given: StatusInput, start: string): string | undefined =>
    detailsOf(given)
      .flat()
      .find((text) => text.startsWith(start));

  it('tells of every backend where it is, how it is, and what it does', () => {
    const given = input(CLOUD, {
      backends: [
        backend('local', { running: 1, waiting: 2 }),
        backend('cloud', { breaker: OPEN, error: failure('server', 429) }),
      ],
    });
    assert.equal(line(given, 'local'), 'local · 127.0.0.1:11434 · 1 running, 2 waiting');
    assert.equal(
      line(given, 'cloud'),
      'cloud · https://ollama.com · paused: rate limited, next try in 18 s',
    );
    assert.ok(line(given, 'It failed: server. Do something.'));
  });

  const states: [Partial<BackendStatus>, RegExp][] = [
    [{}, /ollama\.com$/],
    [{ key: 'environment' }, /ollama\.com · key of OLLAMA_API_KEY$/],
    [{ error: failure('unreachable') }, /last call failed: unreachable$/],
    [{ breaker: HALF_OPEN }, /paused: rate limited, the next call tries it$/],
    [{ breaker: MISCONFIGURED, key: 'none' }, /not used: no key$/],
    [{ breaker: MISCONFIGURED }, /not used: key refused$/],
  ];
  for (const [state, text] of states) {
    it(`says ${text.source}`, () => {
      const given = input(CLOUD, { backends: [backend('local'), backend('cloud', state)] });
      assert.match(line(given, 'cloud') ?? '', text);
    });
  }

  it('says why the last answer is degraded, in words', () => {
    const latest = envelope({ degraded: true, degrade_reason: 'cloud_timeout' });
    const lines = detailsOf(input(CLOUD, { latest })).flat();
    assert.ok(lines.some((text) => text.includes('local, degraded: cloud_timeout')));
    assert.ok(lines.includes('Ollama Cloud did not answer in time, so your own Ollama answered.'));
  });

  it('offers what fits the state', () => {
    const commands = (given: StatusInput) => linksOf(given).map(({ command }) => command);
    const cloud = (state: Partial<BackendStatus>) =>
      commands(input(CLOUD, { backends: [backend('local'), backend('cloud', state)] }));
    assert.ok(commands(input()).includes(COMMANDS.enableCloud));
    assert.ok(!commands(input()).includes(COMMANDS.testCloud));
    assert.ok(cloud({}).includes(COMMANDS.disableCloud));
    assert.ok(!cloud({}).includes(COMMANDS.retryCloud));
    assert.equal(cloud({ breaker: OPEN })[0], COMMANDS.retryCloud);
    assert.equal(cloud({ breaker: MISCONFIGURED })[0], COMMANDS.setCloudKey);
    for (const command of [COMMANDS.showDashboard, COMMANDS.selectProfile, COMMANDS.showLog]) {
      assert.ok(cloud({}).includes(command));
    }
  });

  const places: [Settings, string][] = [
    [{}, 'Nothing leaves this machine.'],
    [{ host: 'http://gpu-box:11434' }, 'Prompts go to gpu-box:11434.'],
    [CLOUD, 'Prompts go to https://ollama.com.'],
    [FALLBACK, 'When a call fails, its prompt goes to https://ollama.com.'],
    [
      { ...CLOUD, host: 'http://gpu-box:11434' },
      'Prompts go to https://ollama.com. When a call fails, its prompt goes to gpu-box:11434.',
    ],
    [GATEWAY, 'Prompts go to the gateway 127.0.0.1:4000.'],
    [{ gateway: { host: '127.0.0.1:4000' } }, 'Nothing leaves this machine.'],
    [
      {
        gateway: { host: '127.0.0.1:4000' },
        fallbacks: { '*': ['gateway/qwen'] },
      },
      'When a call fails, its prompt goes to the gateway 127.0.0.1:4000.',
    ],
    [{ ...FALLBACK, tiers: { instant: 'gpt-oss:20b-cloud' } }, 'Prompts go to https://ollama.com.'],
    [{ tiers: { instant: 'gpt-oss:20b-cloud' } }, 'Nothing leaves this machine.'],
    // They are refused while the cloud is off.
    [{ host: 'https://ollama.com' }, 'Nothing leaves this machine.'],
    [{ ...GATEWAY, gateway: { host: 'https://ollama.com' } }, 'Nothing leaves this machine.'],
  ];
  for (const [settings, text] of places) {
    it(`says where prompts go: ${text}`, () => {
      assert.equal(promptsGo(resolveConfig(settings, {})), text);
    });
  }

  const local = 'hermes3:8b (local)';
  const cloud = 'gpt-oss:120b-cloud (cloud)';
  const named: [string, Settings, Backend, string][] = [
    ['this machine alone', {}, 'local', local],
    ['a server of one’s own', { host: 'http://gpu-box:11434' }, 'local', local],
    ['the cloud, and then this machine', CLOUD, 'cloud', cloud],
    ['this machine while the cloud is paused', CLOUD, 'local', local],
    [
      'this machine, and then the cloud',
      { cloud: { mode: 'fallback', model: 'gpt-oss:120b-cloud' } },
      'local',
      `${local}; when that fails, ${cloud}`,
    ],
    [
      'the cloud, and then a server of one’s own',
      { ...CLOUD, host: 'http://gpu-box:11434' },
      'cloud',
      `${cloud}; when that fails, ${local}`,
    ],
    [
      'a gateway after this machine',
      { gateway: { host: 'https://gate.example' }, fallbacks: { '*': ['gateway/big'] } },
      'local',
      `${local}; when that fails, big (gateway)`,
    ],
    [
      'the cloud itself as the server',
      { cloud: { mode: 'fallback' }, host: 'https://ollama.com' },
      'local',
      'hermes3:8b (cloud)',
    ],
    [
      'a model that the server passes on',
      { ...FALLBACK, tiers: { workhorse: 'gpt-oss:120b-cloud' } },
      'local',
      cloud,
    ],
  ];
  for (const [what, settings, backend, text] of named) {
    it(`names what would run and where: ${what}`, () => {
      const config = resolveConfig(settings, {});
      const now = routeOf(config, 'workhorse').find((target) => target.backend === backend);
      assert.ok(now);
      assert.equal(whereText(config, 'workhorse', now), text);
    });
  }
});

describe('what is told of a backend that is paused', () => {
  const chain = (first: string): Settings => ({
    gateway: { host: '127.0.0.1:4000' },
    fallbacks: { '*': [first] },
  });
  const rows: [Settings, Backend, string][] = [
    [CLOUD, 'cloud', 'Meanwhile your own Ollama answers;'],
    [{ ...CLOUD, ...GATEWAY }, 'cloud', 'Meanwhile the gateway answers;'],
    [FALLBACK, 'cloud', 'It is not asked;'],
    [FALLBACK, 'local', 'Meanwhile Ollama Cloud answers;'],
    [{ ...FALLBACK, ...chain('gateway/qwen') }, 'local', 'Meanwhile the gateway answers;'],
    [chain('gateway/qwen'), 'gateway', 'It is not asked;'],
  ];
  for (const [settings, name, words] of rows) {
    it(`${name} with ${JSON.stringify(settings)}: ${words}`, () => {
      const text = pausedText(backend(name, { breaker: OPEN }), resolveConfig(settings, {}));
      assert.equal(
        text,
        `${BACKEND_NAMES[name]} does not answer (rate limited). ${words} next try in 18 s.`,
      );
    });
  }

  it('is nothing for a server that another model of it stands in for', () => {
    assert.equal(standIn('local', resolveConfig({}, {})), undefined);
    assert.equal(standIn('local', resolveConfig(chain('local/tiny'), {})), undefined);
    assert.equal(standIn('local', resolveConfig(chain('gateway/qwen'), {})), 'gateway');
  });
});

describe('a line about a degraded answer', () => {
  const open = { state: 'open', failures: 3, reason: 'rate_limited', retry_in_ms: 13_400 } as const;
  const config = resolveConfig(CLOUD, {});

  it('says why, and when the backend is tried again', () => {
    const backends = [backend('cloud', { breaker: open }), backend('local')];
    assert.equal(
      degradedText({ config, backends }),
      'degraded: cloud rate limited, next try in 14 s',
    );
  });

  it('is silent while all is well, and about a backend that nobody waits for', () => {
    assert.equal(
      degradedText({ config, backends: [backend('cloud'), backend('local')] }),
      undefined,
    );
    const local = {
      config: resolveConfig({}, {}),
      backends: [backend('local', { breaker: open })],
    };
    assert.equal(degradedText(local), undefined);
  });
});

describe('a line about a breaker', () => {
  it('says from what to what, why, and until when', () => {
    const before = { state: 'closed', failures: 2 } as const;
    assert.equal(
      breakerLine(backend('cloud', { breaker: OPEN }), before),
      'cloud: closed → open (rate limited), next try in 18 s',
    );
    assert.equal(breakerLine(backend('cloud'), OPEN), 'cloud: open → closed');
  });
});
