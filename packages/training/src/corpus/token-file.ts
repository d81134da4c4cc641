import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import type { CorpusSplit } from '@moestack/schemas';
import { END_OF_TEXT_ID } from '../tokenizer/train-bpe.js';

/** Writes token ids as little-endian uint16, one segment after the other, each with an end-of-text token behind it. */
export class TokenFileWriter {
  readonly #file: FileHandle;
  readonly #name: string;
  readonly #hash: Hash = createHash('sha256');
  readonly #segments: [document: number, start: number, tokens: number][] = [];
  #tokens = 0;
  #bytes = 0;

  private constructor(file: FileHandle, name: string) {
    this.#file = file;
    this.#name = name;
  }

  /** @param name - of the file, as the index calls it. */
  static async create(path: string, name: string): Promise<TokenFileWriter> {
    return new TokenFileWriter(await open(path, 'w'), name);
  }

  /** @param bytes - UTF-8 bytes of the text that the tokens are of. */
  async add(document: number, ids: readonly number[], bytes: number): Promise<void> {
    const chunk = new Uint8Array(2 * (ids.length + 1));
    const view = new DataView(chunk.buffer);
    ids.forEach((id, index) => {
      view.setUint16(2 * index, id, true);
    });
    view.setUint16(2 * ids.length, END_OF_TEXT_ID, true);
    await this.#file.write(chunk);
    this.#hash.update(chunk);
    this.#segments.push([document, this.#tokens, ids.length + 1]);
    this.#tokens += ids.length + 1;
    this.#bytes += bytes;
  }

  /** Closes the file, and gives its index. */
  async finish(): Promise<CorpusSplit> {
    await this.#file.sync();
    await this.#file.close();
    return {
      file: this.#name,
      sha256: this.#hash.digest('hex'),
      tokens: this.#tokens,
      bytes: this.#bytes,
      segments: this.#segments,
    };
  }

  /** Closes the file of a preparation that failed. */
  async abandon(): Promise<void> {
    await this.#file.close().catch(() => undefined);
  }
}
