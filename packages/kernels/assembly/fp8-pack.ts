// Operands of products as tiles: `[ceil(rows / width)][k][width]`.
import { transpose32 } from './panels';

// Kinds of sources.
@inline
const FLOATS: i32 = 0;
@inline
const BYTES: i32 = 1;

/**
 * Packs rows x k elements into tiles of `width` (2, 4 or 8) rows; rows that are missing become zeros. Strides in bytes.
 * `kind`: 0 float32, 1 bytes or 2 16-bit codes, looked up in `table`.
 */
export function packTiles(
  kind: i32, src: usize, rowStride: usize, kStride: usize, rows: i32, k: i32, table: usize, dst: usize, width: i32,
): void {
  const step = <usize>width << 2;
  for (let r = 0; r < rows; r += width) {
    const here = min(width, rows - r);
    const from = src + <usize>r * rowStride;
    if (kind == FLOATS && kStride == 4 && here == width && width >= 4 && (k & 3) == 0) {
      transpose32(from, rowStride, 4, k, dst, step);
      if (width == 8) transpose32(from + 4 * rowStride, rowStride, 4, k, dst + 16, step);
    } else if (kind == FLOATS && rowStride == 4 && here == width && width >= 4) {
      let p = from;
      for (let q = dst; q < dst + <usize>k * step; q += step) {
        v128.store(q, v128.load(p));
        if (width == 8) v128.store(q, v128.load(p, 16), 16);
        p += kStride;
      }
    } else {
      for (let i = 0; i < width; i++) {
        let p = from + <usize>i * rowStride;
        let q = dst + (<usize>i << 2);
        const end = q + <usize>k * step;
        if (i >= here) {
          for (; q < end; q += step) store<f32>(q, 0);
        } else if (kind == FLOATS) {
          for (; q < end; q += step) {
            store<f32>(q, load<f32>(p));
            p += kStride;
          }
        } else if (kind == BYTES) {
          for (; q < end; q += step) {
            store<f32>(q, load<f32>(table + (<usize>load<u8>(p) << 2)));
            p += kStride;
          }
        } else {
          for (; q < end; q += step) {
            store<f32>(q, load<f32>(table + (<usize>load<u16>(p) << 2)));
            p += kStride;
          }
        }
      }
    }
    dst += <usize>k * step;
  }
}

/** The same for bytes looked up in a table of bytes; missing rows get the entry of code 0. */
export function packBytes(
  src: usize, rowStride: usize, kStride: usize, rows: i32, k: i32, table: usize, dst: usize, width: i32,
): void {
  const missing = load<u8>(table);
  for (let r = 0; r < rows; r += width) {
    for (let i = 0; i < width; i++) {
      let p = src + <usize>(r + i) * rowStride;
      let q = dst + <usize>i;
      const end = q + <usize>(k * width);
      if (r + i >= rows) {
        for (; q < end; q += width) store<u8>(q, missing);
      } else {
        for (; q < end; q += width) {
          store<u8>(q, load<u8>(table + <usize>load<u8>(p)));
          p += kStride;
        }
      }
    }
    dst += <usize>(k * width);
  }
}
