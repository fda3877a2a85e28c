export interface WorkbenchPaths {
  folder: string;
  node: string;
  entry: string;
  version: string;
}

export interface QuietOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  say: (text: string) => void;
  label: string;
}

export const root: string;
export const cache: string;
export class SetupError extends Error {}
export function progress(what: string): {
  say: (text: string) => void;
  start: (text: string) => void;
};
export function runQuietly(command: string, args: string[], options: QuietOptions): Promise<string>;
export function ensureDependencies(): Promise<void>;
export function ensureWorkbench(): Promise<WorkbenchPaths>;
export function ensureChromium(): Promise<string>;
export function which(name: string): string | undefined;
export function killTree(pid: number): void;
