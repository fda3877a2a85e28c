import type { StreamHandlers } from './client';

const OPEN = '<think>';
const CLOSE = '</think>';

/**
 * Gathers the words and the thoughts of an answer as they come. A server that does not know how its model thinks leaves
 * the thoughts among the words, between tags at their start: they are thoughts all the same.
 */
export class Utterance {
  words = '';
  thoughts = '';
  #state: 'beginning' | 'thinking' | 'between' | 'speaking' = 'beginning';
  /** What is not known to be the one or the other yet. */
  #rest = '';

  constructor(private readonly handlers: StreamHandlers) {}

  think(text: string): void {
    if (text === '') return;
    this.thoughts += text;
    this.handlers.onThinking?.(text);
  }

  say(text: string): void {
    if (this.#state === 'speaking') {
      this.words += text;
      this.handlers.onText?.(text);
    } else {
      this.#rest += text;
      this.#sort();
    }
  }

  /** Nothing comes any more. */
  end(): void {
    if (this.#state === 'thinking') this.think(this.#rest);
    else if (this.#state === 'beginning' && this.#rest !== '') this.#speak();
    this.#rest = '';
  }

  #sort(): void {
    if (this.#state === 'beginning') {
      const begun = this.#rest.trimStart();
      if (OPEN.startsWith(begun)) return;
      if (!begun.startsWith(OPEN)) return this.#speak();
      this.#state = 'thinking';
      this.#rest = begun.slice(OPEN.length);
    }
    if (this.#state === 'thinking') {
      const end = this.#rest.indexOf(CLOSE);
      const sure = end < 0 ? this.#rest.length - startOfClose(this.#rest) : end;
      this.think(this.#rest.slice(0, sure));
      this.#rest = this.#rest.slice(end < 0 ? sure : end + CLOSE.length);
      if (end < 0) return;
      this.#state = 'between';
    }
    this.#rest = this.#rest.trimStart();
    if (this.#rest !== '') this.#speak();
  }

  #speak(): void {
    const rest = this.#rest;
    this.#rest = '';
    this.#state = 'speaking';
    this.say(rest);
  }
}

/** How many characters at the end may be the start of the closing tag. */
function startOfClose(text: string): number {
  for (let length = CLOSE.length - 1; length > 0; length--) {
    if (text.endsWith(CLOSE.slice(0, length))) return length;
  }
  return 0;
}
