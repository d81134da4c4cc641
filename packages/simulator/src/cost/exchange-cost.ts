import { type ClusterLinks, dispatchCost, interpolateLowLatencyUs } from '@moestack/collectives/cost';
import { accelerators } from '../hardware/presets.js';
import { kernelModel } from '../kernels/predict-kernel.js';
import { deepSeekV3 } from '../model/model-shape.js';
import type { StepSetting } from './setting.js';

/** Nodes of the largest multi-node table that group-limited gating does not cut short. */
const TABLE_NODES = 4;
const LOW_LATENCY_TABLE_NODES = 8;
const PROBE_TOKENS = 4096;

/** Dispatch and combine of one layer among the GPUs of a unit. */
export class ExchangeCost {
  readonly #setting: StepSetting;
  readonly #nodes: number;
  readonly #ranksPerNode: number;
  readonly #ratios: { dispatch: number; combine: number };
  readonly #sent: { intra: number; inter: number };

  constructor(setting: StepSetting) {
    const { accelerator, pool } = setting;
    this.#setting = setting;
    const ranks = pool.tp * pool.dp;
    this.#ranksPerNode = Math.min(ranks, accelerator.gpusPerNvlinkDomain);
    this.#nodes = Math.ceil(ranks / accelerator.gpusPerNvlinkDomain);
    const { ratios, sent } = setting.role === 'prefill' ? this.#normalRatios() : this.#lowLatencyRatios();
    this.#ratios = ratios;
    this.#sent = sent;
  }

  /** Bytes that one GPU sends over NVLink and network for one token in dispatch and combine. */
  get bytesPerToken(): { readonly intra: number; readonly inter: number } {
    return this.#sent;
  }

  dispatchSeconds(tokens: number, sms: number): number {
    return this.#seconds(tokens, sms, 0) * this.#skew();
  }

  combineSeconds(tokens: number, sms: number): number {
    return this.#seconds(tokens, sms, 1) * this.#skew();
  }

