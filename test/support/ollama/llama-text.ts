/** From tokens to the text that is sent: whole characters, stop strings, tool calls. */
import type { EnginePiece } from './engine';
import type { LlamaModel, Token } from './llama-native';

const REPLACEMENT = '\uFFFD';
/** No character has more bytes; a longer wait means that the model really wrote a broken one. */
const LONGEST_CHARACTER = 4;
const CONTEXT_TOKENS = 8;

/** Holds tokens back until they make whole characters: one emoji may be several tokens. */
export class CharacterAssembler {
  private pending: Token[] = [];
  private readonly written: Token[] = [];

  constructor(private readonly model: Pick<LlamaModel, 'detokenize'>) {}

  push(token: Token): string {
    this.pending.push(token);
    const text = this.model.detokenize(this.pending, false, this.written);
    if (text.endsWith(REPLACEMENT) && this.pending.length < LONGEST_CHARACTER) return '';
    this.written.push(...this.pending);
    this.written.splice(0, this.written.length - CONTEXT_TOKENS);
    this.pending = [];
    return text;
  }

  /** What is left when generation ends; half a character at the end is dropped. */
  end(): string {
    const text = this.pending.length
      ? this.model.detokenize(this.pending, false, this.written)
      : '';
    this.pending = [];
    return text.replace(/\uFFFD+$/, '');
  }
}

/** The length of the longest end of `text` with which one of `markers` could begin. */
function openEnd(text: string, markers: readonly string[]): number {
  const longest = Math.max(0, ...markers.map((marker) => marker.length - 1));
  for (let length = Math.min(longest, text.length); length > 0; length--) {
    const end = text.slice(text.length - length);
    if (markers.some((marker) => marker.startsWith(end))) return length;
  }
  return 0;
}

/** Cuts at the first stop string, and lets no part of one through. */
export class StopFilter {
  private held = '';
  stopped = false;
  private readonly markers: readonly string[];

  constructor(stop: readonly string[]) {
    this.markers = stop.filter((marker) => marker.length > 0);
  }

  push(text: string): string {
    if (this.stopped) return '';
    this.held += text;
    const found = this.markers
      .map((marker) => this.held.indexOf(marker))
      .filter((index) => index >= 0);
    this.stopped = found.length > 0;
    const ready = this.stopped
      ? Math.min(...found)
      : this.held.length - openEnd(this.held, this.markers);
    const out = this.held.slice(0, ready);
    this.held = this.stopped ? '' : this.held.slice(ready);
    return out;
  }

  end(): string {
    const out = this.held;
    this.held = '';
    return out;
  }
}

const CALL_START = '<tool_call>';
const CALL_END = '</tool_call>';

function parseCall(text: string): EnginePiece | undefined {
  try {
    const call: unknown = JSON.parse(text);
    const { name, arguments: given } = call as { name?: unknown; arguments?: unknown };
    if (typeof name !== 'string' || typeof given !== 'object' || given === null) return undefined;
    return { kind: 'tool_call', name, arguments: given as Record<string, unknown> };
  } catch {
    return undefined;
  }
}

/** Tool calls in the form most open models were trained on: JSON between two tags. */
export class ToolCallReader {
  private held = '';

  push(text: string): EnginePiece[] {
    this.held += text;
    const pieces: EnginePiece[] = [];
    for (;;) {
      const start = this.held.indexOf(CALL_START);
      const ready = start < 0 ? this.held.length - openEnd(this.held, [CALL_START]) : start;
      if (ready > 0) pieces.push({ kind: 'text', text: this.held.slice(0, ready) });
      this.held = this.held.slice(ready);
      const end = this.held.indexOf(CALL_END);
      if (start < 0 || end < 0) return pieces;
      const whole = this.held.slice(0, end + CALL_END.length);
      pieces.push(parseCall(whole.slice(CALL_START.length, end)) ?? { kind: 'text', text: whole });
      this.held = this.held.slice(whole.length);
    }
  }

  end(): EnginePiece[] {
    const text = this.held;
    this.held = '';
    return text ? [{ kind: 'text', text }] : [];
  }
}
