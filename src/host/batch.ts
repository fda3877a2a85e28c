import {
  counted,
  type Envelope,
  formatDuration,
  formatTokens,
  inlineText,
  type InputOf,
  type Intern,
  type InternError,
  type JobName,
  JOBS,
  originText,
  type Phase,
  phaseText,
  type ResultOf,
  runBatch,
  type Settled,
} from '../core';
import { errorText } from './actions';
import { someNames } from './files';
import { cancellable, cautions } from './jobRunner';

/** One of the inputs of a batch, and what it is called. */
export interface Item<N extends JobName = JobName> {
  name: string;
  input: InputOf<N>;
}

export interface BatchInit<N extends JobName = JobName> {
  job: N;
  items: readonly Item<N>[];
  /** What one of them is: `file`. */
  what: string;
  /** How the answers stand in a document: each on a line of a list, or each below a heading. */
  layout: 'list' | 'sections';
}

export interface BatchRun {
  overflow: 'refuse' | 'shorten';
  /** One to use instead of the tier's. */
  model?: string;
  signal?: AbortSignal;
  /** How far it is: `file 3 of 12`. */
  onProgress: (text: string) => void;
}

/** Many inputs of one job, and what has become of each so far. */
export class Batch<N extends JobName = JobName> {
  readonly #results: (Settled<Envelope<ResultOf<N>>> | undefined)[];
  #elapsedMs = 0;

  constructor(
    private readonly intern: Intern,
    private readonly init: BatchInit<N>,
  ) {
    this.#results = init.items.map(() => undefined);
  }

  /** Runs what has no answer yet, the first time all of it. Rejects only when cancelled. */
  async run({ overflow, model, signal, onProgress }: BatchRun): Promise<void> {
    const { job, items, what } = this.init;
    const open = [...items.keys()].filter((index) => !this.#results[index]?.ok);
    for (const index of open) this.#results[index] = undefined;
    let told: string | undefined;
    const tell = (phase?: Phase): void => {
      const done = this.#results.filter(Boolean).length;
      // How far it is says more than what one item does, but for a load, which all of them wait for.
      const steps: Phase = { phase: 'steps', what, done, total: items.length };
      const text = phaseText(phase?.phase === 'loading' ? phase : steps);
      if (text !== told) onProgress((told = text));
    };
    tell();
    const startedAt = Date.now();
    try {
      const inputs = open.map((index) => (items[index] as Item<N>).input);
      await runBatch(this.intern, job, inputs, {
        surface: 'command',
        overflow,
        model,
        signal,
        onPhase: tell,
        onSettled: (settled, at) => {
          this.#results[open[at] as number] = settled;
          told = undefined;
          tell();
        },
      });
    } finally {
      this.#elapsedMs += Date.now() - startedAt;
    }
  }

  /** By item; undefined: it did not come to an end. */
  get entries(): { name: string; settled: Settled<Envelope<ResultOf<N>>> | undefined }[] {
    return this.init.items.map(({ name }, index) => ({ name, settled: this.#results[index] }));
  }

  /** The first failure, which says how many there are; undefined: there is none. What a person stopped is none. */
  get failure(): InternError | undefined {
    const errors = this.#results.flatMap((one) => (one && !one.ok ? [one.error] : []));
    const failures = errors.filter(({ code }) => code !== 'cancelled');
    const [first] = failures;
    const { items, what } = this.init;
    return first?.with({
      message: `${failures.length} of ${counted(items.length, what)} failed. ${first.message}`,
    });
  }

  /** All answers there are, in Markdown. */
  get text(): string {
    const { job, layout } = this.init;
    const shown = this.entries.map(({ name, settled }) => {
      const text = settled?.ok
        ? (JOBS[job].show as (result: ResultOf<N>) => string)(settled.value.result)
        : settled
          ? inlineText(errorText(settled.error))
          : '…';
      return layout === 'list'
        ? `- ${inlineText(name)}: ${text}`
        : `# ${inlineText(name)}\n\n${text}`;
    });
    return shown.join(layout === 'list' ? '\n' : '\n\n');
  }

  /** How many, how long, where the answers come from, and what to beware of. */
  get lines(): string[] {
    const { items, what } = this.init;
    const envelopes = this.#results.flatMap((one) => (one?.ok ? [one.value] : []));
    const total = (tokens: (envelope: Envelope) => number | undefined): number =>
      envelopes.reduce((sum, envelope) => sum + (tokens(envelope) ?? Number.NaN), 0);
    const [tokensIn, tokensOut] = [total((e) => e.tokens_in), total((e) => e.tokens_out)];
    const summary = [
      envelopes.length === items.length
        ? counted(items.length, what)
        : `${envelopes.length} of ${counted(items.length, what)}`,
      formatDuration(this.#elapsedMs),
      // One that nobody counted makes the sum unknown.
      ...(envelopes.length > 0 && !Number.isNaN(tokensIn + tokensOut)
        ? [formatTokens(tokensIn, tokensOut)]
        : []),
    ];
    return [
      summary.join(' · '),
      ...this.#shared((envelope) => [originText(envelope)]),
      ...this.cautions,
    ];
  }

  /** Why answers do not come from where they should, and what to beware of; which ones when it is not all. */
  get cautions(): string[] {
    return this.#shared(cautions);
  }

  /** What envelopes say, each sentence once, with the items it is about. */
  #shared(say: (envelope: Envelope) => string[]): string[] {
    const said = new Map<string, string[]>();
    for (const { name, settled } of this.entries) {
      if (!settled?.ok) continue;
      for (const line of say(settled.value)) said.set(line, [...(said.get(line) ?? []), name]);
    }
    const all = this.#results.filter((one) => one?.ok).length;
    return [...said].map(([line, names]) =>
      names.length === all ? line : `${line} (${someNames(names)})`,
    );
  }
}

/** Runs a batch behind a progress that can be cancelled, which is told on the way. Rejects only when cancelled. */
export async function runBatchWithProgress(
  batch: Batch,
  title: string,
  how: Pick<BatchRun, 'overflow' | 'model'>,
  onProgress: (text: string) => void = () => undefined,
): Promise<void> {
  await cancellable(title, (signal, progress) =>
    batch.run({
      ...how,
      signal,
      onProgress: (message) => {
        progress.report({ message });
        onProgress(message);
      },
    }),
  );
}
