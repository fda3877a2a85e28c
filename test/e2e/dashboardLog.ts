/** A log as it is after some work: what the dashboard has to show well. */

type Fields = Record<string, unknown>;

const MINUTE = 60_000;
const GB = 1e9;
const inVram = { in_vram: true, size_bytes: 6.6 * GB, size_vram_bytes: 6.6 * GB, evicted: false };
const INSTANT = { tier_used: 'instant', model: 'hermes3:8b' };
const DEEP = { tier_used: 'deep', model: 'qwen3:14b' };

/** Never to be seen outside the log: the dashboard shows numbers and names only. */
export const SECRET = 'a prompt that somebody else logged';

/** What the product logs when it finds that a model had to make room. */
export function evictionLine(model: string, at: number): string {
  return line({ kind: 'eviction', ts: new Date(at).toISOString(), model });
}

export function sampleLog(now: number): string {
  let minutes = 0;
  const at = (gap: number): string => new Date(now - (minutes += gap) * MINUTE).toISOString();
  const lines = [
    call(at(1), 'summarize_fast', { ...INSTANT, tokens_in: 412, tokens_out: 188 }),
    call(at(3), 'draft', {
      ...{ tier_used: 'workhorse', model: 'qwen3:8b', tokens_in: 1204, tokens_out: 96 },
      ...{ elapsed_ms: 26_400, load_ms: 20_100, first_token_ms: 900, tokens_per_second: 18.2 },
    }),
    failure(at(4), 'error', 'summarize_deep', {
      code: 'model_missing',
      message: 'The model "qwen3:32b" is not installed on 127.0.0.1:11434.',
      ...{ tier: 'deep', model: 'qwen3:32b', elapsed_ms: 38 },
    }),
    call(at(9), 'summarize_deep', {
      ...{ tier_used: 'workhorse', model: 'qwen3:8b', fallback_from: 'deep', degraded: true },
      ...{ degrade_reason: 'deep ran out of memory', tokens_in: 9204, tokens_out: 611 },
      ...{ elapsed_ms: 41_700, first_token_ms: 7_300, tokens_per_second: 37.4 },
      attempts: [
        { backend: 'local', model: 'qwen3:14b', outcome: 'out_of_memory', elapsed_ms: 12_400 },
        { backend: 'local', model: 'qwen3:8b', outcome: 'answer', elapsed_ms: 29_300 },
      ],
      warnings: ['The model qwen3:14b did not fit into memory, so qwen3:8b answered.'],
    }),
    call(at(2), 'classify', {
      ...{ ...INSTANT, tokens_in: 96, tokens_out: 4, elapsed_ms: 310, first_token_ms: 190 },
      queued_ms: 60,
    }),
    failure(at(11), 'timeout', 'summarize_deep', {
      message: 'The answer took longer than 2 min.',
      ...{ tier: 'deep', model: 'qwen3:14b', elapsed_ms: 120_000, queued_ms: 1_400 },
    }),
    failure(at(1), 'error', 'draft', {
      code: 'cancelled',
      message: 'The call was cancelled.',
      ...{ tier: 'workhorse', model: 'qwen3:8b', elapsed_ms: 3_900 },
    }),
    call(at(16), 'summarize_fast', {
      ...{ ...INSTANT, tokens_in: 7_980, tokens_out: 203, truncated: true, elapsed_ms: 8_300 },
      ...{ first_token_ms: 3_400, tokens_per_second: 43.9 },
    }),
    call(at(7), 'embed_search', {
      ...{ tier_used: 'embed', model: 'nomic-embed-text:latest', tokens_in: 512, tokens_out: 0 },
      ...{ elapsed_ms: 84, tokens_per_second: undefined, first_token_ms: undefined },
    }),
  ];
  for (let index = 0; index < 12; index++) {
    lines.push(
      call(at(6), index % 3 ? 'summarize_fast' : 'summarize_deep', {
        ...(index % 3 ? INSTANT : DEEP),
        ...{ tokens_in: 300 + 131 * index, tokens_out: 90 + 17 * index },
        ...{ elapsed_ms: 4_200 + 370 * index, first_token_ms: 420 + 60 * index },
        queued_ms: index % 4 === 0 ? 900 : 0,
        load_ms: index % 5 === 0 ? 1_100 : 0,
      }),
    );
  }
  return lines.reverse().join('');
}

function call(ts: string, tool: string, fields: Fields): string {
  const envelope = {
    ...{ call_id: `call ${ts}`, job: tool, surface: 'command', backend: 'local' },
    ...{ hardware_profile: 'dev-rtx5080-hermes', elapsed_ms: 5_100, residency: inVram },
    ...{ attempts: [], queued_ms: 0, load_ms: 0, first_token_ms: 600, tokens_per_second: 44.1 },
    ...{ num_ctx: 8192, done_reason: 'stop', cost_usd: 0, warnings: [] },
    ...fields,
    prompt: SECRET,
  };
  return line({ kind: 'call', ts, tool, envelope });
}

function failure(ts: string, kind: 'error' | 'timeout', tool: string, fields: Fields): string {
  return line({
    kind,
    ts,
    tool,
    call_id: `call ${ts}`,
    backend: 'local',
    prompt: SECRET,
    ...fields,
  });
}

function line(fields: Fields): string {
  return `${JSON.stringify(fields)}\n`;
}
