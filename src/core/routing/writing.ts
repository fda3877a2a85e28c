import type { Clock } from '../clock';
import type { AttemptListener } from './call';
import type { Deadline } from './deadline';

/** Progress and the re-arming of the silence need no finer grain. Milliseconds. */
const TELL_EVERY_MS = 50;

/** An answer while it is written: hands on its text, tells how far it is, and re-arms the silence it may keep. */
export class Writing {
  /** Monotonic milliseconds of the first text; undefined: none yet. */
  firstTokenAt: number | undefined;
  #tokens = 0;
  #hasShownThought = false;
  #toldAt = -Infinity;

  constructor(
    private readonly clock: Clock,
    private readonly deadline: Deadline,
    private readonly target: { model: string; budgetMs: number; streamed: boolean },
    private readonly listener: AttemptListener,
  ) {}

  /** Somebody reads along, and has seen it begin. */
  get isShown(): boolean {
    return this.#hasShownThought || (this.target.streamed && this.firstTokenAt !== undefined);
  }

  onText(text: string): void {
    this.#tokens++;
    this.firstTokenAt ??= this.clock.monotonic();
    this.listener.onDelta(text);
  }

  onThinking(text: string): void {
    this.#tokens++;
    if (!this.listener.onThinking) return;
    this.#hasShownThought = true;
    this.listener.onThinking(text);
  }

  /** After all that one packet brought. */
  onRead(): void {
    if (this.#tokens === 0) return;
    const now = this.clock.monotonic();
    if (now - this.#toldAt < TELL_EVERY_MS) return;
    this.#toldAt = now;
    const { model, budgetMs, streamed } = this.target;
    if (streamed) this.deadline.extend(budgetMs);
    this.listener.onPhase({ phase: 'writing', model, tokens: this.#tokens });
  }
}
