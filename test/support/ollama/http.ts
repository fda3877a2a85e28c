/** The plainest of clients, for tests of the server itself. */

export interface AnswerMessage {
  role: string;
  content: string;
  thinking?: string;
  tool_calls?: {
    id: string;
    function: { index: number; name: string; arguments: Record<string, unknown> };
  }[];
}

export interface ListedModel {
  name: string;
  model: string;
  remote_model?: string;
  remote_host?: string;
  details: object;
  size: number;
  size_vram: number;
  expires_at: string;
  context_length: number;
}

/** Every field that some answer or other has: a test that reads one means it to be there. */
export interface Body {
  model: string;
  remote_model: string;
  remote_host: string;
  message: AnswerMessage;
  thinking: string;
  done: boolean;
  done_reason: string;
  error: string;
  models: ListedModel[];
  completed: number;
  padding: string;
  cloud: { disabled: boolean };
  object: string;
  total_duration: number;
  load_duration: number;
  prompt_eval_count: number;
  prompt_eval_duration: number;
  eval_count: number;
  eval_duration: number;
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** The JSON body, or the last line of a stream. */
  json: Body;
  /** Every line of a stream; lines that are not JSON stay text. */
  lines: Body[];
}

export async function ask(
  base: string,
  path: string,
  body?: unknown,
  init: RequestInit = {},
): Promise<Answer> {
  const response = await send(base, path, body, init);
  return read(response);
}

export function send(
  base: string,
  path: string,
  body?: unknown,
  init: RequestInit = {},
): Promise<Response> {
  return fetch(base + path, {
    method: body === undefined ? 'GET' : 'POST',
    body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    redirect: 'manual',
    ...init,
  });
}

export async function read(response: Response): Promise<Answer> {
  const text = await response.text();
  const lines = text.split('\n').filter((line) => line.trim());
  const values = lines.map(parsed);
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: values.at(-1) as Body,
    lines: values,
  };
}

function parsed(line: string): Body {
  try {
    return JSON.parse(line) as Body;
  } catch {
    return line as unknown as Body;
  }
}
