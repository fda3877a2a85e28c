import { readdir, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

/** A part of the log that is complete: `log.ndjson.1` is the oldest, and no number is used twice. */
export interface SetAsideFile {
  path: string;
  number: number;
  /** 0: somebody is about to set the log aside here, or was and did not get to it. */
  size: number;
  /** Milliseconds since the epoch. */
  changedAt: number;
}

/** Oldest first. */
export async function setAsideFiles(path: string): Promise<SetAsideFile[]> {
  const prefix = `${basename(path)}.`;
  const names = (await unlessMissing(readdir(dirname(path)))) ?? [];
  const files = await Promise.all(
    names.flatMap((name) => {
      const number = name.startsWith(prefix) ? name.slice(prefix.length) : '';
      return /^[1-9]\d{0,5}$/.test(number) ? [describe(`${path}.${number}`, Number(number))] : [];
    }),
  );
  return files.filter((file) => file !== undefined).sort((a, b) => a.number - b.number);
}

async function describe(path: string, number: number): Promise<SetAsideFile | undefined> {
  const stats = await unlessMissing(stat(path));
  return stats && { path, number, size: stats.size, changedAt: stats.mtimeMs };
}

/** undefined when there is no such file. */
export async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
