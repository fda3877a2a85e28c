import { InternError } from '../errors';
import type { Question, Steps } from './job';

/** With less room than this beside the instructions, a text would be torn to shreds. Characters. */
export const LEAST_ROOM = 200;

/** How much text fits beside a question. When that is next to nothing, it rejects and says what to do. */
export async function roomFor(steps: Steps, question: Question): Promise<number> {
  const room = await steps.room(question);
  if (room >= LEAST_ROOM) return room;
  throw noRoom();
}

export function noRoom(): InternError {
  return new InternError({
    code: 'context_overflow',
    message: "The model's window has no room for text beside the instructions.",
    hint: 'Give the tier a larger context window, or choose a model that has one.',
    actions: [{ kind: 'open_setting', setting: 'ollamaIntern.options.contextWindow' }],
  });
}
