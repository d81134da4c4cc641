// out[i, r] (+)= sum_k x[i, k] W[r, k], blocked for the caches.
import { gemvBlock1, gemvBlock4 } from './gemv';
import { BF16, copyColumns, decodeBlock, E4M3, F32, groupedRows, packBlock, panelBytes } from './panels';
import { quantizeToValues } from './quantize';
import { ACTIVATION_FACTOR, loadPartial, storePartial, SUM_FACTOR } from './simd';
import { e4m3Tile2, tile } from './tile';

// Layouts of W.
@inline
const PANELS: i32 = 0;
@inline
const ROWS: i32 = 1;

/** Rows of x packed at a time, and floats of packed x: 256 KiB, a quarter of a common level-2 cache. */
@inline
const ROW_CHUNK: i32 = 128;
@inline
const PACKED_FLOATS: i32 = 65536;

// Scratch: constants and sums (1 KiB), a block as it is stored (4 KiB + overrun), the same block decoded (4 KiB +
// overrun), C of a narrow panel (ROW_CHUNK x 8), activation scales, packed x, quantised x.
@inline
const BLOCK: usize = 1024;
@inline
const DECODED: usize = BLOCK + 4096 + 256;
@inline
const NARROW: usize = DECODED + 4096 + 256;
@inline
const SCALES: usize = NARROW + ROW_CHUNK * 32;

@inline
function columnChunk(rows: i32, k: i32): i32 {
  const fit = (PACKED_FLOATS / ((rows + 3) & ~3)) & ~127;
  return min(k, max(fit, 128));
}

/** Bytes of scratch that {@link linear} needs. */
export function linearScratchBytes(m: i32, k: i32, quantized: bool): f64 {
  const blocks = (k + 127) >> 7;
  if (m == 1) return <f64>SCALES + (<f64>blocks + 32) * 4 + (<f64>k + 64) * 4;
  const rows = min(m, ROW_CHUNK);
  const chunk = columnChunk(rows, k);
  const scales = <f64>(rows * ((chunk + 127) >> 7) + 32) * 4;
  const packed = (<f64>((rows + 3) & ~3) * <f64>chunk + 64) * 4;
  const values = quantized ? <f64>rows * <f64>((chunk + 3) & ~3) * 4 + 64 : 0;
  return <f64>SCALES + scales + packed + values;
}

/** Weight scale of the block at row r (counted from the first row, which lies `phase` rows into its scale block). */
@inline
function weightScale(scales: usize, scaleStride: usize, phase: i32, r: i32, k: i32): f32 {
  return scales == 0 ? <f32>1 : load<f32>(scales + <usize>((phase + r) >> 7) * scaleStride + (<usize>(k >> 7) << 2));
}

function scaledCopy(src: usize, n: i32, factor: f32, dst: usize): void {
  const f = f32x4.splat(factor);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    v128.store(dst, f32x4.mul(v128.load(src), f));
    src += 16;
    dst += 16;
  }
  v128.store(dst, i < n ? f32x4.mul(loadPartial(src, n - i), f) : f32x4.splat(0));
}

/** Packs rows x k floats into tiles of 4 rows `[k][4]` and a last tile `[k][rows % 4]`, times `factor`. */
function packActivations(src: usize, stride: usize, rows: i32, k: i32, factor: f32, dst: usize): void {
  const f = f32x4.splat(factor);
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    const p0 = src + <usize>r * stride, p1 = p0 + stride, p2 = p1 + stride, p3 = p2 + stride;
    const whole = k & ~3;
    for (let c = 0; c < whole; c += 4) {
      const o = <usize>c << 2;
      const a = f32x4.mul(v128.load(p0 + o), f), b = f32x4.mul(v128.load(p1 + o), f);
      const d = f32x4.mul(v128.load(p2 + o), f), e = f32x4.mul(v128.load(p3 + o), f);
      const ab0 = v128.shuffle<u32>(a, b, 0, 4, 1, 5), ab1 = v128.shuffle<u32>(a, b, 2, 6, 3, 7);
      const de0 = v128.shuffle<u32>(d, e, 0, 4, 1, 5), de1 = v128.shuffle<u32>(d, e, 2, 6, 3, 7);
      v128.store(dst, v128.shuffle<u64>(ab0, de0, 0, 2));
      v128.store(dst, v128.shuffle<u64>(ab0, de0, 1, 3), 16);
      v128.store(dst, v128.shuffle<u64>(ab1, de1, 0, 2), 32);
      v128.store(dst, v128.shuffle<u64>(ab1, de1, 1, 3), 48);
      dst += 64;
    }
    for (let c = whole; c < k; c++) {
      const o = <usize>c << 2;
      store<f32>(dst, load<f32>(p0 + o) * factor);
      store<f32>(dst, load<f32>(p1 + o) * factor, 4);
      store<f32>(dst, load<f32>(p2 + o) * factor, 8);
      store<f32>(dst, load<f32>(p3 + o) * factor, 12);
      dst += 16;
    }
  }
  const rest = rows - r;
  for (let i = 0; i < rest; i++) {
    let s = src + <usize>(r + i) * stride;
    let d = dst + (<usize>i << 2);
    for (let c = 0; c < k; c++) {
      store<f32>(d, load<f32>(s) * factor);
      s += 4;
      d += <usize>rest << 2;
    }
  }
  // One more column of zeros, for decoders that take E4M3 codes in pairs.
  v128.store(dst + (<usize>(rest * k) << 2), f32x4.splat(0));
}

