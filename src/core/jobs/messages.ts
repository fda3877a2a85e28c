import type { ChatMessage } from '../ollama/client';

/** The two messages of a prompt: lines of instructions, and paragraphs of what is worked on. Empty ones are left out. */
export function messagesOf(system: readonly string[], user: readonly string[]): ChatMessage[] {
  return [
    { role: 'system', content: system.filter(Boolean).join('\n') },
    { role: 'user', content: user.filter(Boolean).join('\n\n') },
  ];
}
