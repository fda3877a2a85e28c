import assert from 'node:assert/strict';
import { appendFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  distinctNames,
  type FilesRead,
  isInside,
  readEnd,
  readFiles,
  readingNotes,
  type ReadOptions,
  textOf,
} from '../../src/host/files';

describe('reading files', () => {
  let scratch: string;
  let root: string;

  beforeEach(async () => {
    scratch = await realpath(await mkdtemp(join(tmpdir(), 'intern-files-')));
    root = join(scratch, 'project');
    await mkdir(join(root, 'src'), { recursive: true });
    await put('project/README.md', 'Read me.\n');
    await put('project/src/a.ts', 'export const a = 1;\n');
    await put('secret.txt', 'the secret of the house\n');
  });

  afterEach(() => rm(scratch, { recursive: true, force: true }));

  const put = (name: string, content: string | Uint8Array) =>
    writeFile(join(scratch, name), content);
  const read = (paths: string[] = [root], options: Partial<ReadOptions> = {}): Promise<FilesRead> =>
    readFiles(paths, { roots: [root], ...options });
  const names = ({ sources }: FilesRead) => sources.map(({ name }) => name);

  it('takes folders and what is below, by their paths in the workspace', async () => {
    const found = await read();
    assert.deepEqual(names(found), ['README.md', 'src/a.ts']);
    assert.equal(found.sources[1]?.text, 'export const a = 1;\n');
    assert.deepEqual(found.leftOut, []);
  });

  it('names the folder when the workspace has several', async () => {
    await mkdir(join(scratch, 'other'));
    const found = await read([root], { roots: [root, join(scratch, 'other')] });
    assert.deepEqual(names(found), ['project/README.md', 'project/src/a.ts']);
  });

  it('tells folders of one name apart in a workspace that has several', async () => {
    const roots = ['api/src', 'web/src', 'docs'].map((name) => join(scratch, name));
    for (const path of roots) {
      await mkdir(path, { recursive: true });
      await writeFile(join(path, 'index.ts'), `// ${path}\n`);
    }
    const found = await read(roots, { roots });
    assert.deepEqual(names(found), ['api/src/index.ts', 'web/src/index.ts', 'docs/index.ts']);
    const called = await read(roots, { roots, names: ['api', 'web', 'docs'] });
    assert.deepEqual(names(called), ['api/index.ts', 'web/index.ts', 'docs/index.ts']);
  });

  it('takes as much of the paths of folders as tells them apart', () => {
    const named = (...paths: string[]) =>
      distinctNames(paths.map((path) => ({ name: 'src', path })));
    assert.deepEqual(named('/a/src'), ['src']);
    assert.deepEqual(named('/a/x/src', '/b/x/src', '/c/y/src'), ['a/x/src', 'b/x/src', 'y/src']);
    assert.deepEqual(named('c:\\a\\src', 'd:\\a\\src'), ['c:/a/src', 'd:/a/src']);
    assert.deepEqual(named('/src', '/a/src'), ['/src', 'a/src']);
  });

  it('reads a file once, however often it was chosen', async () => {
    const found = await read([join(root, 'src/a.ts'), root, join(root, 'src')]);
    assert.deepEqual(names(found), ['src/a.ts', 'README.md']);
  });

  it('reads nothing outside of the workspace, not by a path and not by a link', async () => {
    await symlink(join(scratch, 'secret.txt'), join(root, 'link.txt'));
    await symlink(scratch, join(root, 'up'));
    const found = await read([root, join(scratch, 'secret.txt'), join(root, '..', 'secret.txt')]);
    assert.deepEqual(names(found), ['README.md', 'src/a.ts']);
    assert.deepEqual(
      found.leftOut.map(({ name, reason }) => [name, reason]),
      [
        ['link.txt', 'outside of the workspace'],
        ['up', 'outside of the workspace'],
        ['secret.txt', 'outside of the workspace'],
        ['secret.txt', 'outside of the workspace'],
      ],
    );
    assert.doesNotMatch(JSON.stringify(found), /secret of the house/);
  });

  it('follows links inside the workspace, in circles too, and reads each file once', async () => {
    await symlink(root, join(root, 'src', 'circle'));
    await symlink(join(root, 'src', 'a.ts'), join(root, 'b.ts'));
    assert.deepEqual(names(await read()), ['README.md', 'b.ts']);
  });

  it('works in a workspace that is itself a link', async () => {
    await symlink(root, join(scratch, 'alias'));
    const alias = join(scratch, 'alias');
    assert.deepEqual(names(await readFiles([alias], { roots: [alias] })), [
      'README.md',
      'src/a.ts',
    ]);
  });

  it('passes by what is hidden or installed, unless it was chosen itself', async () => {
    await mkdir(join(root, 'node_modules'));
    await put('project/node_modules/dep.js', 'installed');
    await put('project/.env', 'KEY=1');
    await symlink(join(root, '.env'), join(root, 'settings.txt'));
    const found = await read();
    assert.deepEqual(names(found), ['README.md', 'src/a.ts']);
    assert.deepEqual(readingNotes(found), [
      'Left out (hidden or installed): .env, node_modules, settings.txt.',
    ]);
    assert.deepEqual(names(await read([join(root, '.env')])), ['.env']);
  });

  it('passes by what a link hides when nobody chose it, but a search found it', async () => {
    await put('project/.env', 'KEY=1');
    const link = join(root, 'ABOUT.md');
    await symlink(join(root, '.env'), link);
    assert.deepEqual(names(await read([link])), ['ABOUT.md']);
    const found = await read([link, join(root, 'README.md')], { found: true });
    assert.deepEqual(names(found), ['README.md']);
    assert.deepEqual(readingNotes(found), ['Left out (hidden or installed): ABOUT.md.']);
  });

  it('says of binary, empty and missing files that they are left out', async () => {
    await put('project/picture.png', Buffer.from([0x89, 0x50, 0, 0]));
    await put('project/nothing.txt', ' \n');
    const found = await read([root, join(root, 'gone.ts')]);
    assert.deepEqual(
      found.leftOut.map(({ name, reason }) => `${name}: ${reason}`),
      ['nothing.txt: empty', 'picture.png: not text', 'gone.ts: could not be read'],
    );
  });

  it('prefers what an editor did not save yet', async () => {
    const unsaved = new Map([[join(root, 'src/a.ts'), 'export const a = 2;\n']]);
    const found = await read([root], { unsaved });
    assert.equal(found.sources[1]?.text, 'export const a = 2;\n');
  });

  it('stops at the limits, and takes what is small enough all the same', async () => {
    await put('project/big.txt', 'x'.repeat(2_000));
    const bySize = await read([root], { limits: { files: 500, bytes: 1_000 } });
    assert.deepEqual(names(bySize), ['README.md', 'src/a.ts']);
    assert.deepEqual(
      bySize.leftOut.map(({ name }) => name),
      ['big.txt'],
    );
    const byNumber = await read([root], { limits: { files: 1, bytes: 1_000_000 } });
    assert.deepEqual(names(byNumber), ['README.md']);
    assert.deepEqual(readingNotes(byNumber), ['Left out (more than 1 files): big.txt, src.']);
  });

  it('ends when it is cancelled', async () => {
    const controller = new AbortController();
    const reading = read([root], {
      signal: controller.signal,
      onFile: () => controller.abort(),
    });
    await assert.rejects(reading, { code: 'cancelled' });
  });

  it('tells three names of each reason, and how many more there are', () => {
    const leftOut = Array.from({ length: 1_205 }, (_, n) => ({
      name: `${n}.png`,
      reason: 'not text',
    }));
    assert.deepEqual(
      readingNotes({
        leftOut: [...leftOut, { name: 'a\nb', reason: 'empty' }],
        doubts: [],
      }),
      ['Left out (not text): 0.png, 1.png, 2.png and 1,202 more.', 'Left out (empty): a b.'],
    );
  });

  it('knows what is inside a folder', () => {
    assert.ok(isInside('/a/b', '/a'));
    assert.ok(isInside('/a', '/a'));
    assert.ok(isInside('/a/..b', '/a'));
    assert.ok(!isInside('/ab', '/a'));
    assert.ok(!isInside('/', '/a'));
  });

  it('understands texts of two bytes a character by their marks', () => {
    assert.deepEqual(textOf(Buffer.from('\ufeffhé', 'utf16le')), { text: 'hé' });
    assert.deepEqual(textOf(Buffer.from('\ufeffhé', 'utf16le').swap16()), { text: 'hé' });
    assert.deepEqual(textOf(Buffer.from('\ufeffhé')), { text: 'hé' });
    assert.deepEqual(textOf(Buffer.from('a \uFFFD of its own')), { text: 'a \uFFFD of its own' });
    assert.equal(textOf(Buffer.from([0x68, 0, 0x69])), undefined);
  });

  it('reads what is not UTF-8 as Windows-1252, and says so', async () => {
    await put('project/old.txt', Buffer.from('Gr\xfc\xdfe \x96 5 \x80\n', 'latin1'));
    await put('project/old2.txt', Buffer.from('caf\xe9', 'latin1'));
    const found = await read();
    const old = found.sources.find(({ name }) => name === 'old.txt');
    assert.equal(old?.text, 'Grüße – 5 €\n');
    assert.deepEqual(readingNotes(found), [
      'Not UTF-8, and read as Windows-1252: old.txt, old2.txt.',
    ]);
  });

  it('keeps text of UTF-8 with a few broken bytes, and says so', () => {
    const bytes = Buffer.concat([Buffer.from('größer, schöner'), Buffer.from([0xff])]);
    const decoded = textOf(bytes);
    assert.equal(decoded?.text, 'größer, schöner\uFFFD');
    assert.match(decoded.doubt ?? '', /not UTF-8/);
  });

  it('takes bytes without any zero that are no text for none', () => {
    assert.equal(textOf(Buffer.from([0x1f, 0x8b, 0x08, 0x02, 0xff, 0xc3, 0x28, 0x9d])), undefined);
  });

  describe('that change while they are read', () => {
    /** Editors are asked for what they hold after a file was measured, and before it is opened. */
    const meanwhile = (path: string, change: () => void): ReadOptions['unsaved'] => {
      const map = new Map<string, string>();
      let isDone = false;
      map.get = (key) => {
        if (key === path && !isDone) change();
        isDone ||= key === path;
        return undefined;
      };
      return map;
    };
    let path: string;

    beforeEach(() => {
      path = join(root, 'src', 'a.ts');
      writeFileSync(path, 'one line\n'.repeat(50));
    });

    it('takes what is there when one grows', async () => {
      const unsaved = meanwhile(path, () => appendFileSync(path, 'another line\n'));
      const { sources, leftOut } = await read([path], { unsaved });
      assert.equal(sources[0]?.text, `${'one line\n'.repeat(50)}another line\n`);
      assert.deepEqual(leftOut, []);
    });

    it('never takes the end of one that grew too large for the whole', async () => {
      const unsaved = meanwhile(path, () => writeFileSync(path, 'another line\n'.repeat(500)));
      const found = await read([path], { unsaved, limits: { files: 5, bytes: 1_000 } });
      assert.deepEqual(found.sources, []);
      assert.match(found.leftOut[0]?.reason ?? '', /^more than .* in all$/);
    });

    it('takes what is left when one shrinks, and leaves out what is empty then', async () => {
      const shrunk = await read([path], { unsaved: meanwhile(path, () => truncateSync(path, 9)) });
      assert.equal(shrunk.sources[0]?.text, 'one line\n');
      const emptied = await read([path], { unsaved: meanwhile(path, () => truncateSync(path)) });
      assert.deepEqual(emptied.leftOut, [{ name: 'src/a.ts', reason: 'empty' }]);
    });

    it('leaves out one that is deleted, and reads the others', async () => {
      const found = await read([root], { unsaved: meanwhile(path, () => rmSync(path)) });
      assert.deepEqual(names(found), ['README.md']);
      assert.deepEqual(found.leftOut, [{ name: 'src/a.ts', reason: 'could not be read' }]);
    });
  });

  it('reads 500 files of a folder, and says which it did not', async () => {
    const folder = join(scratch, 'project', 'many');
    await mkdir(folder);
    for (let i = 0; i < 501; i++) writeFileSync(join(folder, `${1000 + i}.txt`), `File ${i}.\n`);
    const found = await read([folder]);
    assert.equal(found.sources.length, 500);
    assert.deepEqual(readingNotes(found), ['Left out (more than 500 files): many/1500.txt.']);
  });

  it('reads the end of a file that is too long from the start of a line', async () => {
    await put('project/long.log', 'first line\nsecond line\nthird line\n');
    const path = join(root, 'long.log');
    const end = await readEnd(path, 15);
    assert.deepEqual([end.bytes.toString(), end.cut], ['third line\n', true]);
    const whole = await readEnd(path, 1_000);
    assert.deepEqual([whole.bytes.length, whole.cut], [34, false]);
    await assert.rejects(readEnd(root, 1_000));
  });
});
