import { SeededRandom } from './random.js';
import { type SamplingOptions, type SamplingPolicy, samplingPolicy } from './sampling-options.js';

/** What one request carries from token to token. */
export interface SamplerState {
  readonly policy: SamplingPolicy;
  readonly random: SeededRandom;
}

/** Log-probabilities at one position, of the model's distribution before temperature and filters. */
export interface TokenLogprobs {
  /** Of the chosen token. */
  readonly logprob: number;
  /** Most probable tokens, best first, and their log-probabilities. */
  readonly topTokens: Int32Array;
  readonly topLogprobs: Float64Array;
}

/** Checks `options` and starts the random numbers of a request. */
export function createSamplerState(options: SamplingOptions = {}): SamplerState {
  const policy = samplingPolicy(options);
  return { policy, random: new SeededRandom(policy.seed) };
}

/**
 * Chooses tokens from logits. One sampler serves any number of requests, one after the other; what belongs to a request
 * is in its {@link SamplerState}.
 *
 * Filters apply after the temperature in the order top-k, top-p, min-p. Top-p counts probabilities among the tokens
 * that top-k left; min-p compares with the best token.
 */
export class Sampler {
  private order = new Int32Array(0);
  private weights = new Float64Array(0);

  /**
   * @param logits - `[rows, vocabulary]`.
   * @param offset - first logit of the row.
   * @returns the chosen token id.
   */
  sample(logits: Float32Array, offset: number, vocabulary: number, state: SamplerState): number {
    const { policy } = state;
    const best = argmax(logits, offset, vocabulary);
    if (policy.temperature === 0 || policy.topK === 1) return best;
    this.reserve(vocabulary);
    const kept = this.collect(logits, offset, vocabulary, logits[offset + best]!, policy);
    return this.draw(kept, state.random);
  }

  /** Log-probability of `token` and of the `top` most probable tokens. */
  logprobs(
    logits: Float32Array,
    offset: number,
    vocabulary: number,
    token: number,
    top: number,
  ): TokenLogprobs {
    const maximum = logits[offset + argmax(logits, offset, vocabulary)]!;
    let sum = 0;
    for (let i = 0; i < vocabulary; i++) sum += Math.exp(logits[offset + i]! - maximum);
    const logSum = maximum + Math.log(sum);
    const count = Math.min(top, vocabulary);
    const topTokens = new Int32Array(count);
    const topLogprobs = new Float64Array(count);
    let filled = 0;
    for (let i = 0; i < vocabulary && count > 0; i++) {
      const value = logits[offset + i]!;
      if (filled === count && !(value > logits[offset + topTokens[count - 1]!]!)) continue;
      let place = filled < count ? filled++ : count - 1;
      while (place > 0 && value > logits[offset + topTokens[place - 1]!]!) {
        topTokens[place] = topTokens[place - 1]!;
        place--;
      }
      topTokens[place] = i;
    }
    for (let i = 0; i < count; i++) topLogprobs[i] = logits[offset + topTokens[i]!]! - logSum;
    return { logprob: logits[offset + token]! - logSum, topTokens, topLogprobs };
  }

  /** Fills `order` with the ids that pass the filters and `weights` (by id) with unnormalised probabilities. */
  private collect(
    logits: Float32Array,
    offset: number,
    vocabulary: number,
    maximum: number,
    policy: SamplingPolicy,
  ): number {
    const { order, weights } = this;
    const { temperature, topK, topP, minP } = policy;
    let count = vocabulary;
    for (let i = 0; i < vocabulary; i++) {
      // Relative to the best token's weight, which is 1: min-p needs no normalisation.
      const weight = Math.exp((logits[offset + i]! - maximum) / temperature);
      weights[i] = Number.isNaN(weight) ? 0 : weight;
      order[i] = i;
    }
    if (topK > 0 && topK < vocabulary) {
      selectBest(order, weights, count, topK);
      count = topK;
    }
    if (topP < 1) count = keepNucleus(order, weights, count, topP);
    if (minP > 0) count = keepAbove(order, weights, count, minP);
    return count;
  }

  private draw(count: number, random: SeededRandom): number {
    const { order, weights } = this;
    let total = 0;
    for (let i = 0; i < count; i++) total += weights[order[i]!]!;
    let rest = random.next() * total;
    for (let i = 0; i < count; i++) {
      rest -= weights[order[i]!]!;
      if (rest < 0) return order[i]!;
    }
    return order[count - 1]!;
  }

  private reserve(vocabulary: number): void {
    if (this.order.length >= vocabulary) return;
    this.order = new Int32Array(vocabulary);
    this.weights = new Float64Array(vocabulary);
  }
}

/** Index of the largest value, the lowest among equals. NaN never wins. */
export function argmax(values: Float32Array, offset: number, length: number): number {
  let best = 0;
  let maximum = -Infinity;
  for (let i = 0; i < length; i++) {
    const value = values[offset + i]!;
    if (value > maximum) {
      maximum = value;
      best = i;
    }
  }
  return best;
}

/** Whether id `a` ranks before id `b`: larger weight, then lower id. */
function before(weights: Float64Array, a: number, b: number): boolean {
  const difference = weights[a]! - weights[b]!;
  return difference > 0 || (difference === 0 && a < b);
}

/** Moves the `k` best of `order[0..count)` to the front, in any order (Hoare's quickselect). */
function selectBest(order: Int32Array, weights: Float64Array, count: number, k: number): void {
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const pivot = order[(low + high) >> 1]!;
    let i = low;
    let j = high;
    while (i <= j) {
      while (before(weights, order[i]!, pivot)) i++;
      while (before(weights, pivot, order[j]!)) j--;
      if (i > j) break;
      const swapped = order[i]!;
      order[i++] = order[j]!;
      order[j--] = swapped;
    }
    if (k - 1 <= j) high = j;
    else if (k - 1 >= i) low = i;
    else return;
  }
}

/** Keeps the fewest best of `order[0..count)` whose weights reach `share` of the sum; a heap gives them one by one. */
function keepNucleus(order: Int32Array, weights: Float64Array, count: number, share: number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += weights[order[i]!]!;
  for (let root = (count >> 1) - 1; root >= 0; root--) siftDown(order, weights, root, count);
  let end = count;
  let sum = 0;
  while (end > 0) {
    const best = order[0]!;
    sum += weights[best]!;
    end--;
    order[0] = order[end]!;
    order[end] = best;
    if (sum >= share * total) break;
    siftDown(order, weights, 0, end);
  }
  order.copyWithin(0, end, count);
  return count - end;
}

/** Keeps the ids of `order[0..count)` that weigh at least `minimum`. */
function keepAbove(order: Int32Array, weights: Float64Array, count: number, minimum: number): number {
  let kept = 0;
  for (let i = 0; i < count; i++) {
    const id = order[i]!;
    if (weights[id]! >= minimum) order[kept++] = id;
  }
  return kept;
}

/** Restores a heap whose root is the best. */
function siftDown(order: Int32Array, weights: Float64Array, root: number, end: number): void {
  for (;;) {
    let child = 2 * root + 1;
    if (child >= end) return;
    if (child + 1 < end && before(weights, order[child + 1]!, order[child]!)) child++;
    if (!before(weights, order[child]!, order[root]!)) return;
    const moved = order[root]!;
    order[root] = order[child]!;
    order[child] = moved;
    root = child;
  }
}
