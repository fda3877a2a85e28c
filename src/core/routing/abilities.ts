import { InternError } from '../errors';
import type { Prompted } from './call';
import type { Ready } from './drivers';

/** What a prompt may need of a model beside text, as /api/show spells it, and in words. */
const ABILITIES = { tools: 'cannot call tools', vision: 'cannot read images' } as const;
type Ability = keyof typeof ABILITIES;

/**
 * Throws when the model lacks what the prompt needs: a tool or an image is never left out without a word. Thinking is
 * no such thing: a model that cannot think answers all the same.
 */
export function checkAbilities(
  prompt: Pick<Prompted, 'messages' | 'tools'>,
  { capabilities }: Pick<Ready, 'capabilities'>,
  model: string,
): void {
  const lacking = needsOf(prompt).find((need) => !capabilities.includes(need));
  if (!lacking) return;
  throw new InternError({
    code: 'bad_input',
    message: `${model} ${ABILITIES[lacking]}. Nothing was sent to it.`,
    hint:
      lacking === 'tools'
        ? 'Choose a model with the tools capability, or ask without tools.'
        : 'Choose a model with the vision capability, or leave the images out.',
    actions: [{ kind: 'choose_profile' }],
    details: { model, capability: lacking },
  });
}

/** The error of `checkAbilities`; one of the same kind from a server has a status. */
export function lacksAbility({ details }: InternError): boolean {
  return details.status === undefined && (details.capability ?? '') in ABILITIES;
}

function needsOf({ messages, tools }: Pick<Prompted, 'messages' | 'tools'>): Ability[] {
  const needs: Ability[] = [];
  if (tools && tools.length > 0) needs.push('tools');
  if (messages.some(({ images }) => images && images.length > 0)) needs.push('vision');
  return needs;
}
