import { badConfig, requireInteger } from '../operands.js';
import { type AffinityLossOptions, addAffinities, addGradient, openAffinities } from './affinities.js';
import { addCounts, openSelection, type Selection } from './counts.js';

/** A loss sum_i f_i P_i with its two factors. */
export interface BalanceLoss {
  value: number;
  /** f, relative load: 1 everywhere when balanced. Per expert or device; per sequence first for the sequence loss. */
  fractions: Float64Array;
  /** P, mean affinity; the same shape. */
  affinities: Float64Array;
}

/** Options of the losses over chosen experts. */
export interface BalanceLossOptions extends AffinityLossOptions {
  /** Chosen experts per token, K. */
  topK: number;
}

/** Options of {@link sequenceBalanceLoss}. */
export interface SequenceLossOptions extends BalanceLossOptions {
  /** Tokens per sequence, S; token t belongs to sequence floor(t / S). */
  sequenceTokens: number;
}

/** Options of {@link deviceBalanceLoss}. */
export interface DeviceLossOptions extends BalanceLossOptions {
  /** Devices, D, each holding E/D consecutive experts. */
  devices: number;
}

/** Options of {@link communicationBalanceLoss}. */
export interface CommunicationLossOptions extends DeviceLossOptions {
  /** Devices that a token may be sent to, M. */
  deviceLimit: number;
}

/**
 * Complementary sequence-wise loss of DeepSeek-V3 (equations 17 to 20): alpha * sum_i f_i P_i per sequence, then the mean;
 * f_i = E/(K T) #(tokens that chose i), P_i = mean of the affinities, normalised per token.
 *
 * @param logits - router logits [T, E].
 * @param selection - chosen experts; the paper counts the top K of plain scores (`'plain'`), engines the routed ones.
 * @param options - `coefficient` defaults to 1e-4, `scoring` to `sigmoid`.
 *
 * @example
 * ```ts
 * import { sequenceBalanceLoss } from '@moestack/routing';
 *
 * const logits = Float64Array.of(0.4, -1, 0.2, 1, 0.1, 0.3, -0.2, 0.9);
 * const gradLogits = new Float64Array(8);
 * const loss = sequenceBalanceLoss(logits, 'plain', { experts: 4, topK: 2, sequenceTokens: 2, gradLogits });
 * console.log(loss.value, gradLogits);
 * ```
 */
export function sequenceBalanceLoss(
  logits: Float32Array | Float64Array,
  selection: Selection,
  options: SequenceLossOptions,
): BalanceLoss {
  const open = openAffinities(logits, options, { scoring: 'sigmoid', normalize: true });
  const { tokens, experts } = open;
  const topK = requireInteger('topK', options.topK, 1, experts);
  const length = requireInteger('sequenceTokens', options.sequenceTokens, 1, Math.max(1, tokens));
  if (tokens % length !== 0) {
    throw badConfig(
      `expected sequenceTokens to divide the ${tokens} tokens, got ${length}`,
      length,
      'pass whole sequences; mask their padding',
    );
  }
  const indices = openSelection(selection, open, topK);
  const sequences = tokens / length;
  const fractions = new Float64Array(sequences * experts);
  const affinities = new Float64Array(sequences * experts);
  const sizes = new Float64Array(sequences);
  let filled = 0;
  for (let s = 0; s < sequences; s++) {
    const begin = s * length;
    const row = fractions.subarray(s * experts, (s + 1) * experts);
    addCounts(indices, topK, topK, open, begin, begin + length, row);
    const size = addAffinities(open, begin, begin + length, affinities, s * experts);
    sizes[s] = size;
    if (size === 0) continue;
    filled++;
    scale(row, experts / (topK * size), open.single);
    scale(affinities.subarray(s * experts, (s + 1) * experts), 1 / size, open.single);
  }
  const coefficient = options.coefficient ?? 1e-4;
  const value = filled === 0 ? 0 : (coefficient * dot(fractions, affinities)) / filled;
  if (options.gradLogits !== undefined) {
    const weights = new Float64Array(experts);
    for (let s = 0; s < sequences; s++) {
      if (sizes[s] === 0) continue;
      const factor = coefficient / (filled * sizes[s]!);
      for (let e = 0; e < experts; e++) weights[e] = factor * fractions[s * experts + e]!;
      addGradient(open, s * length, (s + 1) * length, weights, 0, options.gradLogits);
    }
  }
  return { value: open.single ? Math.fround(value) : value, fractions, affinities };
}

