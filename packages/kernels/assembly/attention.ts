// Attention with 8 lanes: 8 heads that share the cache (latent), or 8 queries of one head (causal). Queries stand
// transposed, [d][8], so that one broadcast key element serves all lanes; scores are [t][8], so that softmax needs no
// sums across lanes.
import { exp4 } from './exp';
import { transpose32 } from './panels';
import { madd, storePartial } from './simd';

/** Tokens whose values pass through the first-level cache together. */
@inline
const TOKENS: i32 = 16;
/** Lane groups of 8 heads that share one pass over the cache. */
@inline
const GROUPS: i32 = 2;

export function latentScratchBytes(rank: i32, ropeDims: i32, contextLength: i32): f64 {
  return <f64>GROUPS * ((<f64>(rank + ropeDims) + 4) * 32 + <f64>contextLength * 32 + (<f64>rank + 4) * 32) + 256;
}

export function causalScratchBytes(qkDims: i32, vDims: i32, length: i32): f64 {
  return (<f64>qkDims + 4) * 32 + <f64>length * 32 + (<f64>vDims + 4) * 32 + 256;
}

/** Rows of `dims` floats to [d][8]; missing rows repeat the last one, their lanes are ignored. */
function packQueries(q: usize, stride: usize, rows: i32, dims: i32, dst: usize): void {
  transpose32(q, stride, min(rows, 4), dims, dst, 32);
  if (rows > 4) transpose32(q + 4 * stride, stride, rows - 4, dims, dst + 16, 32);
  else transpose32(q + <usize>(rows - 1) * stride, stride, 1, dims, dst + 16, 32);
}

/** s[t][8] = sum_d key[t][d] * q[d][8], in the order of d. */
function scores(q: usize, dims: i32, key: usize, stride: usize, count: i32, s: usize): void {
  const end = q + (<usize>dims << 5);
  let t = 0;
  for (; t + 4 <= count; t += 4) {
    let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
    let p0 = key, p1 = p0 + stride, p2 = p1 + stride, p3 = p2 + stride;
    let p = q;
    let a: v128, b0: v128, b1: v128;
    while (true) {
      if (p >= end) break;
      b0 = v128.load(p);
      b1 = v128.load(p, 16);
      a = v128.load32_splat(p0);
      c00 = madd(c00, b0, a);
      c01 = madd(c01, b1, a);
      a = v128.load32_splat(p1);
      c10 = madd(c10, b0, a);
      c11 = madd(c11, b1, a);
      a = v128.load32_splat(p2);
      c20 = madd(c20, b0, a);
      c21 = madd(c21, b1, a);
      a = v128.load32_splat(p3);
      c30 = madd(c30, b0, a);
      c31 = madd(c31, b1, a);
      p += 32;
      if (p >= end) break;
      b0 = v128.load(p);
      b1 = v128.load(p, 16);
      a = v128.load32_splat(p0, 4);
      c00 = madd(c00, b0, a);
      c01 = madd(c01, b1, a);
      a = v128.load32_splat(p1, 4);
      c10 = madd(c10, b0, a);
      c11 = madd(c11, b1, a);
      a = v128.load32_splat(p2, 4);
      c20 = madd(c20, b0, a);
      c21 = madd(c21, b1, a);
      a = v128.load32_splat(p3, 4);
      c30 = madd(c30, b0, a);
      c31 = madd(c31, b1, a);
      p += 32;
      if (p >= end) break;
      b0 = v128.load(p);
      b1 = v128.load(p, 16);
      a = v128.load32_splat(p0, 8);
      c00 = madd(c00, b0, a);
      c01 = madd(c01, b1, a);
      a = v128.load32_splat(p1, 8);
      c10 = madd(c10, b0, a);
      c11 = madd(c11, b1, a);
      a = v128.load32_splat(p2, 8);
      c20 = madd(c20, b0, a);
      c21 = madd(c21, b1, a);
      a = v128.load32_splat(p3, 8);
      c30 = madd(c30, b0, a);
      c31 = madd(c31, b1, a);
      p += 32;
      if (p >= end) break;
      b0 = v128.load(p);
      b1 = v128.load(p, 16);
      a = v128.load32_splat(p0, 12);
      c00 = madd(c00, b0, a);
      c01 = madd(c01, b1, a);
      a = v128.load32_splat(p1, 12);
      c10 = madd(c10, b0, a);
      c11 = madd(c11, b1, a);
      a = v128.load32_splat(p2, 12);
      c20 = madd(c20, b0, a);
      c21 = madd(c21, b1, a);
      a = v128.load32_splat(p3, 12);
      c30 = madd(c30, b0, a);
      c31 = madd(c31, b1, a);
      p += 32;
      p0 += 16;
      p1 += 16;
      p2 += 16;
      p3 += 16;
    }
    v128.store(s, c00);
    v128.store(s, c01, 16);
    v128.store(s, c10, 32);
    v128.store(s, c11, 48);
    v128.store(s, c20, 64);
    v128.store(s, c21, 80);
    v128.store(s, c30, 96);
    v128.store(s, c31, 112);
    s += 128;
    key += stride << 2;
  }
  for (; t < count; t++) {
    let c0 = f32x4.splat(0), c1 = c0;
    let k = key;
    for (let p = q; p < end; p += 32) {
      const a = v128.load32_splat(k);
      c0 = madd(c0, v128.load(p), a);
      c1 = madd(c1, v128.load(p, 16), a);
      k += 4;
    }
    v128.store(s, c0);
    v128.store(s, c1, 16);
    s += 32;
    key += stride;
  }
}

