import assert from 'node:assert/strict';
import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import fc from 'fast-check';
import { InternError } from '../../src/core';
import { diffLines } from '../../src/core/artifacts/diff';
import { ArtifactStore } from '../../src/core/artifacts/store';
import type { BriefFacts } from '../../src/core/jobs/brief';
import type { Pack, PackKind } from '../../src/core/jobs/packs';
import { assertHint, assertSentence } from './support';

const NOON = Date.UTC(2026, 5, 9, 12, 0);
const DAY = 24 * 60 * 60 * 1000;
const isWindows = process.platform === 'win32';

const brief = (more: object = {}): BriefFacts => ({
  evidence: [],
  evidence_count: 1,
  dropped_claims: 0,
  unknown_ids: 0,
  weak: false,
  omitted_sources: [],
  unread_parts: [],
  ...more,
});

const pack = (more: Partial<Pack> = {}): Pack => ({
  kind: 'incident',
  title: 'The disk',
  brief: brief(),
  markdown: '# The disk\n',
  ...more,
});

function isError(error: unknown, code: string): boolean {
  assert.ok(error instanceof InternError, String(error));
  assert.equal(error.code, code);
  assertSentence(error.message, 'The message');
  assertHint(error.hint);
  return true;
}
const bad = (error: unknown): boolean => isError(error, 'bad_input');
const failed = (error: unknown): boolean => isError(error, 'config');

function broken(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code });
}

