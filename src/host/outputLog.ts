import * as vscode from 'vscode';
import type { ConfigProblem, Intern } from '../core';
import { plain } from './plain';
import { breakerLine } from './status';

/** The output channel that tells what goes wrong in settings, calls and backends while it does. */
export function outputLog(intern: Intern): vscode.Disposable {
  const log = vscode.window.createOutputChannel('Ollama Intern', { log: true });
  const warn = (problems: ConfigProblem[]): void =>
    problems.forEach((p) => log.warn(`${p.setting}: ${p.message}`));
  warn(intern.config.problems);
  const listener = intern.listen({
    onError: (error, job) => log.error(`${job}: ${error.code}: ${error.message}`),
    onBackend: (status, before) => {
      if (status.breaker.state !== before.state) log.info(breakerLine(status, before));
    },
    onConfig: ({ problems }) => warn(problems),
    onLogProblem: (error) => {
      log.error(`The audit log cannot be written: ${error.message}`);
      const where = `${intern.config.logPath}): ${error.message}`;
      void vscode.window.showWarningMessage(
        plain(`The audit log cannot be written (${where}. Calls go on without it.`),
      );
    },
  });
  return vscode.Disposable.from(listener, log);
}
