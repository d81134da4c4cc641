// out[i, c] (+)= sum_r x[i, r] W[r, c] over row-major weights, 16 columns and two rows of x at a time.
import { BF16, E4M3 } from './panels';
import { evenCodes, loadPartial, lowerBf16, lowerE4m3, madd, oddCodes, storePartial, SUM_FACTOR, ACTIVATION_FACTOR, upperBf16, upperE4m3 } from './simd';

/** Bytes of scratch that {@link linearTransposed} needs. */
export function transposedScratchBytes(rows: i32): f64 {
  return 256 + <f64>rows * 8;
}

/** Four vectors of columns 4L + j, to or from sums of columns in order. */
function transpose4(p: usize): void {
  const a = v128.load(p), b = v128.load(p, 16), c = v128.load(p, 32), d = v128.load(p, 48);
  const ab0 = v128.shuffle<u32>(a, b, 0, 4, 1, 5), ab1 = v128.shuffle<u32>(a, b, 2, 6, 3, 7);
  const cd0 = v128.shuffle<u32>(c, d, 0, 4, 1, 5), cd1 = v128.shuffle<u32>(c, d, 2, 6, 3, 7);
  v128.store(p, v128.shuffle<u64>(ab0, cd0, 0, 2));
  v128.store(p, v128.shuffle<u64>(ab0, cd0, 1, 3), 16);
  v128.store(p, v128.shuffle<u64>(ab1, cd1, 0, 2), 32);
  v128.store(p, v128.shuffle<u64>(ab1, cd1, 1, 3), 48);
}

/** (even columns, odd columns) of 8 from columns in order, and back. */
function deinterleave(p: usize): void {
  const a = v128.load(p), b = v128.load(p, 16);
  v128.store(p, v128.shuffle<u32>(a, b, 0, 2, 4, 6));
  v128.store(p, v128.shuffle<u32>(a, b, 1, 3, 5, 7), 16);
}
function interleave(p: usize): void {
  const a = v128.load(p), b = v128.load(p, 16);
  v128.store(p, v128.shuffle<u32>(a, b, 0, 4, 1, 5));
  v128.store(p, v128.shuffle<u32>(a, b, 2, 6, 3, 7), 16);
}

/** 16 columns, two rows of x stored as [r][2]; sums in the order that decoding yields, 128 bytes at s. */
function columns16(format: i32, w: usize, stride: usize, x: usize, rows: i32, s: usize): void {
  let a0 = v128.load(s), a1 = v128.load(s, 16), a2 = v128.load(s, 32), a3 = v128.load(s, 48);
  let b0 = v128.load(s, 64), b1 = v128.load(s, 80), b2 = v128.load(s, 96), b3 = v128.load(s, 112);
  const end = x + <usize>(rows * 8);
  if (format == E4M3) {
    while (x < end) {
      const v = v128.load(w);
      const x0 = v128.load32_splat(x), x1 = v128.load32_splat(x, 4);
      const e = evenCodes(v), o = oddCodes(v);
      let t = lowerE4m3(e);
      a0 = madd(a0, t, x0);
      b0 = madd(b0, t, x1);
      t = lowerE4m3(o);
      a1 = madd(a1, t, x0);
      b1 = madd(b1, t, x1);
      t = upperE4m3(e);
      a2 = madd(a2, t, x0);
      b2 = madd(b2, t, x1);
      t = upperE4m3(o);
      a3 = madd(a3, t, x0);
      b3 = madd(b3, t, x1);
      w += stride;
      x += 8;
    }
  } else if (format == BF16) {
    while (x < end) {
      const v = v128.load(w), u = v128.load(w, 16);
      const x0 = v128.load32_splat(x), x1 = v128.load32_splat(x, 4);
      let t = lowerBf16(v);
      a0 = madd(a0, t, x0);
      b0 = madd(b0, t, x1);
      t = upperBf16(v);
      a1 = madd(a1, t, x0);
      b1 = madd(b1, t, x1);
      t = lowerBf16(u);
      a2 = madd(a2, t, x0);
      b2 = madd(b2, t, x1);
      t = upperBf16(u);
      a3 = madd(a3, t, x0);
      b3 = madd(b3, t, x1);
      w += stride;
      x += 8;
    }
  } else {
    while (x < end) {
      const x0 = v128.load32_splat(x), x1 = v128.load32_splat(x, 4);
      let t = v128.load(w);
      a0 = madd(a0, t, x0);
      b0 = madd(b0, t, x1);
      t = v128.load(w, 16);
      a1 = madd(a1, t, x0);
      b1 = madd(b1, t, x1);
      t = v128.load(w, 32);
      a2 = madd(a2, t, x0);
      b2 = madd(b2, t, x1);
      t = v128.load(w, 48);
      a3 = madd(a3, t, x0);
      b3 = madd(b3, t, x1);
      w += stride;
      x += 8;
    }
  }
  v128.store(s, a0);
  v128.store(s, a1, 16);
  v128.store(s, a2, 32);
  v128.store(s, a3, 48);
  v128.store(s, b0, 64);
  v128.store(s, b1, 80);
  v128.store(s, b2, 96);
  v128.store(s, b3, 112);
}

