/** An event of a stream. */
export interface StreamEvent {
  readonly name: string;
  readonly data: string;
}

/** More than this without an end of line is no event stream of ours. */
const maximumCharacters = 16 * 1024 * 1024;

/** Takes a server-sent event stream apart, however it was cut into chunks. */
export class SseParser {
  #rest = '';
  #name = '';
  #data: string[] = [];
  #size = 0;

  /** The events that this text completes. */
  push(text: string): StreamEvent[] {
    const events: StreamEvent[] = [];
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    this.#limit(this.#rest.length);
    for (const line of lines) this.#line(line.endsWith('\r') ? line.slice(0, -1) : line, events);
    return events;
  }

  #line(line: string, events: StreamEvent[]): void {
    if (line === '') {
      if (this.#data.length > 0) {
        events.push({ name: this.#name === '' ? 'message' : this.#name, data: this.#data.join('\n') });
      }
      this.#name = '';
      this.#data = [];
      this.#size = 0;
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'event') this.#name = value;
    if (field !== 'data') return;
    this.#size += value.length;
    this.#limit(this.#size);
    this.#data.push(value);
  }

  #limit(length: number): void {
    if (length > maximumCharacters) throw new Error('an event of the stream is too long');
  }
}
