import type * as z from 'zod';
import { InternError, toInternError } from '../../src/core';
import type { Question, Reply, Settled, Steps } from '../../src/core/jobs/job';
import { jsonSchema, readJson } from '../../src/core/jobs/json';

/** Steps without a server: answers come from a function, and what was asked is kept. */
export class FakeSteps implements Steps {
  readonly asked: Question[] = [];
  readonly told: string[] = [];

  constructor(
    private readonly answer: (question: Question, index: number) => string | InternError,
    private readonly window = 16_000,
  ) {}

  async ask(question: Question): Promise<Reply> {
    await Promise.resolve();
    const answer = this.answer(question, this.asked.push(question) - 1);
    if (answer instanceof InternError) throw answer;
    return { thinking: '', tool_calls: [], text: answer, done_reason: 'stop' };
  }

  async askFor<S extends z.ZodType>(
    question: Omit<Question, 'format'>,
    schema: S,
  ): Promise<z.output<S>> {
    for (let round = 1; ; round++) {
      const { text } = await this.ask({ ...question, format: jsonSchema(schema) });
      const read = readJson(text, schema);
      if (read.ok) return read.value;
      if (round === 2) {
        throw new InternError({
          code: 'server',
          message: 'The answer does not fit.',
          hint: read.problems.join(' '),
        });
      }
    }
  }

  room({ messages, numPredict }: Question): Promise<number> {
    const words = messages.reduce((sum, m) => sum + m.content.length, 0);
    return Promise.resolve(Math.max(0, this.window - words - numPredict * 4));
  }

  async map<T, R>(
    items: readonly T[],
    what: string,
    work: (item: T, index: number) => Promise<R>,
  ): Promise<Settled<R>[]> {
    const settled: Settled<R>[] = [];
    for (const [index, item] of items.entries()) {
      this.told.push(`${what} ${index + 1} of ${items.length}`);
      settled.push(
        await work(item, index).then(
          (value) => ({ ok: true as const, value }),
          (error: unknown) => ({ ok: false as const, error: toInternError(error) }),
        ),
      );
    }
    const first = settled.find((s) => !s.ok);
    if (first && settled.every((s) => !s.ok)) throw first.error;
    return settled;
  }

  /** Bags of letters: texts with the same letters are alike. */
  embed(texts: readonly string[]): Promise<Float32Array[]> {
    return Promise.resolve(
      texts.map((text) => {
        const vector = new Float32Array(26);
        for (const char of text.toLowerCase()) {
          const index = char.charCodeAt(0) - 97;
          if (index >= 0 && index < 26) vector[index] = (vector[index] ?? 0) + 1;
        }
        const length = Math.hypot(...vector) || 1;
        return vector.map((x) => x / length);
      }),
    );
  }
}
