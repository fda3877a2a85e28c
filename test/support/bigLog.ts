import { createWriteStream } from 'node:fs';
import { once } from 'node:events';

export interface BigLogOptions {
  lines: number;
  /** The moment of the last line. Milliseconds since the epoch. */
  now: number;
  /** The same seed makes the same log. */
  seed?: number;
}

const DAY = 24 * 60 * 60_000;
const DAYS = 30;
const GB = 1e9;

/** A job and how large its calls are. */
const JOBS = [
  { job: 'classify', tier: 'instant', tokensIn: 180, tokensOut: 9, share: 22 },
  { job: 'summarize_fast', tier: 'instant', tokensIn: 900, tokensOut: 160, share: 18 },
  { job: 'triage_logs', tier: 'instant', tokensIn: 2_400, tokensOut: 210, share: 8 },
  { job: 'draft', tier: 'workhorse', tokensIn: 700, tokensOut: 320, share: 15 },
  { job: 'extract', tier: 'workhorse', tokensIn: 1_100, tokensOut: 140, share: 9 },
  { job: 'chat', tier: 'workhorse', tokensIn: 1_900, tokensOut: 380, share: 10 },
  { job: 'summarize_deep', tier: 'deep', tokensIn: 6_000, tokensOut: 600, share: 6 },
  { job: 'research', tier: 'deep', tokensIn: 7_500, tokensOut: 850, share: 3 },
  { job: 'embed_search', tier: 'embed', tokensIn: 400, tokensOut: 0, share: 9 },
] as const;
type Job = (typeof JOBS)[number];
type Tier = Job['tier'];

const PROFILES: readonly { name: string; share: number; models: Record<Tier, string> }[] = [
  {
    name: 'dev-rtx5080',
    share: 70,
    models: {
      ...{ instant: 'hermes3:8b', workhorse: 'hermes3:8b' },
      ...{ deep: 'hermes3:8b', embed: 'nomic-embed-text' },
    },
  },
  {
    name: 'dev-rtx5080-qwen3',
    share: 20,
    models: {
      ...{ instant: 'qwen3:8b', workhorse: 'qwen3:8b' },
      ...{ deep: 'qwen3:14b', embed: 'nomic-embed-text' },
    },
  },
  {
    name: 'm5-max',
    share: 10,
    models: {
      ...{ instant: 'qwen3:14b', workhorse: 'qwen3:14b' },
      ...{ deep: 'qwen3:32b', embed: 'nomic-embed-text' },
    },
  },
];
const SURFACES = [
  { name: 'command', share: 35 },
  { name: 'chat', share: 20 },
  { name: 'tool', share: 15 },
  { name: 'language_model', share: 15 },
  { name: 'http', share: 8 },
  { name: 'mcp', share: 7 },
];
const ERRORS = [
  { code: 'cancelled', message: 'The call was cancelled.', share: 35 },
  { code: 'timeout', message: 'The answer took longer than 20 s.', share: 30 },
  { code: 'unreachable', message: 'No Ollama answers on 127.0.0.1:11434.', share: 20 },
  { code: 'model_missing', message: 'The model "qwen3:32b" is not installed.', share: 10 },
  { code: 'out_of_memory', message: 'The model did not fit into memory.', share: 5 },
];

/** Numbers below 1 that look random. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Writes a log as it is after a month of work: calls, failures, what others wrote, and some lines that are broken. */
export async function writeBigLog(path: string, options: BigLogOptions): Promise<void> {
  const file = createWriteStream(path, { mode: 0o600 });
  let batch: string[] = [];
  for (const line of bigLogLines(options)) {
    if (batch.push(line) < 2_000) continue;
    if (!file.write(batch.join(''))) await once(file, 'drain');
    batch = [];
  }
  file.end(batch.join(''));
  await once(file, 'finish');
}

