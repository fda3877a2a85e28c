import { randomBytes } from 'node:crypto';
import { link, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { InternError } from '../errors';

/** What touches the disk while a file is written. */
export interface Disk {
  open: typeof open;
  link: typeof link;
}

export const realDisk: Disk = { open, link };

/** A file whose text is safe on the disk, under a name that nobody else has, until it gets its own. */
export class NewFile {
  private constructor(
    private readonly path: string,
    private readonly disk: Disk,
  ) {}

  /** `mode` as of `open`. */
  static async write(folder: string, text: string, mode: number, disk: Disk): Promise<NewFile> {
    const path = join(folder, `.${randomBytes(12).toString('hex')}.tmp`);
    const file = await disk.open(path, 'wx', mode);
    try {
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
    return new NewFile(path, disk);
  }

  /** Gives it a free name; false: the name is taken. */
  async place(path: string): Promise<boolean> {
    try {
      await this.disk.link(this.path, path);
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false;
      if (!NO_LINKS.has(codeOf(error))) throw error;
      return this.#placeWithoutLink(path);
    }
    await syncFolder(dirname(path), this.disk);
    return true;
  }

  /** Gives it a name, whoever has it now. */
  async replace(path: string): Promise<void> {
    await rename(this.path, path);
    await syncFolder(dirname(path), this.disk);
  }

  /** Removes what is left of it on the way. */
  discard(): Promise<void> {
    return rm(this.path, { force: true });
  }

  /** For file systems without links: an empty file takes the name first. */
  async #placeWithoutLink(path: string): Promise<boolean> {
    try {
      await (await this.disk.open(path, 'wx')).close();
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false;
      throw error;
    }
    try {
      await this.replace(path);
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
    return true;
  }
}

/** Writes a file whole or not at all; false: the name is taken, and may not be replaced. */
export async function writeNew(
  path: string,
  text: string,
  mode: number,
  disk: Disk,
  mayReplace = false,
): Promise<boolean> {
  const file = await NewFile.write(dirname(path), text, mode, disk);
  try {
    if (!mayReplace) return await file.place(path);
    await file.replace(path);
    return true;
  } finally {
    await file.discard();
  }
}

const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EISDIR']);

/** A name is safe on the disk once its folder is; not every system can say so. */
async function syncFolder(path: string, disk: Disk): Promise<void> {
  try {
    const folder = await disk.open(path, 'r');
    await folder.sync().finally(() => folder.close());
  } catch {
    // The file itself is there.
  }
}

export function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException | undefined)?.code ?? '';
}

const REASONS: Record<string, string> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'your share of the disk is full',
  EACCES: 'the permission is missing',
  EPERM: 'the permission is missing',
  EROFS: 'the disk is read-only',
  ENOENT: 'the folder does not exist',
  ENOTDIR: 'a file stands in the place of a folder',
  EISDIR: 'a folder stands in its place',
  ENAMETOOLONG: 'the name is too long',
};

/** A failure of the disk. `what` cannot be done. */
export function diskError(error: unknown, what: string): InternError {
  if (error instanceof InternError) return error;
  const code = codeOf(error);
  return new InternError({
    code: 'config',
    message: `${what}: ${REASONS[code] ?? `the system says ${code || 'no more'}`}.`,
    hint: 'Make room or correct the permissions, or choose another folder.',
    retryable: true,
    cause: error,
  });
}
