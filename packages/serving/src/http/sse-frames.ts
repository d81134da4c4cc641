import { StringDecoder } from 'node:string_decoder';

/** Longest frame that is waited for. */
export const maxFrameBytes = 8 * 1024 * 1024;

/**
 * Cuts a stream of bytes into server-sent events, wherever its pieces are cut: in the middle of a line or of a
 * character.
 */
export class SseFrames {
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';
  #searched = 0;

  /** What has come of an event that has not ended. */
  get rest(): string {
    return this.#rest;
  }

  /**
   * @returns the events that are complete, each without the empty line that ends it.
   * @throws Error when an event gets longer than {@link maxFrameBytes}.
   */
  push(chunk: Uint8Array): string[] {
    let text = this.#rest + this.#decoder.write(chunk);
    const events: string[] = [];
    let from = this.#searched;
    for (;;) {
      const match = endOfEvent(text, from);
      if (match === undefined) break;
      events.push(text.slice(0, match.start));
      text = text.slice(match.end);
      from = 0;
    }
    this.#rest = text;
    // The end may begin in the last three characters.
    this.#searched = Math.max(0, text.length - 3);
    if (text.length > maxFrameBytes) throw new Error(`an event is longer than ${maxFrameBytes} bytes`);
    return events;
  }
}

function endOfEvent(text: string, from: number): { start: number; end: number } | undefined {
  for (let at = text.indexOf('\n', from); at !== -1; at = text.indexOf('\n', at + 1)) {
    if (text[at + 1] === '\n') return { start: text[at - 1] === '\r' ? at - 1 : at, end: at + 2 };
    if (text[at + 1] === '\r' && text[at + 2] === '\n') {
      return { start: text[at - 1] === '\r' ? at - 1 : at, end: at + 3 };
    }
  }
  return undefined;
}

/** The data of an event; undefined when it has none, as a comment that keeps the connection alive. */
export function eventData(event: string): string | undefined {
  if (event.startsWith('data: ') && !event.includes('\n')) return event.slice(6);
  const lines: string[] = [];
  for (const line of event.split(/\r?\n/)) {
    if (line.startsWith('data:')) lines.push(line.slice(line[5] === ' ' ? 6 : 5));
  }
  return lines.length === 0 ? undefined : lines.join('\n');
}