/** Each with its end. */
export function* bigLogLines({ lines, now, seed = 1 }: BigLogOptions): Generator<string> {
  const random = randomFrom(seed);
  const pick = <T extends { share: number }>(from: readonly T[]): T => {
    let left = random() * from.reduce((sum, { share }) => sum + share, 0);
    return from.find(({ share }) => (left -= share) < 0) ?? (from[0] as T);
  };
  const about = (value: number): number => Math.round(value * (0.4 + 1.2 * random()));
  const id = (n: number): string =>
    `${Math.floor(random() * 2 ** 32)
      .toString(16)
      .padStart(8, '0')}-${n.toString(16).padStart(12, '0')}`;
  const step = (DAYS * DAY) / lines;

  for (let n = 0; n < lines; n++) {
    // More by day than by night, and the last line is of now.
    const at = n === lines - 1 ? now : now - (lines - 1 - n + random() * 0.9) * step;
    const ts = new Date(Math.round(at)).toISOString();
    const kind = random();
    const profile = pick(PROFILES);
    if (kind < 0.002) {
      yield line({ kind: 'eviction', ts, model: profile.models.deep, backend: 'local' });
      continue;
    }
    if (kind < 0.004) {
      const [from, to] = random() < 0.5 ? ['closed', 'open'] : ['open', 'half_open'];
      yield line({ kind: 'breaker', ts, backend: 'cloud', from, to, reason: 'cloud_5xx' });
      continue;
    }
    if (kind < 0.0041) {
      yield '{"kind":"call","ts":"2026-\n';
      continue;
    }
    const job = pick(JOBS);
    const tokensIn = about(job.tokensIn);
    const tokensOut = about(job.tokensOut);
    const rate = Math.round((20 + 60 * random()) * 10) / 10;
    const first = about(tokensIn / 4 + 60);
    const writing = Math.round((tokensOut / rate) * 1000);
    if (kind < 0.01) {
      yield line({
        ...{ kind: 'call', ts, tool: `ollama_${job.job}` },
        envelope: {
          ...{ tier_used: job.tier, model: profile.models[job.tier] },
          ...{ hardware_profile: profile.name, tokens_in: tokensIn, tokens_out: tokensOut },
          ...{ elapsed_ms: first + writing, residency: { in_vram: true, evicted: false } },
        },
      });
      continue;
    }
    const surface = pick(SURFACES).name;
    if (kind < 0.04) {
      const { code, message } = pick(ERRORS);
      yield line({
        ...{ kind: code === 'timeout' ? 'timeout' : 'error', ts, call_id: id(n), tool: job.job },
        ...{ surface, code, message, tier: job.tier, model: profile.models[job.tier] },
        ...{ backend: 'local', attempts: [], queued_ms: 0, hardware_profile: profile.name },
        elapsed_ms: code === 'timeout' ? 20_000 + about(40) : about(2_000),
      });
      continue;
    }
    const isEmbed = job.tier === 'embed';
    const cloud = !isEmbed && random() < 0.15;
    const isLower = job.tier === 'deep' && random() < 0.15;
    const isDegraded = !cloud && !isEmbed && !isLower && random() < 0.035;
    const tier = isLower ? 'workhorse' : job.tier;
    const model = cloud ? 'minimax-m3:cloud' : profile.models[tier];
    const queued = random() < 0.08 ? about(700) : 0;
    const load = !cloud && random() < 0.04 ? about(9_000) : 0;
    const failed = isLower || isDegraded ? about(6_000) : 0;
    const elapsed = queued + failed + load + first + writing;
    const size = Math.round(6.6 * GB);
    yield line({
      ...{ kind: 'call', ts, tool: job.job },
      envelope: {
        ...{ call_id: id(n), job: job.job, surface, tier_used: tier, model },
        ...{ hardware_profile: profile.name, backend: cloud ? 'cloud' : 'local' },
        ...{ tokens_in: tokensIn, tokens_out: isEmbed ? undefined : tokensOut },
        elapsed_ms: elapsed,
        residency: cloud
          ? null
          : { in_vram: true, size_bytes: size, size_vram_bytes: size, evicted: false },
        ...(isDegraded && { degraded: true, degrade_reason: 'cloud_timeout' }),
        ...(isLower && { fallback_from: 'deep' }),
        attempts: [
          ...(failed > 0
            ? [
                isLower
                  ? { backend: 'local', model: profile.models.deep, outcome: 'timeout' }
                  : { backend: 'cloud', model: 'minimax-m3:cloud', outcome: 'timeout' },
              ].map((attempt) => ({ ...attempt, elapsed_ms: failed }))
            : []),
          {
            ...{ backend: cloud ? 'cloud' : 'local', model, outcome: 'answer' },
            elapsed_ms: elapsed - queued - failed,
          },
        ],
        ...{ queued_ms: queued, load_ms: load, first_token_ms: isEmbed ? undefined : first },
        ...{ tokens_per_second: isEmbed ? undefined : rate, num_ctx: 8_192 },
        ...(random() < 0.01 && { truncated: true }),
        done_reason: random() < 0.02 ? 'length' : 'stop',
        cost_usd: cloud ? undefined : 0,
        warnings: isDegraded ? ['The cloud did not answer in time, so a local model did.'] : [],
      },
    });
  }
}

function line(fields: Record<string, unknown>): string {
  return `${JSON.stringify(fields)}\n`;
}
