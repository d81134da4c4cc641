import { CheckpointError, quoted } from './errors.js';

/** Nesting beyond which JSON in a checkpoint is rejected; the deepest legal header needs 3. */
const MAX_JSON_DEPTH = 32;
/** Longest string (UTF-8 bytes, as written) accepted in checkpoint JSON. */
const MAX_JSON_STRING_BYTES = 65_536;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;

/**
 * Pull scanner for strict JSON in bytes that nobody vouches for.
 *
 * It exists beside `JSON.parse` because that keeps the last of duplicate keys silently, rounds large integers, and
 * builds the whole value before anything can be counted.
 */
export class JsonScanner {
  private readonly bytes: Uint8Array;
  private readonly file: string;
  private readonly decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  private position = 0;

  constructor(file: string, bytes: Uint8Array) {
    this.file = file;
    // TextDecoder refuses shared memory.
    this.bytes = bytes.buffer instanceof ArrayBuffer ? bytes : new Uint8Array(bytes);
  }

  /** Bytes consumed so far. */
  get offset(): number {
    return this.position;
  }

  /** Error at the current position. */
  fail(message: string): CheckpointError {
    return new CheckpointError(this.file, {
      code: 'fp8/bad-json',
      message: `${message} at byte ${this.position} of its JSON`,
      value: this.position,
      remedy: 'the file is damaged or not a safetensors checkpoint: fetch it again',
    });
  }

  /** Calls `member` once per key of the object that starts here; `member` consumes the value. */
  object(member: (key: string) => void): void {
    this.expect(0x7b, '{');
    if (this.accept(0x7d)) return;
    do {
      this.skipSpace();
      const key = this.string();
      this.expect(COLON, ':');
      member(key);
    } while (this.accept(COMMA));
    this.expect(0x7d, '}');
  }

  /** Calls `element` once per element of the array that starts here; `element` consumes it. */
  array(element: (index: number) => void): void {
    this.expect(0x5b, '[');
    if (this.accept(0x5d)) return;
    let index = 0;
    do element(index++);
    while (this.accept(COMMA));
    this.expect(0x5d, ']');
  }

  string(): string {
    this.skipSpace();
    if (this.bytes[this.position] !== QUOTE) throw this.fail('expected a string');
    const start = this.position + 1;
    let end = start;
    let escaped = false;
    for (; ; end++) {
      const byte = this.bytes[end];
      if (byte === undefined) throw this.fail('expected the end of a string, got the end of the text');
      if (byte === QUOTE) break;
      if (byte < 0x20) throw this.fail('expected no control character in a string');
      if (byte === BACKSLASH) {
        escaped = true;
        end++;
      }
      if (end - start > MAX_JSON_STRING_BYTES) {
        throw this.fail(`expected a string of at most ${MAX_JSON_STRING_BYTES} bytes`);
      }
    }
    try {
      const text = this.decoder.decode(this.bytes.subarray(start, end));
      const value = escaped ? (JSON.parse(`"${text}"`) as string) : text;
      this.position = end + 1;
      return value;
    } catch {
      throw this.fail('expected a valid UTF-8 JSON string');
    }
  }

  /** A non-negative integer that a double holds exactly, written without sign, fraction or exponent. */
  integer(what: string): number {
    this.skipSpace();
    const start = this.position;
    let value = 0;
    let digits = 0;
    for (; ; digits++) {
      const digit = (this.bytes[start + digits] ?? 0) - 0x30;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      if (value > Number.MAX_SAFE_INTEGER) throw this.fail(`expected ${what} of at most 2^53 - 1`);
    }
    const next = this.bytes[start + digits] ?? 0;
    const continues = next === 0x2e || next === 0x65 || next === 0x45;
    const leadingZero = digits > 1 && this.bytes[start] === 0x30;
    if (digits === 0 || continues || leadingZero) {
      throw this.fail(`expected ${what} as a non-negative integer`);
    }
    this.position = start + digits;
    return value;
  }

  /** Skips any value; nesting beyond {@link MAX_JSON_DEPTH} is an error. */
  skipValue(depth = 0): void {
    if (depth > MAX_JSON_DEPTH) throw this.fail(`expected nesting of at most ${MAX_JSON_DEPTH}`);
    this.skipSpace();
    const byte = this.bytes[this.position];
    if (byte === 0x7b) this.object(() => this.skipValue(depth + 1));
    else if (byte === 0x5b) this.array(() => this.skipValue(depth + 1));
    else if (byte === QUOTE) this.string();
    else this.skipScalar();
  }

  /** Checks that only white space is left. */
  end(): void {
    this.skipSpace();
    if (this.position !== this.bytes.length) throw this.fail('expected the end of the text');
  }

  duplicate(key: string): CheckpointError {
    return this.fail(`expected each key once, got ${quoted(key)} again`);
  }

  private skipScalar(): void {
    const start = this.position;
    let end = start;
    for (; end < this.bytes.length && end - start <= 64; end++) {
      const byte = this.bytes[end]!;
      const isScalar =
        (byte >= 0x30 && byte <= 0x39) ||
        (byte >= 0x61 && byte <= 0x7a) ||
        byte === 0x2b ||
        byte === 0x2d ||
        byte === 0x2e ||
        byte === 0x45;
      if (!isScalar) break;
    }
    const text = String.fromCharCode(...this.bytes.subarray(start, end));
    if (!/^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/.test(text)) {
      throw this.fail('expected a JSON value');
    }
    this.position = end;
  }

  private skipSpace(): void {
    for (; ; this.position++) {
      const byte = this.bytes[this.position];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
    }
  }

  private accept(byte: number): boolean {
    this.skipSpace();
    if (this.bytes[this.position] !== byte) return false;
    this.position++;
    return true;
  }

  private expect(byte: number, shown: string): void {
    if (!this.accept(byte)) throw this.fail(`expected "${shown}"`);
  }
}
