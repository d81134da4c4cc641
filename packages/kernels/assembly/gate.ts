// The gate of a mixture of experts, several tokens a call: scores in float64 by the exponential of src/reference/exp64.ts (same operations in the
// same order, hence the same bits), rounded to float32 once; then group-limited top-k and weights. Group sizes are multiples of 4.

const STEPS_PER_UNIT: f64 = 46.16624130844683;
const UNITS_HIGH: f64 = 0.021660849393811077;
const UNITS_LOW: f64 = -1.312785960212839e-12;
/** Adding and subtracting 1.5 * 2^52 rounds to an integer, which is then in the low bits of the sum. */
const ROUND: f64 = 6755399441055744;
const LOWEST: f64 = -708;
const HIGHEST: f64 = 709;
const SUM_FLOOR: f64 = 1e-20;

/** Working space of `gate` in bytes. */
export function gateScratchBytes(experts: i32, groups: i32, keep: i32, topK: i32): i32 {
  return (experts << 4) + align(topK << 2) + align(groups << 2) * 2 + align(keep << 2) * 2;
}

@inline
function align(bytes: i32): i32 {
  return (bytes + 15) & ~15;
}

/** e^x in two lanes: 0 below -708, infinity above 709. `table` holds 2^(j/32). */
@inline
function exp2(x: v128, table: usize): v128 {
  const t = f64x2.add(f64x2.mul(x, f64x2.splat(STEPS_PER_UNIT)), f64x2.splat(ROUND));
  const step = f64x2.sub(t, f64x2.splat(ROUND));
  const r = f64x2.sub(f64x2.sub(x, f64x2.mul(step, f64x2.splat(UNITS_HIGH))), f64x2.mul(step, f64x2.splat(UNITS_LOW)));
  let p = f64x2.add(f64x2.splat(0.041666666666666664), f64x2.mul(r, f64x2.splat(0.008333333333333333)));
  p = f64x2.add(f64x2.splat(0.16666666666666666), f64x2.mul(r, p));
  p = f64x2.add(f64x2.splat(0.5), f64x2.mul(r, p));
  p = f64x2.add(f64x2.splat(1), f64x2.mul(r, p));
  p = f64x2.add(f64x2.splat(1), f64x2.mul(r, p));
  const i0 = i32x4.extract_lane(t, 0);
  const i1 = i32x4.extract_lane(t, 2);
  const f = v128.load64_lane(table + (<usize>(i1 & 31) << 3), v128.load64_splat(table + (<usize>(i0 & 31) << 3)), 1);
  // 2^(i >> 5): the shift that moves the integer part into the exponent field leaves the fraction below it, masked off.
  const exponent = i64x2.shl(i64x2.add(i64x2.shr_s(i64x2.shl(t, 32), 37), i64x2.splat(1023)), 52);
  const y = f64x2.mul(f64x2.mul(f, exponent), p);
  const high = v128.bitselect(f64x2.splat(Infinity), y, f64x2.gt(x, f64x2.splat(HIGHEST)));
  return v128.bitselect(f64x2.splat(0), high, f64x2.lt(x, f64x2.splat(LOWEST)));
}

/** out = e^x for n doubles. */
export function exp64(x: usize, out: usize, n: i32, table: usize): void {
  let i = 0;
  for (; i + 2 <= n; i += 2) v128.store(out + (<usize>i << 3), exp2(v128.load(x + (<usize>i << 3)), table));
  if (i < n) v128.store64_lane(out + (<usize>i << 3), exp2(v128.load64_zero(x + (<usize>i << 3)), table), 0);
}

/** The two high floats of x as doubles. */
@inline
function promoteHigh(x: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i64>(x, x, 1, 1));
}

/** Two pairs of doubles, rounded to four floats. */
@inline
function demote(low: v128, high: v128): v128 {
  return v128.shuffle<i64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
}

@inline
function sigmoid2(x: v128, table: usize): v128 {
  const one = f64x2.splat(1);
  return f64x2.div(one, f64x2.add(one, exp2(f64x2.neg(x), table)));
}