describe('the artifact store', () => {
  let home: string;
  let root: string;
  let now: number;
  let store: ArtifactStore;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'artifacts-'));
    root = join(home, 'artifacts');
    now = NOON;
    store = new ArtifactStore(root, () => now);
  });
  afterEach(() => rm(home, { recursive: true, force: true }));

  const files = async (kind: PackKind = 'incident'): Promise<string[]> =>
    (await readdir(join(root, kind))).sort();

  it('writes a pair of files and reads it again', async () => {
    const entry = await store.write(pack({ brief: brief({ weak: true }) }), { model: 'm:8b' });
    assert.deepEqual(await files(), [
      '2026-06-09-1200-the-disk.json',
      '2026-06-09-1200-the-disk.md',
    ]);
    assert.equal(entry.slug, '2026-06-09-1200-the-disk');
    const { artifact, markdown } = await store.read(entry);
    assert.equal(markdown, '# The disk\n');
    assert.deepEqual(artifact, {
      schema_version: 1,
      kind: 'incident',
      slug: entry.slug,
      title: 'The disk',
      created_at: '2026-06-09T12:00:00.000Z',
      brief: brief({ weak: true }),
      about: { model: 'm:8b' },
    });
    const sizes = await Promise.all([entry.json_path, entry.markdown_path].map((p) => stat(p)));
    assert.equal(
      entry.bytes,
      sizes.reduce((sum, { size }) => sum + size, 0),
    );
    assert.deepEqual(await store.list(), { items: [entry], total: 1 });
  });

  it('keeps what it writes to its owner', async function () {
    if (isWindows) this.skip();
    const { json_path, markdown_path } = await store.write(pack());
    for (const [path, mode] of [
      [json_path, 0o600],
      [markdown_path, 0o600],
      [dirname(json_path), 0o700],
      [root, 0o700],
    ] as const) {
      assert.equal((await stat(path)).mode & 0o777, mode);
    }
  });

  it('never overwrites: the next of a name gets a number', async () => {
    const slugs = [];
    for (const markdown of ['one', 'two', 'three']) {
      slugs.push((await store.write(pack({ markdown }))).slug);
    }
    const name = '2026-06-09-1200-the-disk';
    assert.deepEqual(slugs, [name, `${name}-2`, `${name}-3`]);
    assert.equal((await store.read({ kind: 'incident', slug: name })).markdown, 'one');
    assert.equal((await store.read({ kind: 'incident', slug: `${name}-2` })).markdown, 'two');
  });

  for (const ending of ['.md', '.json']) {
    it(`leaves somebody else's ${ending} file alone, and takes another name`, async () => {
      await mkdir(join(root, 'incident'), { recursive: true });
      const theirs = join(root, 'incident', `2026-06-09-1200-the-disk${ending}`);
      await writeFile(theirs, 'mine');
      const { slug } = await store.write(pack());
      assert.match(slug, /-2$/);
      assert.equal(await readFile(theirs, 'utf8'), 'mine');
      assert.equal((await files()).length, 3);
    });
  }

  it('lets two writers write at the same moment', async () => {
    const other = new ArtifactStore(root, () => now);
    const written = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        (i % 2 ? store : other).write(pack({ markdown: `text ${i}` })),
      ),
    );
    assert.equal(new Set(written.map(({ slug }) => slug)).size, 20);
    for (const [i, entry] of written.entries()) {
      assert.equal((await store.read(entry)).markdown, `text ${i}`);
    }
    assert.equal((await files()).length, 40);
  });

  it('writes on file systems without links too, and does not overwrite there either', async () => {
    const noLinks = new ArtifactStore(root, () => now, {
      open,
      link: () => Promise.reject(broken('EPERM')),
    });
    const written = await Promise.all(
      Array.from({ length: 6 }, (_, i) => noLinks.write(pack({ markdown: `text ${i}` }))),
    );
    for (const [i, entry] of written.entries()) {
      assert.equal((await store.read(entry)).markdown, `text ${i}`);
    }
    assert.equal((await files()).length, 12);
  });

  const hostile: [title: string, slug: string][] = [
    ['../../etc/passwd', '-etc-passwd'],
    ['..\\..\\windows\\system32', '-windows-system32'],
    ['/etc/passwd\u0000.md', '-etc-passwd-md'],
    ['CON', '-con'],
    ['nul.md', '-nul-md'],
    ['a:stream', '-a-stream'],
    ['Ümläute & Café', '-umlaute-cafe'],
    ['日本語', ''],
    ['. . .', ''],
    [`${'x'.repeat(39)}-yyy`, `-${'x'.repeat(39)}`],
  ];
  for (const [title, slug] of hostile) {
    it(`writes ${JSON.stringify(title.slice(0, 30))} into its folder`, async () => {
      const entry = await store.write(pack({ title }));
      assert.equal(entry.slug, `2026-06-09-1200${slug}`);
      assert.equal(dirname(entry.json_path), join(root, 'incident'));
      assert.equal((await store.read(entry)).artifact.title, title);
      assert.deepEqual(await readdir(home), ['artifacts']);
    });
  }

  it('makes a name of any title', async () => {
    const forgetful = new ArtifactStore(root, () => now, {
      link,
      open: async (path, flags, mode) =>
        Object.assign(await open(path, flags, mode), { sync: () => Promise.resolve() }),
    });
    const char = fc.constantFrom(
      'a',
      'Z',
      '7',
      '/',
      '\\',
      '.',
      '-',
      ' ',
      '\0',
      'é',
      'İ',
      'ß',
      '日',
      '\ud83d',
      '\n',
    );
    const titles = fc.sample(fc.array(char, { maxLength: 60 }), 20).map((chars) => chars.join(''));
    for (const title of titles) {
      const { slug } = await forgetful.write(pack({ title }));
      assert.match(slug, /^2026-06-09-1200(-[a-z0-9]+)*$/, JSON.stringify(title));
      assert.ok(slug.length < 70);
    }
  });

  const unknown: [kind: string, slug: string][] = [
    ['incident', 'no-such'],
    ['incident', '../incident/x'],
    ['incident', '..'],
    ['incident', ''],
    ['incident', 'a/b'],
    ['incident', 'a\u0000b'],
    ['../incident', 'x'],
    ['__proto__', 'x'],
  ];
  for (const [kind, slug] of unknown) {
    it(`has no ${JSON.stringify(`${kind}/${slug}`)}`, async () => {
      await store.write(pack());
      await assert.rejects(store.read({ kind: kind as PackKind, slug }), bad);
    });
  }

  describe('with links', () => {
    before(function () {
      if (isWindows) this.skip();
    });

    it('does not read a file outside of its folder', async () => {
      const { slug, json_path } = await store.write(pack());
      const outside = join(home, 'outside.json');
      await writeFile(outside, await readFile(json_path));
      await rm(json_path);
      await symlink(outside, json_path);
      await assert.rejects(store.read({ kind: 'incident', slug }), bad);
      assert.equal((await store.list()).total, 0);
      now += DAY;
      assert.equal((await store.prune({ olderThanDays: 0, dryRun: false })).deleted, 0);
      await stat(outside);
    });

    it('does not write through a folder that leads out', async () => {
      await mkdir(root);
      const outside = join(home, 'outside');
      await mkdir(outside);
      await symlink(outside, join(root, 'incident'));
      await assert.rejects(store.write(pack()), bad);
      assert.deepEqual(await readdir(outside), []);
    });

    it('may itself be reached through a link', async () => {
      await mkdir(join(home, 'real'));
      await symlink(join(home, 'real'), root);
      const entry = await store.write(pack());
      assert.equal((await store.read(entry)).artifact.title, 'The disk');
    });
  });

  describe('on a bad disk', () => {
    /** A disk on which the nth write fails. */
    const failing = (code: string, nth: number, method: 'writeFile' | 'sync') => {
      let n = 0;
      return new ArtifactStore(root, () => now, {
        link,
        open: async (path, flags, mode) => {
          const file = await open(path, flags, mode);
          if (flags === 'wx' && ++n === nth) file[method] = () => Promise.reject(broken(code));
          return file;
        },
      });
    };

    for (const nth of [1, 2]) {
      for (const method of ['writeFile', 'sync'] as const) {
        it(`leaves nothing behind when ${method} of file ${nth} finds it full`, async () => {
          await assert.rejects(failing('ENOSPC', nth, method).write(pack()), (error) => {
            assert.match((error as Error).message, /the disk is full\.$/);
            return failed(error);
          });
          assert.deepEqual(await files(), []);
        });
      }
    }

    for (const nth of [1, 2]) {
      it(`leaves nothing behind when name ${nth} cannot be given`, async () => {
        let n = 0;
        const unlinkable = new ArtifactStore(root, () => now, {
          open,
          link: (from, to) => (++n === nth ? Promise.reject(broken('EIO')) : link(from, to)),
        });
        await assert.rejects(unlinkable.write(pack()), failed);
        assert.deepEqual(await files(), []);
      });
    }

    it('says so when the folder is read-only', async () => {
      const readOnly = new ArtifactStore(root, () => now, {
        link,
        open: () => Promise.reject(broken('EROFS')),
      });
      await assert.rejects(readOnly.write(pack()), failed);
    });

    // Root may write everywhere.
    if (!isWindows && process.getuid?.() !== 0) {
      it('says so when the permission is missing', async () => {
        await mkdir(root);
        await chmod(root, 0o500);
        await assert.rejects(store.write(pack()), failed);
      });
    }

    it('says so when a file stands in the place of the folder', async () => {
      await writeFile(root, 'x');
      await assert.rejects(store.write(pack()), failed);
      assert.deepEqual(await store.list(), { items: [], total: 0 });
    });
  });

  describe('lists', () => {
    const write = async (days: number, more: Partial<Pack> = {}) => {
      now = NOON + days * DAY;
      return (await store.write(pack(more))).slug;
    };

    it('newest first, by kind, date and strength', async () => {
      const old = await write(0);
      const weak = await write(2, { brief: brief({ weak: true }) });
      const repo = await write(1, { kind: 'repo' });
      const slugs = async (filter: object) =>
        (await store.list(filter)).items.map(({ slug }) => slug);
      assert.deepEqual(await slugs({}), [weak, repo, old]);
      assert.deepEqual(await slugs({ kind: 'repo' }), [repo]);
      assert.deepEqual(await slugs({ weak: true }), [weak]);
      assert.deepEqual(await slugs({ weak: false, kind: 'incident' }), [old]);
      assert.deepEqual(await slugs({ after: new Date(NOON + DAY) }), [weak, repo]);
      assert.deepEqual(await slugs({ before: new Date(NOON + DAY) }), [old]);
      const { items, total } = await store.list({ limit: 2 });
      assert.deepEqual([items.length, total], [2, 3]);
    });

    it('are in order within a minute', async () => {
      const slugs = [];
      for (let i = 0; i < 11; i++) slugs.unshift(await write(0));
      assert.deepEqual(
        (await store.list()).items.map(({ slug }) => slug),
        slugs,
      );
    });

    it('leave out what is not an artifact', async () => {
      const slug = await write(0);
      const folder = join(root, 'incident');
      const json = await readFile(join(folder, `${slug}.json`), 'utf8');
      await writeFile(join(folder, 'copy.json'), json);
      await writeFile(join(folder, 'cut.json'), json.slice(0, 40));
      await writeFile(join(folder, 'package.json'), '{"name": "x"}');
      await writeFile(
        join(folder, 'newer.json'),
        json.replace('"schema_version": 1', '"schema_version": 2'),
      );
      await writeFile(join(folder, 'Some Name.json'), json);
      await mkdir(join(folder, 'folder.json'));
      assert.deepEqual(
        (await store.list()).items.map((item) => item.slug),
        [slug],
      );
    });
  });

  describe('compares', () => {
    const claims = (...texts: string[]) => texts.map((text) => ({ text, evidence: ['e1'] }));

    it('lists by their texts, prose by its lines, and strength', async () => {
      const first = await store.write(
        pack({
          brief: brief({ next_checks: claims('a', 'b'), thesis: 'one\ntwo', omitted_sources: [] }),
        }),
      );
      const second = await store.write(
        pack({ brief: brief({ next_checks: claims('b', 'c'), thesis: 'one\nthree', weak: true }) }),
      );
      assert.deepEqual(await store.diff(first, second), {
        kind: 'incident',
        weak: { before: false, after: true },
        lists: { next_checks: { added: ['c'], removed: ['a'], unchanged: ['b'] } },
        prose: {
          thesis: [
            { change: 'same', text: 'one' },
            { change: 'removed', text: 'two' },
            { change: 'added', text: 'three' },
          ],
        },
      });
    });

    it('only artifacts of one kind', async () => {
      const first = await store.write(pack());
      const second = await store.write(pack({ kind: 'repo' }));
      await assert.rejects(store.diff(first, second), bad);
      await assert.rejects(store.diff(first, { kind: 'incident', slug: 'no-such' }), bad);
    });

    it('lines so that both texts can be read from the result', () => {
      const text = fc
        .array(fc.constantFrom('a', 'b', 'c', ''), { maxLength: 12 })
        .map((l) => l.join('\n'));
      fc.assert(
        fc.property(text, text, (before, after) => {
          const changes = diffLines(before, after);
          const without = (change: string) =>
            changes
              .filter((c) => c.change !== change)
              .map((c) => c.text)
              .join('\n');
          assert.deepEqual([without('added'), without('removed')], [before, after]);
          if (before === after) assert.ok(changes.every(({ change }) => change === 'same'));
        }),
      );
    });

    it('very long texts without working on them for long', () => {
      const long = Array.from({ length: 5000 }, (_, i) => `${i}`).join('\n');
      assert.equal(diffLines(long, `${long}\nx`).length, 10_001);
    });
  });

  describe('exports', () => {
    it('either file, after the ending', async () => {
      const entry = await store.write(pack());
      for (const [name, expected] of [
        ['a.md', await readFile(entry.markdown_path, 'utf8')],
        ['a.json', await readFile(entry.json_path, 'utf8')],
      ] as const) {
        const { path, bytes } = await store.export(entry, join(home, name));
        assert.equal(await readFile(path, 'utf8'), expected);
        assert.equal(bytes, Buffer.byteLength(expected));
      }
      assert.deepEqual((await readdir(home)).sort(), ['a.json', 'a.md', 'artifacts']);
    });

    it('over another file only when asked to', async () => {
      const entry = await store.write(pack());
      const path = join(home, 'a.md');
      await writeFile(path, 'mine');
      await assert.rejects(store.export(entry, path), bad);
      assert.equal(await readFile(path, 'utf8'), 'mine');
      await store.export(entry, path, { overwrite: true });
      assert.equal(await readFile(path, 'utf8'), '# The disk\n');
      assert.deepEqual((await readdir(home)).sort(), ['a.md', 'artifacts']);
    });

    for (const name of [
      'a.txt',
      'a',
      'CON.md',
      'lpt1.json',
      'a:b.md',
      'a\u0000.md',
      'no-folder/a.md',
    ]) {
      it(`not to ${JSON.stringify(name)}`, async () => {
        const entry = await store.write(pack());
        await assert.rejects(
          store.export(entry, join(home, name)),
          name.startsWith('no-folder') ? failed : bad,
        );
        assert.deepEqual(await readdir(home), ['artifacts']);
      });
    }

    it('not to a path that begins nowhere', async () => {
      await assert.rejects(store.export(await store.write(pack()), 'a.md'), bad);
    });
  });

  describe('prunes', () => {
    it('says first, then deletes what is old enough, in pairs', async () => {
      const old = await store.write(pack());
      const repo = await store.write(pack({ kind: 'repo' }));
      now += 10 * DAY;
      const fresh = await store.write(pack());
      const dry = await store.prune({ olderThanDays: 7, kind: 'incident' });
      assert.deepEqual(dry, { matched: [old], bytes: old.bytes, deleted: 0 });
      assert.equal((await store.list()).total, 3);
      const { deleted } = await store.prune({ olderThanDays: 7, kind: 'incident', dryRun: false });
      assert.equal(deleted, 1);
      assert.deepEqual(
        (await files()).map((n) => basename(n).split('.')[0]),
        [fresh.slug, fresh.slug],
      );
      assert.equal((await store.list({ kind: 'repo' })).items[0]?.slug, repo.slug);
    });

    it('deletes those that were named, and none that came since', async () => {
      await store.write(pack());
      now += DAY;
      const { matched } = await store.prune({ olderThanDays: 0 });
      const since = await store.write(pack());
      now += DAY;
      assert.equal(await store.delete(matched), 1);
      assert.deepEqual((await store.list()).items, [since]);
    });

    it('only files of its own', async () => {
      await store.write(pack());
      for (const name of ['notes.md', 'notes.json', '2020-01-01-0000-x.md']) {
        await writeFile(join(root, 'incident', name), '{}');
      }
      now += DAY;
      await store.prune({ olderThanDays: 0, dryRun: false });
      assert.deepEqual(await files(), ['2020-01-01-0000-x.md', 'notes.json', 'notes.md']);
    });

    it('refuses an age that is none', async () => {
      for (const olderThanDays of [-1, NaN]) {
        await assert.rejects(store.prune({ olderThanDays }), bad);
      }
    });
  });
});
