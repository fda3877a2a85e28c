import { mkdir, readdir, readFile, realpath, rm, stat } from 'node:fs/promises';
import { basename, extname, isAbsolute, join, relative, sep } from 'node:path';
import * as z from 'zod';
import { InternError } from '../errors';
import type { BriefFacts } from '../jobs/brief';
import { PACK_KINDS, type Pack, type PackKind } from '../jobs/packs';
import { diffLines, diffLists, type LineChange, type ListDiff } from './diff';
import { codeOf, type Disk, diskError, NewFile, realDisk, writeNew } from './files';

const DAY_MS = 24 * 60 * 60 * 1000;
const MOST_SLUG_CHARS = 40;
/** So many packs of one title in one minute. */
const MOST_NAMES = 1000;
/** A larger file is not one of ours. */
const MOST_BYTES = 20 * 1024 * 1024;

/** Fields of a brief that are about it, and not what it says. */
const NOT_SAID = new Set<string>([
  'evidence',
  'omitted_sources',
  'unread_parts',
  'weak_reason',
] satisfies (keyof BriefFacts)[]);

const artifactFile = z.object({
  schema_version: z.literal(1),
  kind: z.enum(PACK_KINDS),
  slug: z.string(),
  title: z.string(),
  /** ISO 8601, UTC. */
  created_at: z.iso.datetime(),
  brief: z.record(z.string(), z.unknown()),
  /** Where it comes from: model, call, backend. */
  about: z.record(z.string(), z.unknown()).optional(),
});

/** What the JSON file of an artifact holds. */
export type Artifact = z.output<typeof artifactFile>;

export interface ArtifactId {
  kind: PackKind;
  slug: string;
}

export interface ArtifactEntry extends ArtifactId {
  title: string;
  created_at: string;
  weak: boolean;
  json_path: string;
  markdown_path: string;
  /** Of both files. */
  bytes: number;
}

export interface ArtifactFilter {
  kind?: PackKind;
  /** Created at or after, and before. */
  after?: Date;
  before?: Date;
  weak?: boolean;
  /** Default: 50. */
  limit?: number;
}

export interface ArtifactDiff {
  kind: PackKind;
  /** Only when one is weak and the other is not. */
  weak?: { before: boolean; after: boolean };
  /** By the field of the brief. */
  lists: Record<string, ListDiff>;
  prose: Record<string, LineChange[]>;
}

/**
 * Packs as pairs of files, `KIND/DATE-TITLE.md` and `.json`, in a folder that only its owner can read. Nothing is
 * ever overwritten; the JSON comes last, so an artifact that is listed is whole.
 */
export class ArtifactStore {
  constructor(
    private readonly root: string,
    private readonly now: () => number = Date.now,
    private readonly disk: Disk = realDisk,
  ) {}

  /** `about`: where the pack comes from, for those who read the file later. */
  async write(
    { kind, title, brief, markdown }: Pack,
    about?: Record<string, unknown>,
  ): Promise<ArtifactEntry> {
    const created_at = new Date(this.now()).toISOString();
    const name = `${stampOf(created_at)}${slugOf(title)}`;
    let text: NewFile | undefined;
    try {
      const folder = await this.#makeFolder(kind);
      for (let n = 1; n <= MOST_NAMES; n++) {
        const slug = n === 1 ? name : `${name}-${n}`;
        const markdown_path = join(folder, `${slug}.md`);
        const json_path = join(folder, `${slug}.json`);
        text ??= await NewFile.write(folder, markdown, 0o600, this.disk);
        if (!(await text.place(markdown_path))) continue;
        const artifact = { schema_version: 1, kind, slug, title, created_at, brief, about };
        const json = `${JSON.stringify(artifact, undefined, 2)}\n`;
        let isWhole = false;
        try {
          isWhole = await writeNew(json_path, json, 0o600, this.disk);
        } finally {
          if (!isWhole) await rm(markdown_path, { force: true });
        }
        if (isWhole) {
          const bytes = Buffer.byteLength(markdown) + Buffer.byteLength(json);
          const weak = brief.weak;
          return { kind, slug, title, created_at, weak, json_path, markdown_path, bytes };
        }
        await text.discard();
        text = undefined;
      }
    } catch (error) {
      throw diskError(error, 'The artifact could not be written');
    } finally {
      await text?.discard();
    }
    throw refused('There are too many artifacts of this title.', 'Choose another title.');
  }