/** Copies `rows` x `width` (1..8) floats. */
function copyNarrow(src: usize, srcStride: usize, dst: usize, dstStride: usize, rows: i32, width: i32): void {
  for (let i = 0; i < rows; i++) {
    if (width > 4) {
      v128.store(dst, v128.load(src));
      storePartial(dst + 16, loadPartial(src + 16, width - 4), width - 4);
    } else {
      storePartial(dst, loadPartial(src, width), width);
    }
    src += srcStride;
    dst += dstStride;
  }
}

function clearTile(c: usize, stride: usize, rows: i32): void {
  const zero = f32x4.splat(0);
  for (let i = 0; i < rows; i++) {
    v128.store(c, zero);
    v128.store(c, zero, 16);
    c += stride;
  }
}

/**
 * Reads a byte of every cache line from `p` to `end` and leaves their sum at `sink`. What follows computes long enough on a line that few lines
 * are on their way at a time, which leaves memory idle where hardware does not fetch ahead; loads alone ask for many at once.
 */
function fetchLines(p: usize, end: usize, sink: usize): void {
  let sum: u32 = 0;
  for (; p + 256 <= end; p += 256) sum += <u32>load<u8>(p) + load<u8>(p, 64) + load<u8>(p, 128) + load<u8>(p, 192);
  for (; p < end; p += 64) sum += load<u8>(p);
  store<u32>(sink, sum);
}

/** m = 1 over panels. */
function gemv(format: i32, w: usize, stride: usize, rows: i32, k: i32, scales: usize, scaleStride: usize, x: usize, out: usize, accumulate: bool, mode: i32, scratch: usize): void {
  const blocks = (k + 127) >> 7;
  const xScales = scratch + SCALES;
  let xs: f32 = 1;
  if (format == E4M3) {
    const values = xScales + ((<usize>blocks * 4 + 63) & ~63);
    if (mode) {
      quantizeToValues(x, k, mode == 2, values, xScales, SUM_FACTOR);
      store<f32>(values + (<usize>((k + 3) & ~3) << 2), 0);
    } else {
      scaledCopy(x, k, ACTIVATION_FACTOR, values);
      xs = SUM_FACTOR;
    }
    x = values;
  }
  const sums = scratch;
  const grouped = groupedRows(rows);
  const groupBytes = panelBytes(format, 512);
  const groupsEnd = w + <usize>(grouped >> 3) * stride;
  for (let r = 0; r < rows; ) {
    const four = r < grouped;
    const width = min(four ? 32 : 8, rows - r);
    const o = out + (<usize>r << 2);
    for (let i = 0; i < width; i += 4) {
      v128.store(sums + (<usize>i << 2), accumulate ? loadPartial(o + (<usize>i << 2), min(4, width - i)) : f32x4.splat(0));
    }
    let p = w + <usize>(r >> 3) * stride;
    let a = x;
    for (let c = 0; c < k; c += 128) {
      const n = min(128, k - c);
      const ws = weightScale(scales, scaleStride, 0, r, c);
      if (mode) xs = load<f32>(xScales + (<usize>(c >> 7) << 2));
      if (four) {
        // Panels of float32 lie apart, and four streams keep memory busy.
        if (format != F32) fetchLines(p + groupBytes, min(p + 2 * groupBytes, groupsEnd), scratch + BLOCK);
        gemvBlock4(format, p, stride, a, n, sums, xs, ws);
      } else gemvBlock1(format, p, a, n, sums, xs, ws);
      p += four && format != F32 ? groupBytes : panelBytes(format, 128);
      a += 512;
    }
    for (let i = 0; i < width; i += 4) {
      storePartial(o + (<usize>i << 2), v128.load(sums + (<usize>i << 2)), min(4, width - i));
    }
    r += width;
  }
}

/**
 * The product. `stride`: bytes between panels, rows (layout 1, row-major `[rows, k]`) or k-rows (layout 2, `[k, rows]`).
 * `phase`: rows from the start of the scale block to the first row. Strides of x and out in bytes.
 * `mode`: 0 plain, 1 quantise activations with f32 scales, 2 with power-of-two scales (E4M3 weights only).
 */