  /** The busiest rank receives as much more as its experts are busier. */
  #skew(): number {
    return this.#setting.imbalance;
  }

  #seconds(tokens: number, sms: number, phase: 0 | 1): number {
    const { accelerator, role } = this.#setting;
    const measured = accelerator.measuredAs ?? 'h100_sxm';
    const ratio = phase === 0 ? this.#ratios.dispatch : this.#ratios.combine;
    if (role === 'prefill') {
      const nodes = Math.min(this.#nodes, TABLE_NODES);
      const name = nodes > 1 ? 'deepep_normal_multinode' : 'deepep_normal';
      const system = nodes > 1 && measured === 'gb200' ? 'h100_sxm' : measured;
      const point = Float64Array.of(nodes, tokens, deepSeekV3.experts, Math.min(24, sms));
      // Ranks agree on counts before they move bytes; the sum of both is what was measured best.
      const model = kernelModel(system, name, ...(phase === 0 ? [0, 1] : [2, 3]));
      return stretch(model.predict(point), model.rates[0]!, ratio) / 1e6;
    }
    const nodes = Math.min(this.#nodes, LOW_LATENCY_TABLE_NODES);
    const name = nodes > 1 ? 'deepep_ll_multinode' : 'deepep_ll';
    const system = nodes > 1 && measured === 'gb200' ? 'h100_sxm' : measured;
    const model = kernelModel(system, name, phase);
    const us = model.predict(Float64Array.of(nodes, tokens, deepSeekV3.experts));
    return stretch(us, model.rates[0]!, ratio) / 1e6;
  }

  /** Bytes over links of this cluster against those of the measured one, by the collectives' cost model. */
  #normalRatios(): { ratios: { dispatch: number; combine: number }; sent: { intra: number; inter: number } } {
    const { accelerator, model, precision } = this.#setting;
    const nodes = Math.min(this.#nodes, TABLE_NODES);
    const measured = accelerator.measuredAs ?? 'h100_sxm';
    const reference = measured === 'gb200' && nodes === 1 ? accelerators.gb200 : accelerators.h100;
    const there = dispatchCost(
      {
        topology: { nodes, ranksPerNode: reference.gpusPerServer },
        tokensPerRank: PROBE_TOKENS,
        experts: wholeShares(deepSeekV3.experts, nodes * reference.gpusPerServer),
        topK: deepSeekV3.topK,
        hidden: deepSeekV3.hidden,
        payload: 'fp8',
        mode: nodes === 1 ? 'direct' : 'hierarchical',
      },
      linksOf(reference),
    );
    const ranks = this.#nodes * this.#ranksPerNode;
    const here = dispatchCost(
      {
        topology: { nodes: this.#nodes, ranksPerNode: this.#ranksPerNode },
        tokensPerRank: PROBE_TOKENS,
        experts: wholeShares(model.experts, ranks),
        topK: model.topK,
        nodeLimit: Math.min(this.#nodes, model.topKGroups),
        hidden: model.hidden,
        payload: precision.dispatch === 'bf16' ? 'bf16' : 'fp8',
        mode: this.#nodes === 1 ? 'direct' : 'hierarchical',
      },
      linksOf(accelerator),
    );
    return {
      ratios: {
        dispatch:
          (here.dispatch.seconds / there.dispatch.seconds) * (precision.dispatch === 'fp4' ? FP4_SHARE : 1),
        combine: here.combine.seconds / there.combine.seconds,
      },
      sent: {
        intra: (here.dispatch.bytes.intra + here.combine.bytes.intra) / PROBE_TOKENS,
        inter: (here.dispatch.bytes.inter + here.combine.bytes.inter) / PROBE_TOKENS,
      },
    };
  }

  #lowLatencyRatios(): {
    ratios: { dispatch: number; combine: number };
    sent: { intra: number; inter: number };
  } {
    const { model, precision } = this.#setting;
    const size = (model.hidden * model.topK) / (deepSeekV3.hidden * deepSeekV3.topK);
    const payload = precision.dispatch === 'bf16' ? 2 : precision.dispatch === 'fp8' ? 1 : FP4_SHARE;
    const ratios = {
      dispatch: size * payload * this.#publishedRatio('dispatch'),
      combine: size * this.#publishedRatio('combine'),
    };
    const remote = (this.#nodes - 1) / this.#nodes;
    const bytes = model.topK * model.hidden * (payload + 2);
    const intra = (bytes * (this.#ranksPerNode - 1)) / (this.#nodes * this.#ranksPerNode);
    return { ratios, sent: { intra, inter: bytes * remote } };
  }

  /** Published latencies of 128 tokens on H800 against the tables: for slower NVLink, and for more nodes than were measured. */
  #publishedRatio(phase: 'dispatch' | 'combine'): number {
    const { accelerator } = this.#setting;
    const reference = accelerators.h100;
    const slowLinks = accelerator.nvlink.bytesPerSecond < 0.75 * reference.nvlink.bytesPerSecond;
    const tokens = 128;
    if (this.#nodes === 1) {
      if (!slowLinks) return 1;
      return reference.nvlink.bytesPerSecond / accelerator.nvlink.bytesPerSecond;
    }
    const tableNodes = Math.min(this.#nodes, LOW_LATENCY_TABLE_NODES);
    if (slowLinks) {
      const model = kernelModel('h100_sxm', 'deepep_ll_multinode', phase === 'dispatch' ? 0 : 1);
      const measured = model.predict(Float64Array.of(tableNodes, tokens, deepSeekV3.experts));
      const start = model.rates[0]!;
      return (interpolateLowLatencyUs(8 * this.#nodes, phase) - start) / (measured - start);
    }
    const network = reference.network.bytesPerSecond / accelerator.network.bytesPerSecond;
    return (
      (network * interpolateLowLatencyUs(8 * this.#nodes, phase)) /
      interpolateLowLatencyUs(8 * tableNodes, phase)
    );
  }
}

/** Scales what comes on top of a start-up time. */
function stretch(us: number, start: number, ratio: number): number {
  const fixed = Math.min(us, start);
  return fixed + (us - fixed) * ratio;
}

const FP4_SHARE = 0.5 + 1 / 16;

/** The least number of experts, padding included, that ranks share evenly. */
function wholeShares(experts: number, ranks: number): number {
  return Math.ceil(experts / ranks) * ranks;
}

/** Links of an accelerator as the collectives' cost model takes them. */
export function linksOf(accelerator: StepSetting['accelerator']): ClusterLinks {
  return { intra: accelerator.nvlink, inter: accelerator.network };
}
