import { badInput, type Handed, type SlashCommand } from './handed';
import type { Job } from './job';
import { type JobName, JOBS } from './registry';

/** The commands of all jobs that are called in plain words, in the order of the registry. */
export function slashCommands(): SlashCommand[] {
  const all = jobNames().flatMap((name) => cardOf(name).handed?.command ?? []);
  return [...new Map(all.map((command) => [command.name, command])).values()];
}

/** The job that a command means, and the request without the word that chose it. Throws `bad_input`. */
export function chooseJob(command: string, handed: Handed): { job: JobName; handed: Handed } {
  const names = jobNames().filter((name) => cardOf(name).handed?.command.name === command);
  const [, first = '', rest = ''] = /^\s*(\p{L}+)\b:?\s*(.*)$/su.exec(handed.request) ?? [];
  const named = names.find((name) => cardOf(name).handed?.words?.includes(first.toLowerCase()));
  if (named) return { job: named, handed: { ...handed, request: rest } };
  const job = names.find((name) => cardOf(name).handed?.suits?.(handed) ?? true);
  if (job) return { job, handed };
  const known = slashCommands().map(({ name }) => `/${name}`);
  throw badInput(`There is no command /${command}.`, `There are: ${known.join(', ')}.`);
}

/** What a job says of itself. */
export function cardOf(name: JobName): Job {
  return JOBS[name];
}

export function jobNames(): JobName[] {
  return Object.keys(JOBS) as JobName[];
}
