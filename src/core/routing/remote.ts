import type { Clock } from '../clock';
import type { TierConfig } from '../config';
import { InternError } from '../errors';
import type { ModelInfo } from '../models/catalogue';
import { thinkFor } from '../models/thinking';
import type { ChatRequest, OllamaClient } from '../ollama/client';
import type { AttemptListener, BackendAnswer, Prompted } from './call';
import { Deadline } from './deadline';
import { DEFAULT_REPEAT_PENALTY } from './profiles';
import { Writing } from './writing';

export type ChatClient = Pick<OllamaClient, 'chat' | 'baseUrl'>;

export interface RemoteTarget {
  /** As the server knows it. */
  model: string;
  /** As the person knows it. */
  label: string;
  numCtx: number;
  tier: TierConfig;
  info: ModelInfo;
  budgetMs: number;
  /** The setting that holds the budget. */
  budgetSetting: string;
}

/**
 * Runs a call on a server that somebody else keeps: nothing is known of its memory, so the budget runs from the
 * moment of sending. It is the time to the first byte and then the longest silence of a streamed answer, and the
 * whole time of any other.
 */
export async function runRemotely(
  client: ChatClient,
  clock: Clock,
  call: Prompted,
  target: RemoteTarget,
  listener: AttemptListener,
): Promise<BackendAnswer> {
  const deadline = new Deadline(clock, listener.signal);
  const sentAt = clock.monotonic();
  const { label: model, budgetMs } = target;
  const { streamed } = call;
  const writing = new Writing(clock, deadline, { model, budgetMs, streamed }, listener);
  const timeOut = (): void => deadline.abort(timeoutError(target, writing.isShown));
  try {
    listener.onPhase({ phase: 'reading', model });
    deadline.arm(budgetMs, timeOut);
    const answer = await client.chat(
      request(call, target),
      {
        onText: (text) => writing.onText(text),
        onThinking: (text) => writing.onThinking(text),
        onRead: () => writing.onRead(),
      },
      deadline.signal,
    );
    return {
      answer,
      residency: null,
      load_ms: 0,
      first_token_ms: writing.firstTokenAt && Math.round(writing.firstTokenAt - sentAt),
      queued_ms: 0,
    };
  } finally {
    deadline.dispose();
  }
}

function request(call: Prompted, { model, numCtx, tier, info }: RemoteTarget): ChatRequest {
  const { options } = tier;
  return {
    model,
    messages: call.messages,
    tools: call.tools,
    tool_choice: call.toolChoice,
    format: call.format,
    options: {
      num_ctx: numCtx,
      num_predict: call.numPredict,
      temperature: options.temperature ?? call.temperature,
      top_p: options.topP,
      top_k: options.topK,
      repeat_penalty: options.repeatPenalty ?? DEFAULT_REPEAT_PENALTY,
    },
    think: thinkFor(info, call.think),
    truncate: false,
  };
}

function timeoutError(target: RemoteTarget, shown: boolean): InternError {
  const seconds = Math.round(target.budgetMs / 1000);
  return new InternError({
    code: 'timeout',
    message: shown
      ? `${target.label} stopped writing: nothing came for ${seconds} s.`
      : `${target.label} did not answer within ${seconds} s.`,
    hint: 'Try again, raise the budget, or choose a faster model.',
    retryable: true,
    actions: [{ kind: 'retry' }, { kind: 'open_setting', setting: target.budgetSetting }],
    details: { model: target.label, partial: shown },
  });
}
