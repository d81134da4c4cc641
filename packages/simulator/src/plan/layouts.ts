import type { Pool } from '../cost/deployment.js';
import type { Accelerator } from '../hardware/accelerator.js';
import type { ModelShape } from '../model/model-shape.js';

/** Ways to split a unit that are searched. */
export interface LayoutSpace {
  /** Servers of a unit; default: 1 to 64 in steps that grow. */
  readonly nodes?: readonly number[];
  /** Tensor parallelism of attention; default 1, 2, 4, 8. */
  readonly tp?: readonly number[];
  /** Expert slots of a GPU beyond the fewest that hold all experts; default 0, 1, 2. */
  readonly extraSlots?: readonly number[];
  /** Two micro-batches or one; default both. */
  readonly overlap?: readonly boolean[];
  /** SMs that communicate while two micro-batches of prefill overlap; default 24 (DeepSeek's schedule). */
  readonly communicationSms?: readonly number[];
  /** Units without expert parallelism, attention and experts split over all GPUs; default true. */
  readonly tensorOnly?: boolean;
}

/** A unit without its limits on batches. */
export type Layout = Omit<Pool, 'units' | 'maxTokensPerRank' | 'maxSequencesPerRank'>;

const defaultNodes = [1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 16, 18, 20, 24, 32, 40, 48, 64];

/** All layouts of one phase that use at most `gpus` GPUs and split the model evenly; the smallest units first. */
export function layouts(
  phase: 'prefill' | 'decode',
  {
    accelerator,
    model,
    gpus,
    space = {},
  }: { accelerator: Accelerator; model: ModelShape; gpus: number; space?: LayoutSpace },
): Layout[] {
  const {
    nodes = defaultNodes,
    tp: tensor = [1, 2, 4, 8],
    extraSlots = [0, 1, 2],
    overlap = [true, false],
    communicationSms = [24],
    tensorOnly = true,
  } = space;
  const { gpusPerServer } = accelerator;
  const list: Layout[] = [];
  for (const count of [...nodes].sort((a, b) => a - b)) {
    const size = count * gpusPerServer;
    if (size > gpus) break;
    for (const tp of tensor) {
      if (size % tp !== 0 || model.heads % tp !== 0 || tp > accelerator.gpusPerNvlinkDomain) continue;
      const shape = { gpusPerNode: gpusPerServer, tp, dp: size / tp, ep: size };
      for (const redundantExperts of redundancy(model.experts, size, extraSlots)) {
        for (const enabled of overlap) {
          // Transfers of decode use no SMs; those of prefill do, and share them only where two batches overlap.
          const sms = phase === 'prefill' && enabled ? communicationSms : [0];
          for (const communication of sms)
            list.push({ ...shape, redundantExperts, overlap: { enabled, communicationSms: communication } });
        }
      }
    }
    if (tensorOnly && splitsWidth(model, size)) {
      const overlapOff = { enabled: false, communicationSms: 0 };
      list.push({
        gpusPerNode: gpusPerServer,
        tp: size,
        dp: 1,
        ep: 1,
        redundantExperts: 0,
        overlap: overlapOff,
      });
    }
  }
  return list;
}

function redundancy(experts: number, ep: number, extraSlots: readonly number[]): number[] {
  const fewest = Math.ceil(experts / ep);
  return extraSlots.map((extra) => (fewest + extra) * ep - experts);
}

function splitsWidth(
  { heads, expertIntermediate, denseIntermediate, denseLayers }: ModelShape,
  ways: number,
): boolean {
  return (
    heads % ways === 0 &&
    expertIntermediate % ways === 0 &&
    (denseLayers === 0 || denseIntermediate % ways === 0)
  );
}