export function linear(
  format: i32, layout: i32, w: usize, stride: usize, rows: i32, k: i32, scales: usize, scaleStride: usize, phase: i32,
  x: usize, xStride: usize, m: i32, out: usize, outStride: usize, accumulate: bool, mode: i32, scratch: usize,
): void {
  if (m == 1 && layout == PANELS) {
    gemv(format, w, stride, rows, k, scales, scaleStride, x, out, accumulate, mode, scratch);
    return;
  }
  const fp8 = format == E4M3;
  const factor: f32 = fp8 && mode == 0 ? ACTIVATION_FACTOR : 1;
  const grouped = groupedRows(rows);
  // Constants that tiles read through a pointer.
  store<f32>(scratch, fp8 ? SUM_FACTOR : 1);
  const block = scratch + BLOCK, decoded = scratch + DECODED, narrow = scratch + NARROW, xScales = scratch + SCALES;
  for (let i0 = 0; i0 < m; i0 += ROW_CHUNK) {
    const rowsHere = min(ROW_CHUNK, m - i0);
    const chunk = columnChunk(rowsHere, k);
    const chunkBlocks = (chunk + 127) >> 7;
    const packed = xScales + ((<usize>(rowsHere * chunkBlocks) * 4 + 63) & ~63);
    const values = packed + ((<usize>(((rowsHere + 3) & ~3) * chunk) * 4 + 79) & ~63);
    for (let k0 = 0; k0 < k; k0 += chunk) {
      const kHere = min(chunk, k - k0);
      const source = x + <usize>i0 * xStride + (<usize>k0 << 2);
      let xs = scratch, xss: usize = 0, xsb: usize = 0;
      if (mode) {
        const valueStride = <usize>((chunk + 3) & ~3) << 2;
        xss = <usize>chunkBlocks << 2;
        for (let i = 0; i < rowsHere; i++) {
          quantizeToValues(source + <usize>i * xStride, kHere, mode == 2, values + <usize>i * valueStride, xScales + <usize>i * xss, SUM_FACTOR);
        }
        packActivations(values, valueStride, rowsHere, kHere, 1, packed);
        xs = xScales;
        xsb = 4;
      } else {
        packActivations(source, xStride, rowsHere, kHere, factor, packed);
      }
      const outRows = out + <usize>i0 * outStride;
      for (let r = 0; r < rows; ) {
        const width = min(8, min(rows - r, 128 - ((phase + r) & 127)));
        const o = outRows + (<usize>r << 2);
        const wide = width == 8;
        const c = wide ? o : narrow;
        const cs: usize = wide ? outStride : 32;
        const fresh = k0 == 0 && !accumulate;
        if (fresh) clearTile(c, cs, rowsHere);
        else if (!wide) copyNarrow(o, outStride, narrow, 32, rowsHere, width);
        for (let kb = 0; kb < kHere; kb += 128) {
          const n = min(128, kHere - kb);
          const column = k0 + kb;
          let p: usize;
          let step: usize = 16;
          if (layout == PANELS) {
            if (format != F32 && r < grouped) {
              step = 64;
              p = w + <usize>(r >> 5) * 4 * stride + (<usize>((r >> 3) & 3) << 4) + panelBytes(format, column) * 4;
            } else {
              p = w + <usize>(r >> 3) * stride + panelBytes(format, column);
            }
          } else if (layout == ROWS) {
            p = block;
            const elementBytes: usize = format == F32 ? 4 : format == BF16 ? 2 : 1;
            packBlock(format, w + <usize>r * stride + <usize>column * elementBytes, stride, width, n, block, 16);
          } else {
            p = block;
            copyColumns(w + <usize>column * stride + (<usize>r << 2), stride, n, block);
          }
          const ws = weightScale(scales, scaleStride, phase, r, column);
          const xb = xs + <usize>(kb >> 7) * xsb;
          if (fp8 && rowsHere == 2) {
            e4m3Tile2(p, step, packed + (<usize>kb << 3), n, c, cs, xb, xss, ws);
            continue;
          }
          if (format != F32) {
            decodeBlock(format, p, step, n, decoded);
            p = decoded;
          }
          for (let i = 0; i < rowsHere; i += 4) {
            const tileRows = min(4, rowsHere - i);
            tile(tileRows, p, packed + (<usize>(i * kHere + kb * tileRows) << 2), n, c + <usize>i * cs, cs, xb + <usize>i * xss, xss, ws);
          }
        }
        if (!wide) copyNarrow(narrow, 32, o, outStride, rowsHere, width);
        r += width;
      }
    }
  }
}