function loadSums(out: usize, n: i32, factor: f32, s: usize): void {
  for (let i = 0; i < 16; i += 4) {
    v128.store(s + (<usize>i << 2), i < n ? f32x4.mul(loadPartial(out + (<usize>i << 2), n - i), f32x4.splat(factor)) : f32x4.splat(0));
  }
}

function storeSums(out: usize, n: i32, factor: f32, s: usize): void {
  for (let i = 0; i < n; i += 4) {
    storePartial(out + (<usize>i << 2), f32x4.mul(v128.load(s + (<usize>i << 2)), f32x4.splat(factor)), n - i);
  }
}

/** Operands as in {@link linear}, layout row-major. Reads up to 63 bytes beyond a weight row. */
export function linearTransposed(
  format: i32, w: usize, stride: usize, rows: i32, k: i32, scales: usize, scaleStride: usize, phase: i32,
  x: usize, xStride: usize, m: i32, out: usize, outStride: usize, accumulate: bool, scratch: usize,
): void {
  const sums = scratch;
  const pairs = scratch + 256;
  const fp8 = format == E4M3;
  const factor: f32 = fp8 ? SUM_FACTOR : 1;
  const elementBytes: usize = fp8 ? 1 : format == BF16 ? 2 : 4;
  for (let i = 0; i < m; i += 2) {
    const two = i + 1 < m;
    const x0 = x + <usize>i * xStride;
    const x1 = two ? x0 + xStride : x0;
    for (let c0 = 0; c0 < k; c0 += 128) {
      // Activations times the scale of their row's block.
      for (let r = 0; r < rows; r++) {
        const scale = scales == 0 ? <f32>1 : load<f32>(scales + <usize>((phase + r) >> 7) * scaleStride + (<usize>(c0 >> 7) << 2));
        let a = load<f32>(x0 + (<usize>r << 2)) * scale;
        let b = load<f32>(x1 + (<usize>r << 2)) * scale;
        if (fp8) {
          a *= ACTIVATION_FACTOR;
          b *= ACTIVATION_FACTOR;
        }
        store<f32>(pairs + (<usize>r << 3), a);
        store<f32>(pairs + (<usize>r << 3), b, 4);
      }
      const cEnd = min(k, c0 + 128);
      for (let c = c0; c < cEnd; c += 16) {
        const n = min(16, cEnd - c);
        const o0 = out + <usize>i * outStride + (<usize>c << 2);
        const o1 = two ? o0 + outStride : o0;
        loadSums(o0, accumulate ? n : 0, 1 / factor, sums);
        loadSums(o1, accumulate ? n : 0, 1 / factor, sums + 64);
        if (accumulate) {
          if (fp8) {
            transpose4(sums);
            transpose4(sums + 64);
          } else if (format == BF16) {
            for (let j: usize = 0; j < 128; j += 32) deinterleave(sums + j);
          }
        }
        columns16(format, w + <usize>c * elementBytes, stride, pairs, rows, sums);
        if (fp8) {
          transpose4(sums);
          transpose4(sums + 64);
        } else if (format == BF16) {
          for (let j: usize = 0; j < 128; j += 32) interleave(sums + j);
        }
        storeSums(o0, n, factor, sums);
        if (two) storeSums(o1, n, factor, sums + 64);
      }
    }
  }
}
