import { Accelerator } from '../hardware/accelerator.js';
import { ModelShape } from '../model/model-shape.js';
import { Deployment, type Pool } from './deployment.js';
import { expertImbalance } from './expert-imbalance.js';
import { LayerCost } from './layer-cost.js';
import { badConfig, read } from './read.js';
import type { StepSetting } from './setting.js';
import type { DecodeLoad, PrefillLoad, StepCost, StepCostModel, StepPart } from './step-cost.js';
import { stepVolume } from './step-volume.js';

/** What {@link createStepCostModel} prices. */
export interface StepCostOptions {
  accelerator: Accelerator;
  model: ModelShape;
  deployment: Deployment;
  /** The pool whose steps are priced; a deployment without prefill pool prefills in the decode pool. */
  role: 'prefill' | 'decode';
  /** Factors on parts before overlap, for what-if questions; default 1. */
  scales?: Partial<Readonly<Record<StepPart, number>>>;
}

type Parts = Record<StepPart, number>;

/**
 * Prices prefill and decode steps of one pool: measured kernels where there are tables, rooflines elsewhere, joined by the published
 * schedules of two micro-batches.
 *
 * @throws SimulatorError `simulator/bad-config` naming the field that is wrong.
 *
 * @example
 * ```ts
 * import { accelerators, createStepCostModel, deepSeekV3, publishedDeployment } from '@moestack/simulator';
 *
 * const setting = { accelerator: accelerators.h800, model: deepSeekV3, deployment: publishedDeployment('profile') };
 * const decode = createStepCostModel({ ...setting, role: 'decode' });
 * console.log(decode.decodeStep({ sequences: 128, contextTokens: 128 * 4096 }).seconds); // about 0.05
 * ```
 */
export function createStepCostModel(options: StepCostOptions): StepCostModel {
  const accelerator = read(Accelerator, options.accelerator, 'accelerator');
  const model = read(ModelShape, options.model, 'model');
  const deployment = read(Deployment, options.deployment, 'deployment');
  const pool = (options.role === 'prefill' ? deployment.prefill : null) ?? deployment.decode;
  checkPool(accelerator, model, pool);
  return new StepCosts({
    accelerator,
    model,
    pool,
    role: options.role,
    precision: deployment.precision,
    mtp: deployment.mtp,
    imbalance: expertImbalance(model, pool, deployment.skew),
    ...(options.scales === undefined ? {} : { scales: options.scales }),
  });
}

class StepCosts implements StepCostModel {
  readonly tokensPerStep: number;
  readonly #setting: StepSetting;
  readonly #layer: LayerCost;
  readonly #overlaps: boolean;
  /** New tokens of a sequence in a decode step. */
  readonly #width: number;
  readonly #drafts: number;
  readonly #parts: Parts = emptyParts();

  constructor(setting: StepSetting) {
    const { mtp, pool } = setting;
    this.#setting = setting;
    this.#drafts = mtp.enabled && setting.role === 'decode' ? mtp.draftTokens : 0;
    this.#width = 1 + this.#drafts;
    let accepted = 1;
    let chain = 1;
    for (let i = 0; i < this.#drafts; i++) {
      chain *= mtp.acceptance;
      accepted += chain;
    }
    this.tokensPerStep = accepted;
    this.#layer = new LayerCost(setting, this.#width);
    this.#overlaps = pool.overlap.enabled && this.#layer.exchanges;
  }

  prefillStep(load: PrefillLoad): StepCost {
    checkLoad(load.tokens, load.contextTokens, load.sequences);
    const seconds = this.prefillSeconds(load.tokens, load.contextTokens, load.sequences);
    return this.#describe(seconds, load.tokens, load.contextTokens, load.sequences);
  }

  decodeStep(load: DecodeLoad): StepCost {
    checkLoad(load.sequences, load.contextTokens, load.sequences);
    const seconds = this.decodeSeconds(load.sequences, load.contextTokens);
    return this.#describe(seconds, load.sequences * this.#width, load.contextTokens, load.sequences);
  }

