/** Grammars that hold the model to `format`. */
import type { Grammar, Llama } from './llama-native';
import { toGrammarSchema } from './llama-schema';

type Format = 'json' | Record<string, unknown>;

/** node-llama-cpp wants four newlines after the value, which costs tokens; the end mark will do. */
const TRAILING_NEWLINES = / "(?:\\n){4}" \[\\n\]\*$/m;
/** Its whole numbers may have an exponent, so 5e-3 among them. */
const INTEGER_RULE = /^integer-number-rule ::= .*$/m;
const PLAIN_INTEGER = 'integer-number-rule ::= "-"? ("0" | [1-9] [0-9]{0,15})';

const KEPT = 20;

export class GrammarCache {
  private readonly grammars = new Map<string, Promise<Grammar>>();

  constructor(
    private readonly llama: Llama,
    private readonly note: (text: string) => void,
  ) {}

  get(format: Format): Promise<Grammar> {
    const key = JSON.stringify(format);
    const grammar = this.grammars.get(key) ?? this.create(format);
    this.grammars.delete(key);
    this.grammars.set(key, grammar);
    const oldest = this.grammars.keys().next().value;
    if (this.grammars.size > KEPT && oldest !== undefined) this.grammars.delete(oldest);
    return grammar;
  }

  /** A schema that no grammar can be made of still gets JSON, and a note. */
  private async create(format: Format): Promise<Grammar> {
    if (format === 'json') return this.llama.getGrammarFor('json');
    const { schema, notes } = toGrammarSchema(format);
    for (const text of notes) this.note(`format ${text}`);
    try {
      const { grammar } = await this.llama.createGrammarForJsonSchema(schema);
      const strict = grammar.replace(TRAILING_NEWLINES, '').replace(INTEGER_RULE, PLAIN_INTEGER);
      return await this.llama.createGrammar({ grammar: strict });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.note(`format #: no grammar could be made of it, any JSON is allowed: ${reason}`);
      return this.llama.getGrammarFor('json');
    }
  }
}