  /** Newest first. Files of others, and what cannot be read, are left out. */
  async list(filter: ArtifactFilter = {}): Promise<{ items: ArtifactEntry[]; total: number }> {
    const { kind, after, before, weak, limit = 50 } = filter;
    const all: ArtifactEntry[] = [];
    for (const each of kind ? [kind] : PACK_KINDS) all.push(...(await this.#entries(each)));
    const items = all
      .filter(({ created_at }) => !after || Date.parse(created_at) >= after.getTime())
      .filter(({ created_at }) => !before || Date.parse(created_at) < before.getTime())
      .filter((entry) => weak === undefined || entry.weak === weak)
      .sort(
        (a, b) =>
          Date.parse(b.created_at) - Date.parse(a.created_at) ||
          b.slug.localeCompare(a.slug, 'en', { numeric: true }),
      );
    return { items: items.slice(0, limit), total: items.length };
  }

  async read(id: ArtifactId): Promise<{ artifact: Artifact; markdown: string }> {
    const [json, markdown] = [await this.#readFile(id, '.json'), await this.#readFile(id, '.md')];
    const artifact = json === undefined ? undefined : parse(json, id);
    if (!artifact) throw missing(id);
    return { artifact, markdown: markdown ?? '' };
  }

  /** How the second differs from the first. */
  async diff(first: ArtifactId, second: ArtifactId): Promise<ArtifactDiff> {
    if (first.kind !== second.kind) {
      throw refused('Only artifacts of the same kind can be compared.', 'Choose two of one kind.');
    }
    const before = (await this.read(first)).artifact.brief;
    const after = (await this.read(second)).artifact.brief;
    const found: ArtifactDiff = { kind: first.kind, lists: {}, prose: {} };
    const weak = { before: before.weak === true, after: after.weak === true };
    if (weak.before !== weak.after) found.weak = weak;
    for (const field of new Set([...Object.keys(before), ...Object.keys(after)])) {
      if (NOT_SAID.has(field)) continue;
      const [old, now] = [before[field], after[field]];
      const [oldClaims, nowClaims] = [claimsOf(old), claimsOf(now)];
      if (oldClaims && nowClaims) found.lists[field] = diffLists(oldClaims, nowClaims);
      else if (typeof old === 'string' && typeof now === 'string') {
        found.prose[field] = diffLines(old, now);
      }
    }
    return found;
  }

  /** A copy of the Markdown or the JSON file, after the ending of the path. */
  async export(
    id: ArtifactId,
    path: string,
    { overwrite = false } = {},
  ): Promise<{ path: string; bytes: number }> {
    const ending = extname(path);
    if (!isAbsolute(path) || (ending !== '.md' && ending !== '.json')) {
      throw refused(
        'An artifact is exported to a whole path that ends in .md or .json.',
        'Choose such a path.',
      );
    }
    if (!isPortable(basename(path))) {
      throw refused('Not every system can have a file of this name.', 'Choose another name.');
    }
    const { artifact, markdown } = await this.read(id);
    const text = ending === '.md' ? markdown : `${JSON.stringify(artifact, undefined, 2)}\n`;
    try {
      const isWritten = await writeNew(path, text, 0o666, this.disk, overwrite);
      if (!isWritten)
        throw refused('There is a file of this name already.', 'Choose another name.');
    } catch (error) {
      throw diskError(error, 'The file could not be written');
    }
    return { path, bytes: Buffer.byteLength(text) };
  }

  /** Deletes artifacts older than so many days; unless told otherwise it only says which. */
  async prune(options: { olderThanDays: number; kind?: PackKind; dryRun?: boolean }): Promise<{
    matched: ArtifactEntry[];
    bytes: number;
    deleted: number;
  }> {
    const { olderThanDays, kind, dryRun = true } = options;
    if (!(olderThanDays >= 0)) throw refused('An age is not below 0 days.', 'Give another age.');
    const before = new Date(this.now() - olderThanDays * DAY_MS);
    const { items } = await this.list({ kind, before, limit: Infinity });
    const bytes = items.reduce((sum, one) => sum + one.bytes, 0);
    return { matched: items, bytes, deleted: dryRun ? 0 : await this.delete(items) };
  }

  /** Deletes these artifacts, and returns how many. */
  async delete(entries: readonly ArtifactEntry[]): Promise<number> {
    let deleted = 0;
    for (const { json_path, markdown_path } of entries) {
      try {
        // The JSON last: as long as it is there, the rest can be found.
        await rm(markdown_path, { force: true });
        await rm(json_path, { force: true });
      } catch (error) {
        throw diskError(
          error,
          `${deleted} of ${entries.length} artifacts were deleted, the next could not be`,
        );
      }
      deleted++;
    }
    return deleted;
  }

  async #entries(kind: PackKind): Promise<ArtifactEntry[]> {
    const folder = await this.#folder(kind);
    const names = folder === undefined ? [] : await readdir(folder).catch(() => []);
    const entries: ArtifactEntry[] = [];
    for (const name of names.filter((n) => n.endsWith('.json'))) {
      const id = { kind, slug: name.slice(0, -'.json'.length) };
      if (!SLUG.test(id.slug)) continue;
      const json = await this.#readFile(id, '.json').catch(() => undefined);
      const artifact = json === undefined ? undefined : parse(json, id);
      if (!artifact || json === undefined || folder === undefined) continue;
      const markdown_path = join(folder, `${id.slug}.md`);
      const markdownBytes = await stat(markdown_path).then(
        ({ size }) => size,
        () => 0,
      );
      entries.push({
        ...id,
        title: artifact.title,
        created_at: artifact.created_at,
        weak: artifact.brief.weak === true,
        json_path: join(folder, name),
        markdown_path,
        bytes: Buffer.byteLength(json) + markdownBytes,
      });
    }
    return entries;
  }

  /** `undefined`: there is none, or it is not inside the artifact folder. */
  async #readFile({ kind, slug }: ArtifactId, ending: string): Promise<string | undefined> {
    const folder = SLUG.test(slug) ? await this.#folder(kind) : undefined;
    if (folder === undefined) return undefined;
    try {
      const path = await realpath(join(folder, slug + ending));
      const isOurs = isInside(await realpath(this.root), path);
      if (!isOurs || (await stat(path)).size > MOST_BYTES) return undefined;
      return await readFile(path, 'utf8');
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw diskError(error, 'The artifact could not be read');
    }
  }

  /** The folder of a kind with its links resolved; `undefined`: there is none, or it leads elsewhere. */
  async #folder(kind: PackKind): Promise<string | undefined> {
    if (!PACK_KINDS.includes(kind)) return undefined;
    try {
      const [root, folder] = [await realpath(this.root), await realpath(join(this.root, kind))];
      return isInside(root, folder) ? folder : undefined;
    } catch {
      return undefined;
    }
  }