/** sums[d][8] += value[t][d] * p[t][8], in the order of t; 4 dimensions at a time, so up to 3 too many. */
function weightedValues(p: usize, value: usize, stride: usize, count: i32, dims: i32, sums: usize): void {
  const end = p + (<usize>count << 5);
  for (let d = 0; d < dims; d += 4) {
    let c00 = v128.load(sums), c01 = v128.load(sums, 16), c10 = v128.load(sums, 32), c11 = v128.load(sums, 48);
    let c20 = v128.load(sums, 64), c21 = v128.load(sums, 80), c30 = v128.load(sums, 96), c31 = v128.load(sums, 112);
    let v = value + (<usize>d << 2);
    let q = p;
    let a: v128, b0: v128, b1: v128;
    while (true) {
      if (q >= end) break;
      b0 = v128.load(q);
      b1 = v128.load(q, 16);
      a = v128.load32_splat(v);
      c00 = madd(c00, b0, a);
      c01 = madd(c01, b1, a);
      a = v128.load32_splat(v, 4);
      c10 = madd(c10, b0, a);
      c11 = madd(c11, b1, a);
      a = v128.load32_splat(v, 8);
      c20 = madd(c20, b0, a);
      c21 = madd(c21, b1, a);
      a = v128.load32_splat(v, 12);
      c30 = madd(c30, b0, a);
      c31 = madd(c31, b1, a);
      q += 32;
      v += stride;
      if (q >= end) break;
      b0 = v128.load(q);
      b1 = v128.load(q, 16);
      a = v128.load32_splat(v);
      c00 = madd(c00, b0, a);
      c01 = madd(c01, b1, a);
      a = v128.load32_splat(v, 4);
      c10 = madd(c10, b0, a);
      c11 = madd(c11, b1, a);
      a = v128.load32_splat(v, 8);
      c20 = madd(c20, b0, a);
      c21 = madd(c21, b1, a);
      a = v128.load32_splat(v, 12);
      c30 = madd(c30, b0, a);
      c31 = madd(c31, b1, a);
      q += 32;
      v += stride;
    }
    v128.store(sums, c00);
    v128.store(sums, c01, 16);
    v128.store(sums, c10, 32);
    v128.store(sums, c11, 48);
    v128.store(sums, c20, 64);
    v128.store(sums, c21, 80);
    v128.store(sums, c30, 96);
    v128.store(sums, c31, 112);
    sums += 128;
  }
}

