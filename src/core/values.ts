import { hasCredentials } from './address';

/** Settings arrive as they were written: of any type. */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

export function positive(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0;
}

/** Something the person should know, such as a setting that was ignored. */
export interface ConfigProblem {
  setting: string;
  message: string;
}

export function problem(setting: string, message: string): ConfigProblem {
  return { setting: `ollamaIntern.${setting}`, message };
}

/** A user and a password in an address are not sent, and that is said. `host` is what became of it. */
export function credentialsProblems(
  setting: string,
  written: string,
  host: string,
  instead: string,
): ConfigProblem[] {
  if (!hasCredentials(written)) return [];
  return [
    problem(
      setting,
      `The user and password in the address of ${new URL(host).host} are not sent. Use ${instead}.`,
    ),
  ];
}
