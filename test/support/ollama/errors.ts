/** What Ollama answers when it refuses: the exact texts, in one place. */

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly extra: { signin_url?: string; headers?: Record<string, string> } = {},
  ) {
    super(message);
    this.name = 'ApiError';
  }

  body(): Record<string, unknown> {
    const { signin_url } = this.extra;
    return signin_url ? { error: this.message, signin_url } : { error: this.message };
  }
}

/** The client went away. Nobody reads the answer; Ollama logs it as 499. */
export class RequestCanceled extends ApiError {
  constructor() {
    super(499, 'request canceled');
  }
}

const quoted = (text: string) => JSON.stringify(text);

/** llama-server answers in JSON and Ollama passes that text on as its own error string. */
function fromLlamaServer(status: number, error: Record<string, unknown>): ApiError {
  return new ApiError(status, JSON.stringify({ error: { code: status, ...error } }));
}

export const errors = {
  modelNotFound: (name: string) => new ApiError(404, `model '${name}' not found`),
  modelNotFoundForCopy: (name: string) => new ApiError(404, `model ${quoted(name)} not found`),
  modelNotFoundForEmbed: (name: string) =>
    new ApiError(404, `model ${quoted(name)} not found, try pulling it first`),
  modelRequired: () => new ApiError(400, 'model is required'),
  invalidModelName: () => new ApiError(400, 'invalid model name'),
  missingBody: () => new ApiError(400, 'missing request body'),
  unexpectedEof: () => new ApiError(400, 'unexpected EOF'),
  invalidCharacter: (found: string) =>
    new ApiError(400, `invalid character '${found}' looking for beginning of value`),
  wrongType: (found: string, field: string, goType: string) =>
    new ApiError(
      400,
      `json: cannot unmarshal ${found} into Go struct field ${field} of type ${goType}`,
    ),
  noThinking: (name: string) => new ApiError(400, `${quoted(name)} does not support thinking`),
  badThink: (value: string) =>
    new ApiError(
      400,
      `invalid think value: ${quoted(value)} (must be "high", "medium", "low", "max", true, or false)`,
    ),
  lacksCapability: (fullName: string, capability: 'tools' | 'insert') =>
    new ApiError(400, `${fullName} does not support ${capability}`),
  embeddingOnly: (name: string, wanted: 'chat' | 'generate') =>
    new ApiError(400, `${quoted(name)} does not support ${wanted}`),
  noEmbeddings: () =>
    new ApiError(501, 'This server does not support embeddings. Start it with `--embeddings`'),
  optionType: (name: string, type: string) =>
    new ApiError(500, `option ${quoted(name)} must be of type ${type}`),
  badFormat: (format: unknown) =>
    new ApiError(
      500,
      `invalid format: ${quoted(JSON.stringify(format))}; expected "json" or a valid JSON Schema object`,
    ),
  noGrammar: () => new ApiError(500, 'invalid JSON schema in format'),
  badDuration: (text: string) => new ApiError(400, `time: invalid duration ${quoted(text)}`),
  missingUnit: (text: string) =>
    new ApiError(400, `time: missing unit in duration ${quoted(text)}`),
  topLogprobs: () => new ApiError(400, 'top_logprobs must be between 0 and 20'),
  toolArguments: () =>
    new ApiError(400, "Value looks like object, but can't find closing '}' symbol"),
  badBase64: () => new ApiError(400, 'illegal base64 data at input byte 0'),
  rawWithTemplate: () =>
    new ApiError(400, 'raw mode does not support template, system, or context'),
  noImages: () =>
    fromLlamaServer(500, {
      message:
        'image input is not supported - hint: if this is unexpected, you may need to provide the mmproj',
      type: 'server_error',
    }),
  contextExceeded: (promptTokens: number, window: number) =>
    fromLlamaServer(400, {
      message: `request (${promptTokens} tokens) exceeds the available context size (${window} tokens), try increasing it`,
      type: 'exceed_context_size_error',
      n_prompt_tokens: promptTokens,
      n_ctx: window,
    }),
  promptTooLong: () =>
    new ApiError(
      400,
      'the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the context length in settings, or use a model with a longer context length',
    ),
  queueFull: () =>
    new ApiError(503, 'server busy, please try again.  maximum pending requests exceeded'),
  loadFailed: (text: string) => new ApiError(500, text),
  outOfMemory: (bytes: number) =>
    new ApiError(
      500,
      'llama-server process has terminated: exit status 1: ' +
        `ggml_aligned_malloc: insufficient memory (attempted to allocate ${(bytes / 2 ** 20).toFixed(2)} MB)\n` +
        `ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size ${bytes}\n` +
        `alloc_tensor_range: failed to allocate CPU buffer of size ${bytes}\n` +
        'llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache',
    ),
  loadStalled: () =>
    new ApiError(500, 'timed out waiting for llama-server to start - progress 0.00 - '),
  runnerStopped: () =>
    new ApiError(
      500,
      'model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama server logs for details',
    ),
  runnerDied: () =>
    new ApiError(500, 'an error was encountered while running the model: unexpected EOF'),
  embedTooLong: () => new ApiError(400, 'the input length exceeds the context length'),
  badInputType: () => new ApiError(400, 'invalid input type'),
  cloudDisabled: () => new ApiError(403, 'ollama cloud is disabled: remote model is unavailable'),
  cloudAndLocal: () =>
    new ApiError(400, 'use either :cloud or :local, not both: conflicting model source'),
  unauthorized: (signin_url?: string) => new ApiError(401, 'unauthorized', { signin_url }),
  cloudUnreachable: (url: string, reason: string) =>
    new ApiError(502, `Post ${quoted(url)}: dial tcp ${reason}`),
  accountUnavailable: () => new ApiError(503, 'account unavailable'),
  badDigest: () => new ApiError(400, 'invalid digest format'),
  digestMismatch: (expected: string, got: string) =>
    new ApiError(400, `digest mismatch, expected ${quoted(expected)}, got ${quoted(got)}`),
  manifestUnreachable: (fullName: string) => {
    const [host = '', namespace = '', model = '', tag = ''] = fullName.split(/[/:]/);
    const url = `https://${host}/v2/${namespace}/${model}/manifests/${tag}`;
    return new ApiError(
      500,
      `pull model manifest: Get ${quoted(url)}: dial tcp: lookup ${host} on 127.0.0.53:53: no such host`,
    );
  },
  manifestMissing: () => new ApiError(500, 'pull model manifest: file does not exist'),
  blobMissing: (digest: string) =>
    new ApiError(
      500,
      `open /usr/share/ollama/.ollama/models/blobs/${digest.replace(':', '-')}: no such file or directory`,
    ),
};
