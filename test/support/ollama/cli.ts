/** Starts the simulator on its own: `node --import tsx test/support/ollama/cli.ts --port 11434`. */
import { parseArgs } from 'node:util';
import { startOllama } from './server';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    'load-ms': { type: 'string', default: '0' },
    'token-ms': { type: 'string', default: '0' },
  },
});

void startOllama({
  port: Number(values.port),
  loadMs: Number(values['load-ms']),
  tokenMs: Number(values['token-ms']),
}).then((server) => {
  console.log(server.url);
  const stop = () => void server.close().then(() => process.exit(0));
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
});