/** Softmax over t of scale * s[t][8] without the division; the reciprocal sums go to `inverse`. Lane l ends after first + l when causal. */
function softmaxLanes(s: usize, count: i32, scale: f32, causal: bool, first: i32, inverse: usize): void {
  const end = s + (<usize>count << 5);
  const f = f32x4.splat(scale);
  let m0 = f32x4.splat(-Infinity), m1 = m0;
  for (let p = s; p < end; p += 32) {
    let a = f32x4.mul(v128.load(p), f), b = f32x4.mul(v128.load(p, 16), f);
    v128.store(p, a);
    v128.store(p, b, 16);
    m0 = f32x4.pmax(m0, a);
    m1 = f32x4.pmax(m1, b);
  }
  if (causal) {
    // Lanes see different lengths: hide what lies ahead and take the maxima again, which only the last 8 tokens change.
    const lanes0 = i32x4(0, 1, 2, 3), lanes1 = i32x4(4, 5, 6, 7);
    for (let t = first + 1; t < count; t++) {
      const p = s + (<usize>t << 5);
      const ahead = i32x4.splat(t - first);
      const hidden = f32x4.splat(-Infinity);
      v128.store(p, v128.bitselect(hidden, v128.load(p), i32x4.lt_s(lanes0, ahead)));
      v128.store(p, v128.bitselect(hidden, v128.load(p, 16), i32x4.lt_s(lanes1, ahead)), 16);
    }
    m0 = f32x4.splat(-Infinity);
    m1 = m0;
    for (let p = s; p < end; p += 32) {
      m0 = f32x4.pmax(m0, v128.load(p));
      m1 = f32x4.pmax(m1, v128.load(p, 16));
    }
  }
  let t0 = f32x4.splat(0), t1 = t0;
  for (let p = s; p < end; p += 32) {
    const a = exp4(f32x4.sub(v128.load(p), m0)), b = exp4(f32x4.sub(v128.load(p, 16), m1));
    v128.store(p, a);
    v128.store(p, b, 16);
    t0 = f32x4.add(t0, a);
    t1 = f32x4.add(t1, b);
  }
  v128.store(inverse, f32x4.div(f32x4.splat(1), t0));
  v128.store(inverse, f32x4.div(f32x4.splat(1), t1), 16);
}

/** out rows = transposed sums times the reciprocals. */
function writeRows(sums: usize, inverse: usize, dims: i32, out: usize, stride: usize, rows: i32): void {
  for (let half = 0; half < 2; half++) {
    const first = half << 2;
    const f = v128.load(inverse + (<usize>first << 2));
    for (let d = 0; d < dims; d += 4) {
      const n = dims - d;
      const p = sums + (<usize>d << 5) + (<usize>first << 2);
      const a = f32x4.mul(v128.load(p), f), b = f32x4.mul(v128.load(p, 32), f);
      const c = f32x4.mul(v128.load(p, 64), f), e = f32x4.mul(v128.load(p, 96), f);
      const ab0 = v128.shuffle<u32>(a, b, 0, 4, 1, 5), ab1 = v128.shuffle<u32>(a, b, 2, 6, 3, 7);
      const ce0 = v128.shuffle<u32>(c, e, 0, 4, 1, 5), ce1 = v128.shuffle<u32>(c, e, 2, 6, 3, 7);
      const o = out + <usize>first * stride + (<usize>d << 2);
      if (rows > first) storePartial(o, v128.shuffle<u64>(ab0, ce0, 0, 2), n);
      if (rows > first + 1) storePartial(o + stride, v128.shuffle<u64>(ab0, ce0, 1, 3), n);
      if (rows > first + 2) storePartial(o + 2 * stride, v128.shuffle<u64>(ab1, ce1, 0, 2), n);
      if (rows > first + 3) storePartial(o + 3 * stride, v128.shuffle<u64>(ab1, ce1, 1, 3), n);
    }
  }
}

