import Agent from 'undici/lib/dispatcher/agent.js';

/**
 * The connections of one Intern. Header and body timers are off: Ollama sends no headers until the model is loaded,
 * and undici's 300 s default is the "fetch failed" of every slow machine. The deadline is the router's.
 */
export function createAgent(): Agent {
  return new Agent({ headersTimeout: 0, bodyTimeout: 0, connect: { timeout: 10_000 } });
}
