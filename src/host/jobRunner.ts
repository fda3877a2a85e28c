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
  /** Cancels the call, beside the progress's own button. */
  signal?: AbortSignal;
  onDelta: (text: string) => void;
  onPhase?: (phase: Phase) => void;
}

/** Progress is updated this often while tokens come. Milliseconds. */
const WRITING_UPDATE_MS = 250;

/** Runs a job for a command, with a progress that can be cancelled. Rejects with an InternError. */
export async function runWithProgress<N extends JobName>(
  intern: Intern,
  job: N,
  input: InputOf<N>,
  ui: JobUi,
): Promise<Envelope<ResultOf<N>>> {
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: plain(ui.title), cancellable: true },
    (progress, token) => {
      const controller = new AbortController();
      token.onCancellationRequested(() => controller.abort());
      let shownAt = 0;
      return intern.run(job, input, {
        surface: 'command',
        overflow: ui.overflow,
        signal: ui.signal ? AbortSignal.any([controller.signal, ui.signal]) : controller.signal,
        onDelta: ui.onDelta,
        onPhase: (phase) => {
          ui.onPhase?.(phase);
          if (phase.phase === 'writing') {
            const now = Date.now();
            if (now - shownAt < WRITING_UPDATE_MS) return;
            shownAt = now;
          }
          progress.report({ message: plain(phaseText(phase)) });
        },
      });
    },
  );
}

/** What stands under an answer: where it comes from, why not from elsewhere, and what to beware of. */
export function envelopeLines(envelope: Envelope): string[] {
  const { degrade_reason, backend, warnings } = envelope;
  return [
    envelopeLine(envelope),
    ...(degrade_reason ? [degradeSentence(degrade_reason, backend)] : []),
    ...warnings,
  ];
}
