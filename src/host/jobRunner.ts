import * as vscode from 'vscode';
import {
  type Envelope,
  envelopeLine,
  type InputOf,
  type Intern,
  type JobName,
  type Phase,
  phaseText,
  type ResultOf,
} from '../core';
import { degradeSentence } from '../shared/degradation';
import { plain } from './plain';

export interface JobUi {
  /** What is being done, for the progress: `Summarizing main.ts`. */
  title: string;
  overflow: 'refuse' | 'shorten';
  /** One to use instead of the tier's. */
  model?: string;
  /** Cancels the call, beside the progress's own button. */
  signal?: AbortSignal;
  onDelta: (text: string) => void;
  onPhase?: (phase: Phase) => void;
}

/** Progress is updated this often while tokens come. Milliseconds. */
const WRITING_UPDATE_MS = 250;

/** Does something behind a progress whose button cancels it. The signal given here cancels it too. */
export function cancellable<T>(
  title: string,
  run: (signal: AbortSignal, progress: vscode.Progress<{ message: string }>) => Promise<T>,
  signal?: AbortSignal,
): Thenable<T> {
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: plain(title), cancellable: true },
    (progress, token) => {
      const controller = new AbortController();
      token.onCancellationRequested(() => controller.abort());
      const either = signal ? AbortSignal.any([controller.signal, signal]) : controller.signal;
      return run(either, {
        report: ({ message }) => progress.report({ message: plain(message) }),
      });
    },
  );
}

/** Runs a job for a command, with a progress that can be cancelled. Rejects with an InternError. */
export async function runWithProgress<N extends JobName>(
  intern: Intern,
  job: N,
  input: InputOf<N>,
  ui: JobUi,
): Promise<Envelope<ResultOf<N>>> {
  return cancellable(
    ui.title,
    (signal, progress) => {
      let shownAt = 0;
      return intern.run(job, input, {
        surface: 'command',
        overflow: ui.overflow,
        model: ui.model,
        signal,
        onDelta: ui.onDelta,
        onPhase: (phase) => {
          ui.onPhase?.(phase);
          if (phase.phase === 'writing') {
            const now = Date.now();
            if (now - shownAt < WRITING_UPDATE_MS) return;
            shownAt = now;
          }
          progress.report({ message: phaseText(phase) });
        },
      });
    },
    ui.signal,
  );
}

/** What stands under an answer: where it comes from, why not from elsewhere, and what to beware of. */
export function envelopeLines(envelope: Envelope): string[] {
  return [envelopeLine(envelope), ...cautions(envelope)];
}

/** Why an answer does not come from where it should, and what to beware of. */
export function cautions({ degrade_reason, backend, warnings }: Envelope): string[] {
  return [...(degrade_reason ? [degradeSentence(degrade_reason, backend)] : []), ...warnings];
}