  prefillSeconds(tokens: number, contextTokens: number, sequences: number, meanTokens = tokens): number {
    if (tokens <= 0) return 0;
    const { model } = this.#setting;
    const layer = this.#layer;
    const parts = this.#parts;
    const moeLayers = model.layers - model.denseLayers;
    const length = tokens / sequences;
    const pairs = (tokens * contextTokens) / sequences;
    const attention = layer.attention(sequences, length, 0) + layer.context(pairs, 0);
    const tensorParallel = layer.tensorParallel(tokens);
    const gate = layer.gate(tokens);
    parts.dense = layer.dense(tokens) * model.denseLayers;
    parts.head = layer.head(sequences);
    parts.launch = layer.launchSeconds;
    parts.tensorParallel = tensorParallel * model.layers;
    parts.gate = gate * model.layers;
    parts.overlapped = 0;
    if (!this.#overlaps) {
      parts.attention = attention * model.layers;
      parts.sharedExperts = layer.sharedExperts(tokens, 0) * moeLayers;
      parts.experts = layer.experts(meanTokens, 0) * moeLayers;
      parts.dispatch = layer.exchanges ? layer.dispatch(tokens, 0) * moeLayers : 0;
      parts.combine = layer.exchanges ? layer.combine(tokens, 0) * moeLayers : 0;
      // Engines run shared experts beside dispatch even with a single batch.
      parts.overlapped = -Math.min(parts.sharedExperts, parts.dispatch);
      return sum(parts);
    }
    const half = tokens / 2;
    const sequencesHalf = Math.max(1, sequences / 2);
    // A single prompt is cut in two, and its second half attends to the first.
    const cut = sequences < 2 ? (half * half) / 2 : 0;
    const attend =
      layer.attention(sequencesHalf, half / sequencesHalf, 1) + layer.context(pairs / 2 + cut, 1) + gate / 2;
    const shared = layer.sharedExperts(half, 1);
    const experts = layer.experts(meanTokens / 2, 1);
    const dispatch = layer.dispatch(half, 1);
    const combine = layer.combine(half, 1);
    const windows =
      Math.max(attend + shared, combine) +
      Math.max(attend, dispatch) +
      Math.max(experts, dispatch) +
      Math.max(experts + shared, combine);
    const serial = 2 * (attend + shared + experts + dispatch + combine);
    parts.attention = attention * model.denseLayers + 2 * (attend - gate / 2) * moeLayers;
    parts.sharedExperts = 2 * shared * moeLayers;
    parts.experts = 2 * experts * moeLayers;
    parts.dispatch = 2 * dispatch * moeLayers;
    parts.combine = 2 * combine * moeLayers;
    parts.overlapped = (windows - serial) * moeLayers;
    return sum(parts);
  }

