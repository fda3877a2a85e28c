import { posix } from 'node:path';

/** Files of a repository that say most about it. */
export interface RepositoryFiles {
  picked: string[];
  /** How many files there are beside them. */
  others: number;
}

const MOST_FILES = 20;

/** What a file is, from what says most to what says least. */
const KINDS: ((path: string, name: string) => boolean)[] = [
  (path, name) => /^readme(\.\w+)?$/i.test(name) && isAtRoot(path),
  (path, name) => isManifest(name) && isAtRoot(path),
  (_path, name) => /^(architecture|design|contributing|overview)(\.\w+)?$/i.test(name),
  (_path, name) => /^(main|index|app|cli|server|extension|lib|mod|__main__)\.\w+$/.test(name),
  (path, name) => isManifest(name) || (/^docs?\//.test(path) && /\.(md|rst|adoc)$/.test(name)),
  (_path, name) => SOURCE.test(name),
];

const MANIFESTS = new Set([
  ...['package.json', 'pyproject.toml', 'setup.py', 'Cargo.toml', 'go.mod', 'pom.xml', 'Gemfile'],
  ...['build.gradle', 'build.gradle.kts', 'composer.json', 'mix.exs', 'CMakeLists.txt', 'Makefile'],
  ...['Dockerfile', 'docker-compose.yml', 'deno.json', 'Package.swift', 'requirements.txt'],
]);
const SOURCE =
  /\.(ts|tsx|js|jsx|mjs|py|go|rs|java|kt|c|h|cc|cpp|cs|rb|php|swift|scala|ex|svelte|vue)$/;
const TESTS = /(^|\/)(tests?|__tests__|spec|fixtures|examples?|vendor|third_party)\//i;

/** The same for the same paths, in whatever order they come. Paths are relative, with slashes. */
export function pickRepositoryFiles(paths: readonly string[], most = MOST_FILES): RepositoryFiles {
  const ranked = paths.flatMap((path) => {
    const kind = KINDS.findIndex((is) => is(path, posix.basename(path)));
    const isHidden = posix.basename(path).startsWith('.');
    return kind === -1 || isHidden || TESTS.test(path)
      ? []
      : [{ path, kind, depth: path.split('/').length }];
  });
  ranked.sort((a, b) => a.kind - b.kind || a.depth - b.depth || (a.path < b.path ? -1 : 1));
  const picked = ranked.slice(0, most).map(({ path }) => path);
  return { picked, others: paths.length - picked.length };
}

function isAtRoot(path: string): boolean {
  return !path.includes('/');
}

function isManifest(name: string): boolean {
  return MANIFESTS.has(name) || name.endsWith('.csproj');
}
