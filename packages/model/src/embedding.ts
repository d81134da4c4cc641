import type { Kernels, Weight } from '@moestack/kernels';

/** Token embeddings in their stored type; a row is expanded to float32 when its token is read. */
export class Embedding {
  private readonly lookupRow: (token: number, out: Float32Array, row: number) => void;

  private constructor(lookupRow: (token: number, out: Float32Array, row: number) => void) {
    this.lookupRow = lookupRow;
  }

  /** A table of its own, `[vocabulary, hidden]`, bfloat16 bits or float32. */
  static fromTable(table: Float32Array | Uint16Array, hidden: number): Embedding {
    if (table instanceof Uint16Array) {
      // bfloat16 is the upper half of float32, so the output is written as integers.
      let bits: Uint32Array = new Uint32Array(0);
      let target: Float32Array | undefined;
      return new Embedding((token, out, row) => {
        if (target !== out) {
          bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
          target = out;
        }
        const from = token * hidden;
        const to = row * hidden;
        for (let i = 0; i < hidden; i++) bits[to + i] = table[from + i]! << 16;
      });
    }
    return new Embedding((token, out, row) => {
      const from = token * hidden;
      const to = row * hidden;
      for (let i = 0; i < hidden; i++) out[to + i] = table[from + i]!;
    });
  }

  /** The table that is the output head too (`tie_word_embeddings`): one resident copy, rows read through a kernel. */
  static fromWeight(kernels: Kernels, weight: Weight): Embedding {
    const one = kernels.arena.f32(1);
    one[0] = 1;
    const row = kernels.arena.f32(weight.cols);
    const options = { rowStart: 0, rowCount: 1 };
    return new Embedding((token, out, target) => {
      options.rowStart = token;
      kernels.linearTransposed(weight, one, row, 1, options);
      out.set(row, target * weight.cols);
    });
  }

  /** Writes the embeddings of `tokens[first .. first + count)` into `out` `[count, hidden]`. */
  lookup(tokens: Int32Array, first: number, count: number, out: Float32Array): void {
    for (let i = 0; i < count; i++) this.lookupRow(tokens[first + i]!, out, i);
  }
}
