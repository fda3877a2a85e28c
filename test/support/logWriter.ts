/** A process of its own that appends to a shared log once it is told to: PATH WHO COUNT FILE-BYTES KEPT-BYTES. */
import { AuditLog } from '../../src/core/audit/log';

const [path = '', who, count, file, kept] = process.argv.slice(2);
const problems: string[] = [];
const log = new AuditLog(path, Date.now, (error) => problems.push(error.message), {
  file: Number(file),
  kept: Number(kept),
});

process.once('message', () => {
  for (let n = 0; n < Number(count); n++) {
    log.write({ kind: 'call', who, n, fill: 'ü'.repeat(n % 97) });
  }
  void log.flush().then(() => {
    process.send?.(problems);
    process.disconnect();
  });
});
process.send?.('ready');
