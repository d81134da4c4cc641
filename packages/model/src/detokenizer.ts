/** Turns tokens into text as they come. What `push` and `flush` return, put together, is the text of all tokens. */
export interface Detokenizer {
  /** Text that is certain after this token; an incomplete character waits for the next ones. */
  push(token: number): string;
  /** Text that was still waiting, incomplete characters as U+FFFD. */
  flush(): string;
}

/** What a vocabulary says about one id. */
export type TokenPiece =
  | { readonly type: 'bytes'; readonly bytes: Uint8Array }
  /** An added token: its text stands between decoded runs. */
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'skipped' };

const EMPTY = new Uint8Array(0);

/** Detokenizer of byte-level vocabularies: every token is bytes, so a streaming UTF-8 decoder does all the work. */
export class ByteDetokenizer implements Detokenizer {
  private readonly pieceOf: (token: number) => TokenPiece;
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(pieceOf: (token: number) => TokenPiece) {
    this.pieceOf = pieceOf;
  }

  push(token: number): string {
    const piece = this.pieceOf(token);
    if (piece.type === 'bytes') return this.decoder.decode(piece.bytes, { stream: true });
    if (piece.type === 'skipped') return '';
    return this.flush() + piece.text;
  }

  flush(): string {
    return this.decoder.decode(EMPTY);
  }
}

const REPLACEMENT = '\uFFFD';

/**
 * Detokenizer of any other vocabulary: decodes a window of recent tokens with and without the new one and returns the
 * difference. The window keeps the tokens of the last piece, since decoders treat a leading token differently.
 */
export class WindowDetokenizer implements Detokenizer {
  private readonly decode: (tokens: number[]) => string;
  private window: number[] = [];
  /** Tokens at the start of the window whose text was returned. */
  private done = 0;

  constructor(decode: (tokens: number[]) => string) {
    this.decode = decode;
  }

  push(token: number): string {
    this.window.push(token);
    const before = this.done === 0 ? '' : this.decode(this.window.slice(0, this.done));
    const now = this.decode(this.window);
    if (now.endsWith(REPLACEMENT) || now.length <= before.length) return '';
    const text = now.slice(before.length);
    this.window = this.window.slice(this.done);
    this.done = this.window.length;
    return text;
  }

  flush(): string {
    const before = this.done === 0 ? '' : this.decode(this.window.slice(0, this.done));
    const now = this.window.length === 0 ? '' : this.decode(this.window);
    this.window = [];
    this.done = 0;
    return now.slice(before.length);
  }
}
