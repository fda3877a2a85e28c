/** The thread in which a log is read and added up. */
import { parentPort } from 'node:worker_threads';
import { LogIndexer } from './logIndexer';
import type { FromWorker, LogQuestion, ToWorker } from './logService';

const port = parentPort;
if (!port) throw new Error('This file runs as a worker.');

const post = (message: FromWorker): void => port.postMessage(message);
let indexer: LogIndexer | undefined;

function open(path: string): void {
  indexer?.close();
  indexer = new LogIndexer(path, { onChanged: (state, anew) => post({ state, anew }) });
}

async function answer(log: LogIndexer, question: LogQuestion): Promise<unknown> {
  switch (question.what) {
    case 'look':
      return log.look();
    case 'calls':
      return log.calls(question.query);
    case 'facets':
      return log.facets();
    case 'call':
      return log.call(question.which);
    case 'trends':
      return log.trends(question.query);
    case 'evictions':
      return log.evictions(question.since);
  }
}

port.on('message', (message: ToWorker) => {
  if ('open' in message) return open(message.open);
  const { id, question } = message;
  void (async () => indexer && answer(indexer, question))().then(
    (value) => post({ id, value }),
    (error: unknown) => post({ id, problem: (error as Error).message }),
  );
});
