import type { ChatRequest } from '../ollama/client';
import type { ModelInfo } from './catalogue';

/** Tokens for thoughts, of a model that is asked to think or thinks whatever it is told, beside those of its answer. */
export const THINKING_ROOM = 2048;

/** It knows how much to think, and not how to think nothing. */
const ALWAYS_THINKS = /(?:^|\/)gpt-?oss(?![a-z])/i;

export function alwaysThinks(model: string): boolean {
  return ALWAYS_THINKS.test(model);
}

/**
 * How to ask a model to think, or else for as little thinking as it can do: one that can think does so unless told not
 * to, and spends the answer's tokens on it. Others must not be asked.
 */
export function thinkFor(
  { name, capabilities }: ModelInfo,
  isWanted = false,
): ChatRequest['think'] {
  if (!capabilities.includes('thinking')) return undefined;
  if (isWanted) return true;
  return alwaysThinks(name) ? 'low' : false;
}