function sigmoidRow(logits: usize, scores: usize, experts: i32, table: usize): void {
  for (let e = 0; e < experts; e += 4) {
    const x = v128.load(logits + (<usize>e << 2));
    const low = sigmoid2(f64x2.promote_low_f32x4(x), table);
    v128.store(scores + (<usize>e << 2), demote(low, sigmoid2(promoteHigh(x), table)));
  }
}

/** `wide` takes the exponentials in float64; they are summed one after the other. */
function softmaxRow(logits: usize, scores: usize, wide: usize, experts: i32, table: usize): void {
  let highest = v128.load(logits);
  for (let e = 4; e < experts; e += 4) highest = f32x4.pmax(highest, v128.load(logits + (<usize>e << 2)));
  highest = f32x4.pmax(highest, v128.shuffle<f32>(highest, highest, 2, 3, 2, 3));
  highest = f32x4.pmax(highest, v128.shuffle<f32>(highest, highest, 1, 1, 1, 1));
  const max = f64x2.splat(<f64>f32x4.extract_lane(highest, 0));
  let sum: f64 = 0;
  for (let e = 0; e < experts; e += 4) {
    const x = v128.load(logits + (<usize>e << 2));
    const low = exp2(f64x2.sub(f64x2.promote_low_f32x4(x), max), table);
    const high = exp2(f64x2.sub(promoteHigh(x), max), table);
    v128.store(wide + (<usize>e << 3), low);
    v128.store(wide + (<usize>e << 3), high, 16);
    sum += f64x2.extract_lane(low, 0);
    sum += f64x2.extract_lane(low, 1);
    sum += f64x2.extract_lane(high, 0);
    sum += f64x2.extract_lane(high, 1);
  }
  const divisor = f64x2.splat(sum);
  for (let e = 0; e < experts; e += 4) {
    const p = wide + (<usize>e << 3);
    const low = f64x2.div(v128.load(p), divisor);
    v128.store(scores + (<usize>e << 2), demote(low, f64x2.div(v128.load(p, 16), divisor)));
  }
}

/** The largest (terms 1) or the sum of the two largest (terms 2) of `size` floats. */
@inline
function groupScore(p: usize, size: i32, terms: i32): f32 {
  let first = v128.load(p);
  let second = f32x4.splat(-Infinity);
  for (let e = 4; e < size; e += 4) {
    const x = v128.load(p + (<usize>e << 2));
    second = f32x4.pmax(second, f32x4.pmin(first, x));
    first = f32x4.pmax(first, x);
  }
  let other = v128.shuffle<f32>(first, first, 2, 3, 0, 1);
  second = f32x4.pmax(f32x4.pmax(second, v128.shuffle<f32>(second, second, 2, 3, 0, 1)), f32x4.pmin(first, other));
  first = f32x4.pmax(first, other);
  other = v128.shuffle<f32>(first, first, 1, 0, 3, 2);
  second = f32x4.pmax(f32x4.pmax(second, v128.shuffle<f32>(second, second, 1, 0, 3, 2)), f32x4.pmin(first, other));
  first = f32x4.pmax(first, other);
  const a = f32x4.extract_lane(first, 0);
  return terms == 2 ? a + f32x4.extract_lane(second, 0) : a;
}

/** Puts a candidate into a list that is sorted best first and has a free or worst place at `slot`; equal ones stay in front. */
@inline
function insert(best: usize, indices: usize, slot: i32, score: f32, index: i32): void {
  while (slot > 0) {
    const at = <usize>(slot - 1) << 2;
    const other = load<f32>(best + at);
    if (!(score > other)) break;
    store<f32>(best + at, other, 4);
    store<i32>(indices + at, load<i32>(indices + at), 4);
    slot--;
  }
  store<f32>(best + (<usize>slot << 2), score);
  store<i32>(indices + (<usize>slot << 2), index);
}

