import { accelerators } from '../hardware/presets.js';
import { expertsRead, type KernelModel } from '../kernels/kernel-model.js';
import { kernelModel } from '../kernels/predict-kernel.js';
import { deepSeekV3 } from '../model/model-shape.js';
import { peakFlops, type StepSetting, smSlowdown, storedBytes } from './setting.js';

/** The routed experts of one layer on the busiest GPU, from measurements of DeepSeek-V3's under uniform routing. */
export class ExpertCost {
  readonly #setting: StepSetting;
  readonly #kernel: KernelModel;
  /** Ranks of the measured layer with as many experts on each of them. */
  readonly #ranks: number;
  readonly #tokenRatio: number;
  readonly #slotRatio: number;
  readonly #bytesRatio: number;
  readonly #operationRatio: number;

  constructor(setting: StepSetting) {
    const { accelerator, model, pool, precision, role } = setting;
    const measured = accelerator.measuredAs ?? 'h100_sxm';
    const reference = { h100_sxm: accelerators.h100, h200_sxm: accelerators.h200, gb200: accelerators.gb200 }[
      measured
    ];
    this.#setting = setting;
    this.#kernel = kernelModel(measured, role === 'prefill' ? 'moe_context' : 'moe_generation');
    // Where tensor parallelism splits experts too, each GPU holds that much less of each: as many bytes as with more ranks.
    const gpus = pool.tp * pool.dp;
    this.#ranks = Math.max(1, (gpus * deepSeekV3.experts) / model.experts);
    this.#tokenRatio = model.topK / deepSeekV3.topK;
    this.#slotRatio = (model.experts + pool.redundantExperts) / model.experts;
    const size =
      (model.hidden * model.expertIntermediate) / (deepSeekV3.hidden * deepSeekV3.expertIntermediate);
    this.#bytesRatio =
      (size * storedBytes(precision.weights) * reference.memoryBytesPerSecond) /
      (storedBytes('fp8') * accelerator.memoryBytesPerSecond);
    this.#operationRatio = (size * peakFlops(reference, 'fp8')) / peakFlops(accelerator, precision.weights);
  }

  /** Seconds for `tokens` tokens of the whole expert-parallel group on `sms` SMs. */
  seconds(tokens: number, sms: number): number {
    const measured = tokens * this.#tokenRatio;
    const [start, perExpert, perToken] = this.#kernel.rates as unknown as [number, number, number];
    const weights = perExpert * expertsRead(measured, this.#ranks);
    const work = (perToken * measured * deepSeekV3.topK) / this.#ranks;
    const slower = smSlowdown(this.#setting.accelerator, sms);
    const scaled =
      start +
      weights * this.#slotRatio * this.#bytesRatio * slower.memory +
      work * this.#setting.imbalance * this.#operationRatio * slower.operations;
    const point = Float64Array.of(measured, this.#ranks, 0);
    return (this.#kernel.predict(point) / 1e3) * (scaled / (start + weights + work));
  }
}
