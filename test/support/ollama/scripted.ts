import { ComputedEngine } from './computed';
import type { EnginePiece, EngineRequest, EngineResult } from './engine';

/** Answers every prompt with this text, word for word. */
export class ScriptedEngine extends ComputedEngine {
  constructor(public answer: string) {
    super();
  }

  override async generate(
    request: EngineRequest,
    onPiece: (piece: EnginePiece) => void | Promise<void>,
  ): Promise<EngineResult> {
    const words = this.answer.match(/\s*\S+|\s+$/g) ?? [];
    for (const text of words) await onPiece({ kind: 'text', text });
    return {
      promptTokens: await this.countPrompt(request),
      outputTokens: words.length,
      doneReason: 'stop',
    };
  }
}
