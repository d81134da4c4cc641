import type { MeasuredSystem } from '../hardware/accelerator.js';
import { accelerators } from '../hardware/presets.js';
import type { KernelModel } from '../kernels/kernel-model.js';
import { kernelModel } from '../kernels/predict-kernel.js';
import { kernelSources } from '../kernels/tables.js';
import { deepSeekV3, type ModelShape } from '../model/model-shape.js';
import { peakFlops, type StepSetting, smSlowdown } from './setting.js';

/** Numbers of the projections of one layer around core attention, by whether they belong to a head. */
export function projectionWeights(model: ModelShape): { perHead: number; shared: number } {
  const qkHeadDim = model.qkNopeHeadDim + model.qkRopeHeadDim;
  const query = (model.qLoraRank ?? model.hidden) * qkHeadDim;
  const keyValue = model.kvLoraRank * (model.qkNopeHeadDim + model.vHeadDim);
  const output = model.vHeadDim * model.hidden;
  const down = model.hidden * ((model.qLoraRank ?? 0) + model.kvLoraRank + model.qkRopeHeadDim);
  return { perHead: query + keyValue + output, shared: down };
}

/** Share of a layer's projections that stand before core attention. */
export function projectionShareBefore(model: ModelShape): number {
  const { perHead, shared } = projectionWeights(model);
  const after = model.vHeadDim * (model.hidden + model.kvLoraRank);
  return 1 - (after * model.heads) / (perHead * model.heads + shared);
}

/** The attention block of one layer on one GPU: projections and core attention, from measurements where there are any. */
export class AttentionCost {
  readonly #setting: StepSetting;
  readonly #kernel: KernelModel;
  readonly #source: number;
  readonly #heads: number;
  readonly #ratios: { weights: number; projection: number; score: number; cache: number };
  readonly #rough: { operations: number; memory: number };

  constructor(setting: StepSetting) {
    const { accelerator, model, pool, precision, role } = setting;
    const measured: MeasuredSystem = accelerator.measuredAs ?? 'h100_sxm';
    const reference = { h100_sxm: accelerators.h100, h200_sxm: accelerators.h200, gb200: accelerators.gb200 }[
      measured
    ];
    this.#setting = setting;
    this.#kernel = kernelModel(measured, role === 'prefill' ? 'mla_context' : 'mla_generation');
    this.#source = kernelSources.indexOf(measured === 'gb200' ? 'trtllm_mla' : 'fa3');
    this.#heads = model.heads / pool.tp;
    const own = projectionWeights(model);
    const theirs = projectionWeights(deepSeekV3);
    const perHead = own.perHead + own.shared / model.heads;
    const perHeadThere = theirs.perHead + theirs.shared / deepSeekV3.heads;
    const width = model.qkNopeHeadDim + model.qkRopeHeadDim + model.vHeadDim;
    const widthThere = deepSeekV3.qkNopeHeadDim + deepSeekV3.qkRopeHeadDim + deepSeekV3.vHeadDim;
    const cacheBytes = precision.attention === 'fp8' ? 0.5 : 1;
    this.#ratios = {
      weights: perHead / perHeadThere,
      projection: perHead / perHeadThere,
      score: width / widthThere,
      cache:
        (cacheBytes * (model.kvLoraRank + model.qkRopeHeadDim)) /
        (deepSeekV3.kvLoraRank + deepSeekV3.qkRopeHeadDim),
    };
    this.#rough = {
      operations: peakFlops(reference, 'bf16') / accelerator.flopsPerSecond.bf16,
      memory: reference.memoryBytesPerSecond / accelerator.memoryBytesPerSecond,
    };
  }

  /** Seconds for `sequences` prompts of `length` new tokens each, on `sms` SMs. */
  prefillSeconds(sequences: number, length: number, sms: number): number {
    const point = Float64Array.of(this.#source, this.#heads, sequences, length);
    const [start, shared, perHead, square] = this.#kernel.rates as unknown as [
      number,
      number,
      number,
      number,
    ];
    const tokens = sequences * length;
    const project = (shared + perHead * this.#heads) * tokens;
    const score = square * tokens * length * this.#heads;
    const slower = smSlowdown(this.#setting.accelerator, sms).operations * this.#rough.operations;
    const work = Math.hypot(start, project + score);
    const scaled = Math.hypot(
      start,
      slower * (project * this.#ratios.projection + score * this.#ratios.score),
    );
    return (this.#kernel.predict(point) / 1e3) * (scaled / work);
  }

  /** Seconds that attending to `pairs` (new token, cached token) pairs adds to a prefill. */
  contextSeconds(pairs: number, sms: number): number {
    // Causal attention among n new tokens covers n * n / 2 pairs.
    const rate = 2 * this.#kernel.rates[3]! * this.#heads * this.#ratios.score;
    const slower = smSlowdown(this.#setting.accelerator, sms).operations * this.#rough.operations;
    return (pairs * rate * slower) / 1e3;
  }

  /** Seconds for one new token of each of `sequences` sequences over `context` tokens each. */
  decodeSeconds(sequences: number, context: number, newTokens = 1): number {
    const point = Float64Array.of(this.#source, this.#heads, sequences, Math.max(1, context));
    const [start, weight, token, project, cache, score] = this.#kernel.rates as unknown as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const heads = this.#heads;
    const terms = [
      start,
      weight * heads,
      (token + project * heads) * sequences,
      cache * sequences * context,
      score * sequences * context * heads,
    ] as const;
    const { operations, memory } = this.#rough;
    const work = terms[0] + terms[1] + terms[2] + terms[3] + terms[4];
    const scaled =
      terms[0] +
      terms[1] * this.#ratios.weights * memory +
      terms[2] * this.#ratios.projection * operations * newTokens +
      terms[3] * this.#ratios.cache * memory +
      terms[4] * this.#ratios.score * operations * newTokens;
    return (this.#kernel.predict(point) / 1e3) * (scaled / work);
  }
}