/** One query token, all heads, paged cache `[blocks, blockSize, rank + ropeDims]`. */
export function latentAttention(
  q: usize, cache: usize, table: usize, out: usize, heads: i32, rank: i32, ropeDims: i32, contextLength: i32,
  blockSize: i32, scale: f32, scratch: usize,
): void {
  const width = rank + ropeDims;
  const rowBytes = <usize>width << 2;
  const queryBytes = (<usize>width + 4) << 5;
  const scoreBytes = <usize>contextLength << 5;
  const sumBytes = (<usize>rank + 4) << 5;
  const inverses = scratch;
  const queries = scratch + 256;
  const allScores = queries + <usize>GROUPS * queryBytes;
  const allSums = allScores + <usize>GROUPS * scoreBytes;
  for (let h = 0; h < heads; h += GROUPS * 8) {
    const groups = min(GROUPS, (heads - h + 7) >> 3);
    for (let g = 0; g < groups; g++) {
      packQueries(q + <usize>(h + g * 8) * rowBytes, rowBytes, min(8, heads - h - g * 8), width, queries + <usize>g * queryBytes);
    }
    for (let pass = 0; pass < 2; pass++) {
      for (let t = 0; t < contextLength; ) {
        const inBlock = t % blockSize;
        const n = min(TOKENS, min(blockSize - inBlock, contextLength - t));
        const block = load<i32>(table + (<usize>(t / blockSize) << 2));
        const row = cache + (<usize>block * <usize>blockSize + <usize>inBlock) * rowBytes;
        for (let g = 0; g < groups; g++) {
          const s = allScores + <usize>g * scoreBytes + (<usize>t << 5);
          if (pass == 0) scores(queries + <usize>g * queryBytes, width, row, rowBytes, n, s);
          else weightedValues(s, row, rowBytes, n, rank, allSums + <usize>g * sumBytes);
        }
        t += n;
      }
      if (pass == 0) {
        for (let g = 0; g < groups; g++) {
          softmaxLanes(allScores + <usize>g * scoreBytes, contextLength, scale, false, 0, inverses + (<usize>g << 5));
        }
        memory.fill(allSums, 0, <usize>groups * sumBytes);
      }
    }
    for (let g = 0; g < groups; g++) {
      const first = h + g * 8;
      writeRows(allSums + <usize>g * sumBytes, inverses + (<usize>g << 5), rank, out + (<usize>(first * rank) << 2), <usize>rank << 2, min(8, heads - first));
    }
  }
}

/** One sequence with expanded keys and values; all strides in bytes. */
export function causalAttention(
  q: usize, k: usize, v: usize, out: usize, m: i32, heads: i32, qkDims: i32, vDims: i32, start: i32, scale: f32,
  qStride: usize, kStride: usize, vStride: usize, outStride: usize,
  qHead: usize, kHead: usize, vHead: usize, outHead: usize, scratch: usize,
): void {
  const inverse = scratch;
  const queries = scratch + 256;
  const sums = queries + ((<usize>qkDims + 4) << 5);
  const s = sums + ((<usize>vDims + 4) << 5);
  for (let h = 0; h < heads; h++) {
    const keys = k + <usize>h * kHead, values = v + <usize>h * vHead;
    for (let i = 0; i < m; i += 8) {
      const n = min(8, m - i);
      const length = start + i + n;
      packQueries(q + <usize>i * qStride + <usize>h * qHead, qStride, n, qkDims, queries);
      scores(queries, qkDims, keys, kStride, length, s);
      softmaxLanes(s, length, scale, true, start + i, inverse);
      memory.fill(sums, 0, (<usize>vDims + 4) << 5);
      for (let t = 0; t < length; t += TOKENS) {
        weightedValues(s + (<usize>t << 5), values + <usize>t * vStride, vStride, min(TOKENS, length - t), vDims, sums);
      }
      writeRows(sums, inverse, vDims, out + <usize>i * outStride + <usize>h * outHead, outStride, n);
    }
  }
}
