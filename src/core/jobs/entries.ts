import * as z from 'zod';

export interface Entries<T> {
  kept: T[];
  /** Entries that are malformed. */
  dropped: number;
}

const MALFORMED = Symbol('malformed');

/** A list whose malformed entries are left out one by one; the schema that the model is shown does not allow them. */
export function entries<S extends z.ZodType>(
  entry: S,
): z.ZodType<Entries<z.output<S>>, z.input<S>[]> {
  return z.array(entry.catch(() => MALFORMED as never)).transform((all) => {
    const kept = all.filter((value) => (value as unknown) !== MALFORMED);
    return { kept, dropped: all.length - kept.length };
  });
}