/**
 * Expert-level loss of DeepSeek-V2: alpha1 * sum_i f_i P_i over all tokens, f_i = E/(K T) #(tokens that chose i).
 *
 * @param logits - router logits [T, E].
 * @param options - `coefficient` defaults to 0.003, `scoring` to `softmax`, affinities are not normalised.
 */
export function expertBalanceLoss(
  logits: Float32Array | Float64Array,
  selection: Selection,
  options: BalanceLossOptions,
): BalanceLoss {
  return groupedLoss(logits, selection, options, options.experts, 0.003);
}

/**
 * Device-level loss of DeepSeek-V2: alpha2 * sum_d (mean f over the device) (sum of P over the device).
 *
 * @param logits - router logits [T, E].
 * @param options - `coefficient` defaults to 0.05.
 */
export function deviceBalanceLoss(
  logits: Float32Array | Float64Array,
  selection: Selection,
  options: DeviceLossOptions,
): BalanceLoss {
  return groupedLoss(logits, selection, options, options.devices, 0.05);
}

/**
 * Communication loss of DeepSeek-V2: alpha3 * sum_d f''_d P''_d, f''_d = D/(M T) #(tokens sent to d), P''_d = the device's sum of P.
 *
 * @param logits - router logits [T, E].
 * @param options - `coefficient` defaults to 0.02.
 */
export function communicationBalanceLoss(
  logits: Float32Array | Float64Array,
  selection: Selection,
  options: CommunicationLossOptions,
): BalanceLoss {
  return groupedLoss(logits, selection, options, options.devices, 0.02, options.deviceLimit);
}

/** The three losses of DeepSeek-V2: experts are devices of one expert each, the communication loss counts tokens once. */
function groupedLoss(
  logits: Float32Array | Float64Array,
  selection: Selection,
  options: BalanceLossOptions,
  devices: number,
  defaultCoefficient: number,
  deviceLimit?: number,
): BalanceLoss {
  const open = openAffinities(logits, options, { scoring: 'softmax', normalize: false });
  const { tokens, experts } = open;
  const topK = requireInteger('topK', options.topK, 1, experts);
  requireInteger('devices', devices, 1, experts);
  if (experts % devices !== 0) {
    throw badConfig(
      `expected devices to divide experts (${experts}), got ${devices}`,
      devices,
      'give every device as many experts',
    );
  }
  if (deviceLimit !== undefined) requireInteger('deviceLimit', deviceLimit, 1, devices);
  const indices = openSelection(selection, open, topK);
  const size = experts / devices;
  const sums = new Float64Array(experts);
  const counted = addAffinities(open, 0, tokens, sums);
  const fractions = new Float64Array(devices);
  const affinities = new Float64Array(devices);
  if (counted === 0) return { value: 0, fractions, affinities };
  if (deviceLimit === undefined) {
    const perExpert = new Float64Array(experts);
    addCounts(indices, topK, topK, open, 0, tokens, perExpert);
    for (let e = 0; e < experts; e++) fractions[Math.floor(e / size)]! += perExpert[e]!;
    scale(fractions, experts / (topK * counted * size), open.single);
  } else {
    const mask = open.mask;
    const last = new Int32Array(devices).fill(-1);
    for (let token = 0; token < tokens; token++) {
      if (mask !== undefined && mask[token] === 0) continue;
      for (let k = 0; k < topK; k++) {
        const expert = indices[token * topK + k]!;
        const device = Math.floor(expert / size);
        if (expert < 0 || last[device] === token) continue;
        last[device] = token;
        fractions[device]! += 1;
      }
    }
    scale(fractions, devices / (deviceLimit * counted), open.single);
  }
  for (let e = 0; e < experts; e++) affinities[Math.floor(e / size)]! += sums[e]!;
  scale(affinities, 1 / counted, open.single);
  const coefficient = options.coefficient ?? defaultCoefficient;
  const value = coefficient * dot(fractions, affinities);
  if (options.gradLogits !== undefined) {
    const weights = new Float64Array(experts);
    for (let e = 0; e < experts; e++) weights[e] = (coefficient / counted) * fractions[Math.floor(e / size)]!;
    addGradient(open, 0, tokens, weights, 0, options.gradLogits);
  }
  return { value: open.single ? Math.fround(value) : value, fractions, affinities };
}

/** Multiplies all of `values`, rounded to float32 if asked. */
export function scale(values: Float64Array, factor: number, single: boolean): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i]! * factor;
    values[i] = single ? Math.fround(value) : value;
  }
}

/** sum_i a_i b_i. */
export function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
