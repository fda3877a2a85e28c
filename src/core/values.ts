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
