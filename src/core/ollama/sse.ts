import { LineTooLongError, MAX_LINE_CHARS } from './ndjson';

/** One server-sent event. `type` is `message` unless the server names another. */
export interface ServerEvent {
  type: string;
  data: string;
}

/**
 * Cuts a byte stream into server-sent events, as the HTML standard reads them: any kind of line end, comments, several
 * `data` lines for one event. Bytes may split anywhere, inside a character too.
 */
export class EventDecoder {
  // Takes the byte order mark away, as the standard wants it.
  readonly #decoder = new TextDecoder('utf-8');
  /** The beginning of a line whose end has not come yet. */
  #rest = '';
  /** The last text ended with a CR: a LF that follows belongs to it. */
  #afterCr = false;
  #type = '';
  #data: string[] = [];
  #size = 0;

  /** The events that this chunk completes. */
  push(chunk: Uint8Array): ServerEvent[] {
    return this.#take(this.#decoder.decode(chunk, { stream: true }));
  }

  /** The last event, when only its blank line is missing. A line that was cut off is no event. */
  end(): ServerEvent[] {
    return [...this.#take(this.#decoder.decode()), ...this.#dispatch()];
  }

  #take(text: string): ServerEvent[] {
    if (text === '') return [];
    const from = this.#afterCr && text.startsWith('\n') ? 1 : 0;
    this.#afterCr = text.endsWith('\r');
    const lines = text.slice(from).split(/\r\n|\r|\n/);
    lines[0] = this.#rest + (lines[0] as string);
    this.#rest = lines.pop() as string;
    const events = lines.flatMap((line) => this.#line(line));
    if (this.#rest.length + this.#size > MAX_LINE_CHARS) throw new LineTooLongError();
    return events;
  }

  #line(line: string): ServerEvent[] {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') {
      this.#data.push(value);
      this.#size += value.length;
    } else if (field === 'event') {
      this.#type = value;
    }
    return [];
  }

  #dispatch(): ServerEvent[] {
    const events =
      this.#data.length > 0 ? [{ type: this.#type || 'message', data: this.#data.join('\n') }] : [];
    this.#type = '';
    this.#data = [];
    this.#size = 0;
    return events;
  }
}
