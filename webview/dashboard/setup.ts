import { sameModel } from '../../src/core/ollama/names';
import type { ResidencyState, Setup } from '../../src/shared/dashboard';
import { gigabytes } from './format';
import { t } from './l10n';

type Tier = Setup['tiers'][number];
export type BackendName = Tier['backend'];

export interface ModelState {
  text: string;
  tone: 'good' | 'warning' | 'quiet';
  /** What can be done about it. */
  action?: 'load' | 'pull';
}

/** Where a tier's model is, in a few words. */
export function modelState(
  { backend, name }: Pick<Tier, 'backend' | 'name'>,
  { installed, cloud, gateway }: Pick<Setup, 'installed' | 'cloud' | 'gateway'>,
  residency: ResidencyState,
): ModelState {
  const found = installed?.find((model) => sameModel(model.name, name));
  if (backend === 'gateway') {
    return gateway === undefined
      ? { text: t('no gateway is set'), tone: 'warning' }
      : { text: t('on the gateway'), tone: 'quiet' };
  }
  if (backend === 'cloud' || found?.remote) {
    return cloud.mode === 'off'
      ? { text: t('in the cloud, which is off'), tone: 'warning' }
      : { text: t('in the cloud'), tone: 'quiet' };
  }
  if (residency.state === 'known' && residency.models.some((one) => sameModel(one.name, name))) {
    return { text: t('loaded'), tone: 'good' };
  }
  // What was installed before it went away is no help now.
  if (!installed || residency.state === 'failed') return { text: t('unknown'), tone: 'quiet' };
  if (!found) return { text: t('not installed'), tone: 'warning', action: 'pull' };
  return {
    text: t('installed, {0} GB', gigabytes(found.size)),
    tone: 'quiet',
    action: 'load',
  };
}

/** What a test of a backend tries: its result says nothing of another server, mode or key. */
export function testedBy(
  backend: BackendName,
  { host, gateway, cloud }: Pick<Setup, 'host' | 'gateway' | 'cloud'>,
): string {
  switch (backend) {
    case 'local':
      return host;
    case 'cloud':
      return `${cloud.host} ${cloud.mode} ${cloud.key}`;
    case 'gateway':
      return gateway ?? '';
  }
}

/** What a field for a model offers: those that are installed and have the text in their name, best first. */
export function suggestions(
  installed: Setup['installed'],
  typed: string,
): { name: string; note: string }[] {
  const part = typed.trim().toLowerCase();
  const at = (name: string): number => name.toLowerCase().indexOf(part);
  return (installed ?? [])
    .filter(({ name }) => at(name) >= 0)
    .sort((a, b) => Number(at(a.name) > 0) - Number(at(b.name) > 0) || compare(a.name, b.name))
    .map(({ name, size, remote }) => ({
      name: name.replace(/:latest$/, ''),
      note: remote ? t('in the cloud') : t('{0} GB', gigabytes(size)),
    }));
}

/** A number as it is typed in any language; anything else is left to whoever checks it. */
export function numberOf(text: string): number | string {
  const number = Number(text.trim().replace(',', '.'));
  return Number.isFinite(number) ? number : text;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