/** Merges candidates from .. to (a multiple of 4 apart) into the list of the `limit` best and returns its new length. */
function selectTop(scores: usize, from: i32, to: i32, best: usize, indices: usize, limit: i32, length: i32): i32 {
  let i = from;
  for (; i < to && length < limit; i++) {
    insert(best, indices, length, load<f32>(scores + (<usize>i << 2)), i);
    length++;
  }
  const last = limit - 1;
  const worst = best + (<usize>last << 2);
  for (; i < to && (i & 3) != 0; i++) {
    const score = load<f32>(scores + (<usize>i << 2));
    if (score > load<f32>(worst)) insert(best, indices, last, score, i);
  }
  for (; i < to; i += 4) {
    const x = v128.load(scores + (<usize>i << 2));
    let better = i32x4.bitmask(f32x4.gt(x, v128.load32_splat(worst)));
    while (better != 0) {
      const e = i + ctz(better);
      better &= better - 1;
      const score = load<f32>(scores + (<usize>e << 2));
      if (score > load<f32>(worst)) insert(best, indices, last, score, e);
    }
  }
  return length;
}

/**
 * Routes `tokens` rows of logits. `bias` and `chosen` may be 0 (none). Adds to `counts`.
 * `softmax` 0: sigmoid; `terms`: how many of a group's scores are summed, 1 or 2.
 */
export function gate(
  logits: usize,
  bias: usize,
  table: usize,
  tokens: i32,
  experts: i32,
  groups: i32,
  keep: i32,
  topK: i32,
  softmax: i32,
  terms: i32,
  normalize: i32,
  scale: f64,
  indices: usize,
  weights: usize,
  chosen: usize,
  counts: usize,
  scratch: usize,
): void {
  const scores = scratch;
  const biased = bias == 0 ? scores : scratch + (<usize>experts << 2);
  // The exponentials of a softmax are done with before the biased scores are written over them.
  const wide = scratch + (<usize>experts << 2) * 2;
  const best = wide + (<usize>experts << 3);
  const groupScores = best + <usize>align(topK << 2);
  const kept = groupScores + <usize>align(groups << 2);
  const groupBest = kept + <usize>align(groups << 2);
  const groupIndices = groupBest + <usize>align(keep << 2);
  const size = experts / groups;
  for (let token = 0; token < tokens; token++) {
    const row = logits + ((<usize>token * experts) << 2);
    const out = indices + ((<usize>token * topK) << 2);
    if (softmax != 0) softmaxRow(row, scores, wide, experts, table);
    else sigmoidRow(row, scores, experts, table);
    if (bias != 0) {
      for (let e: usize = 0; e < <usize>experts << 2; e += 16) {
        v128.store(biased + e, f32x4.add(v128.load(scores + e), v128.load(bias + e)));
      }
    }
    if (groups > 1) {
      for (let g = 0; g < groups; g++) {
        store<f32>(groupScores + (<usize>g << 2), groupScore(biased + ((<usize>g * size) << 2), size, terms));
        store<i32>(kept + (<usize>g << 2), 0);
      }
      let length = 0;
      for (let g = 0; g < groups; g++) {
        const score = load<f32>(groupScores + (<usize>g << 2));
        if (length < keep) insert(groupBest, groupIndices, length++, score, g);
        else if (score > load<f32>(groupBest + (<usize>(keep - 1) << 2))) insert(groupBest, groupIndices, keep - 1, score, g);
      }
      for (let l = 0; l < keep; l++) {
        const g = load<i32>(groupIndices + (<usize>l << 2));
        store<i32>(kept + (<usize>g << 2), 1);
        if (chosen != 0) store<i32>(chosen + ((<usize>token * keep + l) << 2), g);
      }
      length = 0;
      for (let g = 0; g < groups; g++) {
        if (load<i32>(kept + (<usize>g << 2)) != 0) {
          length = selectTop(biased, g * size, (g + 1) * size, best, out, topK, length);
        }
      }
    } else selectTop(biased, 0, experts, best, out, topK, 0);
    let divisor: f64 = 1;
    if (normalize != 0) {
      divisor = SUM_FLOOR;
      for (let k = 0; k < topK; k++) {
        divisor += <f64>load<f32>(scores + (<usize>load<i32>(out + (<usize>k << 2)) << 2));
      }
    }
    const weight = weights + ((<usize>token * topK) << 2);
    for (let k = 0; k < topK; k++) {
      const e = <usize>load<i32>(out + (<usize>k << 2)) << 2;
      const share = <f32>(<f64>load<f32>(scores + e) / divisor);
      store<f32>(weight + (<usize>k << 2), <f32>(<f64>share * scale));
      store<i32>(counts + e, load<i32>(counts + e) + 1);
    }
  }
}
