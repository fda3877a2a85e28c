import type { CommandId } from './ids';

/** As much of package.json as is read here. */
export interface Manifest {
  contributes: {
    commands: readonly Command[];
    menus: { commandPalette: readonly { command: CommandId; when: string }[] };
  };
}

interface Command {
  command: CommandId;
  /** Where it is translated, the editor hands on both, so that its palette finds a command by either. */
  title: string | { value: string; original: string };
}

/** A command's title in the display language. */
export function titleOf({ title }: Pick<Command, 'title'>): string {
  return typeof title === 'string' ? title : title.value;
}
