import { StringDecoder } from 'node:string_decoder';

const MAX_LINE_CHARACTERS = 16 * 2 ** 20;

/** Finds the `data:` lines of an event stream that comes in pieces cut anywhere, also inside a character. */
export class SseLines {
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  /** The data of the lines that end in this piece. */
  push(piece: Buffer): string[] {
    const text = this.#rest + this.#decoder.write(piece);
    const data: string[] = [];
    let start = 0;
    for (let end = text.indexOf('\n', start); end >= 0; end = text.indexOf('\n', start)) {
      const line = text.charCodeAt(end - 1) === 13 ? text.slice(start, end - 1) : text.slice(start, end);
      if (line.startsWith('data:')) data.push(line.slice(line.charCodeAt(5) === 32 ? 6 : 5));
      start = end + 1;
    }
    this.#rest = text.slice(start);
    if (this.#rest.length > MAX_LINE_CHARACTERS) throw new Error('a line of the stream does not end');
    return data;
  }
}
