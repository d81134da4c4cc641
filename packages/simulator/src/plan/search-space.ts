import { createStepCostModel } from '../cost/create-step-cost-model.js';
import type { Deployment, Pool } from '../cost/deployment.js';
import type { StepCostModel } from '../cost/step-cost.js';
import { type MemoryPlan, memoryPlan } from '../memory/memory-plan.js';
import { type DecodeOption, decodeOption } from './decode-option.js';
import { type Layout, type LayoutSpace, layouts } from './layouts.js';
import { type MixedOption, mixedOption } from './mixed-option.js';
import type { PlanOptions, PlanRequest } from './plan-options.js';
import { type PrefillOption, prefillOption } from './prefill-option.js';
import type { Traffic } from './traffic.js';

/** Most new tokens of a rank in a prefill step that are tried. */
const defaultPrefillTokens = [2048, 4096, 8192, 16_384, 32_768];
/** Pieces of prompts between decode steps that are tried. */
const pieces = [512, 2048, 8192];
const mostSequences = 1024;

interface PricedLayout {
  readonly layout: Layout;
  readonly cost: StepCostModel;
}

/** All layouts of a request, priced; options under any limit on TPOT come from here without pricing them again. */
export class SearchSpace {
  readonly request: PlanRequest;
  readonly traffic: Traffic;
  readonly prefill: PrefillOption[] = [];
  /** Why layouts fell away. */
  readonly rejected: { memory: number; prompts: number } = { memory: 0, prompts: 0 };
  layoutCount = 0;
  /** Smallest shortage of memory among layouts that did not fit, bytes of one GPU. */
  smallestShortage: number = Number.POSITIVE_INFINITY;
  readonly #decode: PricedLayout[] = [];
  readonly #mixed: (PricedLayout & { readonly prefillCost: StepCostModel })[] = [];

  private constructor(request: PlanRequest, traffic: Traffic) {
    this.request = request;
    this.traffic = traffic;
  }

  /** Prices all layouts; `pause` runs between them. */
  static async open(
    request: PlanRequest,
    traffic: Traffic,
    space: NonNullable<PlanOptions['space']>,
    pause: (done: number, total: number) => Promise<void>,
  ): Promise<SearchSpace> {
    const search = new SearchSpace(request, traffic);
    const { accelerator, model, gpus } = request;
    const of = (phase: 'prefill' | 'decode', chosen: LayoutSpace | undefined) =>
      layouts(phase, { accelerator, model, gpus, space: { ...redundancyOf(request), ...chosen } });
    const first = of('prefill', space.prefill);
    const second = of('decode', space.decode);
    const total = first.length + second.length;
    search.layoutCount = total;
    let done = 0;
    for (const layout of first) {
      search.#addPrefill(layout, space.prefillTokens ?? defaultPrefillTokens);
      await pause(++done, total);
    }
    for (const layout of second) {
      search.#addDecode(layout);
      await pause(++done, total);
    }
    return search;
  }

  get decodeLayouts(): number {
    return this.#decode.length;
  }

  /** Decode options with the largest batch that keeps `tpotSeconds`. */
  decode(tpotSeconds: number): DecodeOption[] {
    const { traffic } = this;
    const options: DecodeOption[] = [];
    for (const { layout, cost } of this.#decode) {
      const pool = poolOf(layout, 1, mostSequences);
      const memoryOf = (sequences: number) => this.#memory('decode', poolOf(layout, sequences, sequences));
      const option = decodeOption(pool, tpotSeconds, { cost, traffic, memoryOf });
      if (option !== undefined) options.push(option);
    }
    return options;
  }

  /** Options that prefill and decode in one pool. */
  mixed(tpotSeconds: number): MixedOption[] {
    const { traffic } = this;
    const options: MixedOption[] = [];
    for (const { layout, cost, prefillCost } of this.#mixed) {
      for (const piece of pieces) {
        const memoryOf = (sequences: number) =>
          this.#memory('both', poolOf(layout, piece + sequences, sequences));
        const base = decodeOption(poolOf(layout, 1, mostSequences), tpotSeconds, { cost, traffic, memoryOf });
        const option = base && mixedOption(base, prefillCost, traffic, tpotSeconds, piece);
        if (option !== undefined) options.push(option);
      }
    }
    return options;
  }

  /** Fastest decode step of one sequence, over all layouts that fit. */
  fastestTpotSeconds(): number {
    let best = Number.POSITIVE_INFINITY;
    for (const { cost } of this.#decode)
      best = Math.min(best, cost.decodeSeconds(1, this.traffic.contextMean) / cost.tokensPerStep);
    return best;
  }

  #addPrefill(layout: Layout, tokensPerRank: readonly number[]): void {
    const { traffic, request } = this;
    const { accelerator } = request;
    let cost: StepCostModel | undefined;
    for (const tokens of tokensPerRank) {
      const sequences = Math.min(256, Math.max(1, Math.ceil((2 * tokens) / traffic.newMean)));
      const pool = poolOf(layout, tokens, sequences);
      const memory = this.#memory('prefill', pool);
      if (!this.#accept(memory)) continue;
      cost ??= createStepCostModel({ ...this.#setting(pool, pool), role: 'prefill' });
      const networkBytesPerSecond = accelerator.network.bytesPerSecond;
      const option = prefillOption(pool, { memory, cost, traffic, networkBytesPerSecond });
      if (option === undefined) this.rejected.prompts++;
      else this.prefill.push(option);
    }
  }

  #addDecode(layout: Layout): void {
    const pool = poolOf(layout, 1, 1);
    if (!this.#accept(this.#memory('decode', pool))) return;
    const setting = this.#setting(null, pool);
    const priced = { layout, cost: createStepCostModel({ ...setting, role: 'decode' }) };
    this.#decode.push(priced);
    // Overlapping a mixed step is left out: engines split prefill or decode batches, not their mixture.
    if (!layout.overlap.enabled)
      this.#mixed.push({ ...priced, prefillCost: createStepCostModel({ ...setting, role: 'prefill' }) });
  }

  #accept(memory: MemoryPlan): boolean {
    if (memory.fits) return true;
    this.rejected.memory++;
    this.smallestShortage = Math.min(this.smallestShortage, memory.shortageBytes);
    return false;
  }

  #memory(phase: 'prefill' | 'decode' | 'both', pool: Pool): MemoryPlan {
    const { accelerator, model, precision, mtp, blockSizeTokens } = this.request;
    return memoryPlan({ accelerator, model, phase, pool, precision, mtp, blockSizeTokens });
  }

  #setting(prefill: Pool | null, decode: Pool) {
    const { accelerator, model } = this.request;
    return { accelerator, model, deployment: deploymentOf(this.request, prefill, decode) };
  }
}

/** Copies of experts help only where their popularity differs. */
function redundancyOf({ skew }: PlanRequest): LayoutSpace {
  return skew.kind === 'powerLaw' && skew.alpha > 0 ? {} : { extraSlots: [0] };
}

function poolOf(layout: Layout, maxTokensPerRank: number, maxSequencesPerRank: number): Pool {
  return { units: 1, ...layout, maxTokensPerRank, maxSequencesPerRank };
}

/** A deployment of two pools, or of one. */
export function deploymentOf(request: PlanRequest, prefill: Pool | null, decode: Pool): Deployment {
  const { precision, mtp, skew, blockSizeTokens } = request;
  return { schemaVersion: 1, prefill, decode, precision, mtp, skew, blockSizeTokens };
}
