import type { ChatMessage, Tool } from '../ollama/client';
import { modelKey } from '../ollama/names';
import type { Store } from '../store';

/** Characters per token before a model has been seen: prose, and text that is mostly symbols. */
const PROSE = 4;
const SYMBOLS = 3;
const SYMBOL_SHARE = 0.25;
/** How fast what is learned follows the latest prompts. */
const WEIGHT = 0.3;
/** Shorter prompts are mostly chat template. */
const LEAST_CHARS = 400;
/** Text of few tokens, such as long rules of dashes, is up to so many times cheaper than what was learned. */
const CUT_FACTOR = 2.5;
const CUT_CHARS = 2_000;
/** Chat templates add a few tokens to each message. */
const TOKENS_PER_MESSAGE = 8;
/** What an image takes, roughly: 256 tokens in gemma3, 576 in llava, some 1,600 in llama3.2-vision. */
export const IMAGE_TOKENS = 1_000;

/** What a prompt gives a model to read: the text of each message, with the calls of tools in it, and the tools. */
export function readPrompt({ messages, tools }: { messages: ChatMessage[]; tools?: Tool[] }): {
  texts: string[];
  images: number;
} {
  const texts = messages.map(({ content, thinking = '', tool_calls }) =>
    [thinking, content, ...(tool_calls ?? []).map((call) => JSON.stringify(call))].join(''),
  );
  return {
    texts: tools ? [...texts, JSON.stringify(tools)] : texts,
    images: messages.reduce((sum, { images = [] }) => sum + images.length, 0),
  };
}

/** Estimates tokens from characters; each model teaches it through the counts that the server returns. */
export class TokenEstimator {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Tokens that these texts and images would take as the messages of one prompt. */
  count(model: string, texts: readonly string[], images = 0): number {
    const chars = texts.reduce((sum, text) => sum + text.length, 0);
    const longest = texts.reduce((a, b) => (b.length > a.length ? b : a), '');
    const perToken = this.charsPerToken(model, longest.slice(0, 4000));
    return Math.ceil(chars / perToken) + TOKENS_PER_MESSAGE * texts.length + IMAGE_TOKENS * images;
  }

  /** Tokens of a text that is not a message of its own. */
  countText(model: string, text: string): number {
    return Math.ceil(text.length / this.charsPerToken(model, text.slice(0, 4000)));
  }

  charsPerToken(model: string, sample: string): number {
    const learned = this.#store.get(key(model));
    if (typeof learned === 'number' && learned > 0) return learned;
    const symbols = sample.match(/[^\p{L}\p{N}\s]/gu)?.length ?? 0;
    const wide = sample.match(/[\u2E80-\u9FFF\uAC00-\uD7AF]/g)?.length ?? 0;
    if (wide > sample.length * SYMBOL_SHARE) return 1;
    return symbols > sample.length * SYMBOL_SHARE ? SYMBOLS : PROSE;
  }

  /** Takes in what the server counted for a prompt of `chars` characters. */
  learn(model: string, chars: number, tokens: number): void {
    if (chars < LEAST_CHARS || tokens <= 0) return;
    // Outside these bounds the count is of something else, such as a prompt that was cut.
    const seen = Math.min(8, Math.max(0.5, chars / tokens));
    const before = this.#store.get(key(model));
    const next = typeof before === 'number' ? before * (1 - WEIGHT) + seen * WEIGHT : seen;
    this.#store.set(key(model), Math.round(next * 100) / 100);
  }

  /**
   * Whether the server counted so few tokens that it cannot have read the whole text: some cut what does not fit
   * without saying so.
   */
  wasCut(model: string, texts: readonly string[], tokens: number): boolean {
    const chars = texts.reduce((sum, text) => sum + text.length, 0);
    return chars >= CUT_CHARS && tokens > 0 && this.count(model, texts) > CUT_FACTOR * tokens;
  }

  /** Takes in a count that proved an estimate too low; a little on the safe side. */
  correct(model: string, chars: number, tokens: number): void {
    if (tokens > 0) this.#store.set(key(model), Math.floor((chars / tokens) * 97) / 100);
  }
}

function key(model: string): string {
  return `chars-per-token:${modelKey(model)}`;
}
