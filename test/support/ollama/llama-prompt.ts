/** The prompt as the model sees it: its own chat template, its own tokenizer. */
import type { EngineMessage, EngineRequest } from './engine';
import type { GgufInfo, JinjaModule, JinjaTemplate, LlamaModel, Token } from './llama-native';

export type Prompt = Pick<EngineRequest, 'messages' | 'raw' | 'tools'>;

function forTemplate({ role, content, tool_calls, tool_name }: EngineMessage) {
  const calls = tool_calls?.map((call) => ({ type: 'function', ...call }));
  return {
    role,
    content,
    ...(calls && { tool_calls: calls }),
    ...(tool_name && { name: tool_name }),
  };
}

export class PromptRenderer {
  private readonly template: JinjaTemplate | undefined;

  constructor(info: GgufInfo, jinja: JinjaModule) {
    const source = info.metadata.tokenizer?.chat_template;
    this.template = source ? new jinja.Template(source) : undefined;
  }

  tokens(prompt: Prompt, model: LlamaModel): Token[] {
    const text = prompt.raw ?? this.render(prompt, model);
    const tokens = model.tokenize(text, true);
    const { bos, shouldPrependBosToken } = model.tokens;
    // Some templates write the mark themselves; twice would be wrong.
    if (bos !== null && shouldPrependBosToken && tokens[0] !== bos) tokens.unshift(bos);
    return tokens;
  }

  /** A base model has no template: like Ollama, it gets the texts as they are. */
  private render({ messages, tools }: Prompt, model: LlamaModel): string {
    if (!this.template) return messages.map(({ content }) => content).join('\n\n');
    try {
      return this.template.render({
        messages: messages.map(forTemplate),
        add_generation_prompt: true,
        bos_token: model.tokens.bosString ?? '',
        eos_token: model.tokens.eosString ?? '',
        ...(tools?.length && { tools }),
      });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`The chat template refused these messages: ${reason}`, { cause: error });
    }
  }
}