  async #makeFolder(kind: PackKind): Promise<string> {
    await mkdir(join(this.root, kind), { recursive: true, mode: 0o700 });
    const folder = await this.#folder(kind);
    if (folder !== undefined) return folder;
    throw refused(
      'The folder for artifacts of this kind leads out of the artifact folder.',
      'Remove the link, or choose another artifact folder.',
    );
  }
}

const SLUG = /^[a-z0-9]+(?:-[a-z0-9]+)*$/;

/** `2026-06-09-1015` */
function stampOf(iso: string): string {
  return iso.slice(0, 16).replace('T', '-').replace(':', '');
}

/** A title as the end of a file name: the date before it keeps it from being a name that Windows reserves. */
function slugOf(title: string): string {
  const words = title
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-/, '')
    .slice(0, MOST_SLUG_CHARS)
    .replace(/-$/, '');
  return words && `-${words}`;
}

function parse(json: string, { kind, slug }: ArtifactId): Artifact | undefined {
  try {
    const parsed = artifactFile.safeParse(JSON.parse(json));
    const isIt = parsed.success && parsed.data.kind === kind && parsed.data.slug === slug;
    return isIt ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

function claimsOf(value: unknown): string[] | undefined {
  const claims = z.array(z.object({ text: z.string() })).safeParse(value);
  return claims.data?.map(({ text }) => text);
}

function isInside(root: string, path: string): boolean {
  const way = relative(root, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

function isPortable(name: string): boolean {
  const isReserved = /^(?:con|prn|aux|nul|com\d|lpt\d)\./i.test(name);
  return !isReserved && !/[<>:"|?*\p{Cc}]/u.test(name);
}

function missing({ kind }: ArtifactId): InternError {
  return refused(
    `There is no such ${PACK_KINDS.includes(kind) ? kind : ''} artifact.`.replace('  ', ' '),
    'List the artifacts to see which there are.',
  );
}

function refused(message: string, hint: string): InternError {
  return new InternError({ code: 'bad_input', message, hint });
}