  decodeSeconds(sequences: number, contextTokens: number, meanSequences = sequences): number {
    if (sequences <= 0) return 0;
    const { model } = this.#setting;
    const layer = this.#layer;
    const parts = this.#parts;
    const width = this.#width;
    const tokens = sequences * width;
    // A drafted token costs one more layer, and its head.
    const share = 1 + this.#drafts / model.layers;
    const moeLayers = model.layers - model.denseLayers;
    const length = contextTokens / sequences;
    parts.dense = layer.dense(tokens) * model.denseLayers;
    parts.head = layer.head(tokens) + this.#drafts * layer.head(sequences);
    parts.launch = layer.launchSeconds * width;
    parts.tensorParallel = layer.tensorParallel(tokens) * model.layers * share;
    parts.overlapped = 0;
    if (!this.#overlaps) {
      parts.attention = layer.attention(sequences, length, 0) * model.layers * share;
      parts.gate = layer.gate(tokens) * model.layers * share;
      parts.sharedExperts = layer.sharedExperts(tokens, 0) * moeLayers * share;
      parts.experts = layer.experts(meanSequences * width, 0) * moeLayers * share;
      parts.dispatch = layer.exchanges ? layer.dispatch(tokens, 0) * moeLayers * share : 0;
      parts.combine = layer.exchanges ? layer.combine(tokens, 0) * moeLayers * share : 0;
      parts.overlapped = -Math.min(parts.sharedExperts, parts.dispatch);
      return sum(parts);
    }
    const half = tokens / 2;
    const attend = layer.attention(sequences / 2, length, 1);
    const gate = layer.gate(half);
    const shared = layer.sharedExperts(half, 1);
    const experts = layer.experts((meanSequences * width) / 2, 1);
    const dispatch = layer.dispatch(half, 1);
    const combine = layer.combine(half, 1);
    const before = attend * layer.before;
    const windows = Math.max(shared + before, dispatch) + experts + Math.max(attend - before + gate, combine);
    const serial = shared + attend + gate + experts + dispatch + combine;
    parts.attention = attend * (2 * moeLayers + 2 * model.denseLayers) * share;
    parts.gate = gate * (2 * moeLayers + 2 * model.denseLayers) * share;
    parts.sharedExperts = 2 * shared * moeLayers * share;
    parts.experts = 2 * experts * moeLayers * share;
    parts.dispatch = 2 * dispatch * moeLayers * share;
    parts.combine = 2 * combine * moeLayers * share;
    parts.overlapped = 2 * (windows - serial) * moeLayers * share;
    return sum(parts);
  }

  #describe(seconds: number, tokens: number, contextTokens: number, sequences: number): StepCost {
    const { accelerator, pool } = this.#setting;
    const volume = stepVolume(this.#setting, { tokens, contextTokens, sequences }, this.#layer.exchangeCost);
    const communication = this.#overlaps ? pool.overlap.communicationSms : 0;
    return {
      seconds,
      parts: { ...this.#parts },
      bytes: volume.bytes,
      flops: volume.flops,
      sms: { compute: accelerator.sms - communication, communication },
    };
  }
}

function emptyParts(): Parts {
  return {
    attention: 0,
    dense: 0,
    sharedExperts: 0,
    experts: 0,
    gate: 0,
    dispatch: 0,
    combine: 0,
    tensorParallel: 0,
    head: 0,
    launch: 0,
    overlapped: 0,
  };
}

function sum(parts: Parts): number {
  return (
    parts.attention +
    parts.dense +
    parts.sharedExperts +
    parts.experts +
    parts.gate +
    parts.dispatch +
    parts.combine +
    parts.tensorParallel +
    parts.head +
    parts.launch +
    parts.overlapped
  );
}

function checkLoad(tokens: number, contextTokens: number, sequences: number): void {
  const bad = [
    ['tokens', tokens, 1],
    ['contextTokens', contextTokens, 0],
    ['sequences', sequences, 1],
  ] as const;
  for (const [name, value, minimum] of bad) {
    if (!(value >= minimum) || !Number.isFinite(value)) {
      throw badConfig(`expected a number of at least ${minimum} for ${name}, got ${value}`, value, name);
    }
  }
}

function checkPool(accelerator: Accelerator, model: ModelShape, pool: Pool): void {
  const { tp, dp, ep, overlap } = pool;
  if (model.heads % tp !== 0) {
    throw badConfig(`expected tp to divide the ${model.heads} attention heads, got ${tp}`, tp, 'tp');
  }
  if (ep > model.experts + pool.redundantExperts) {
    const expected = `at most ${model.experts + pool.redundantExperts} (experts and redundant ones)`;
    throw badConfig(`expected ${expected} for ep, got ${ep}`, ep, 'ep or redundantExperts');
  }
  if (overlap.communicationSms >= accelerator.sms) {
    throw badConfig(
      `expected communicationSms below the ${accelerator.sms} SMs of ${accelerator.name}, got ${overlap.communicationSms}`,
      overlap.communicationSms,
      'communicationSms',
    );
  }
  if (dp > 1 && ep > 1 && ep !== tp * dp && (tp * dp) % ep !== 0) {
    throw badConfig(`expected ep to divide the ${tp * dp} GPUs of a unit, got ${ep}`, ep, 'ep');
  }
}
