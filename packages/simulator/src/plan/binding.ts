import type { StepCost } from '../cost/step-cost.js';
import type { Accelerator } from '../hardware/accelerator.js';

/** What keeps a pool from doing more. */
export interface Binding {
  /** `memory` capacity, `bandwidth` of the memory, `compute`, `network`, an `slo`, or the largest `batch` considered. */
  readonly kind: 'memory' | 'bandwidth' | 'compute' | 'network' | 'slo' | 'batch';
  /** The reason in words, with its figures. */
  readonly text: string;
  /** Lower bounds of the step: bytes of memory, operations and exposed communication alone. */
  readonly seconds: { readonly bandwidth: number; readonly compute: number; readonly network: number };
}

/** What ended the growth of the batch. */
export type GrowthLimit = 'ttft' | 'tpot' | 'memory' | 'batch' | 'throughput';

/** What binds a pool: the limit of its batch first, then what its step is made of. */
export function bindingOf(
  accelerator: Accelerator,
  step: StepCost,
  limit: GrowthLimit,
  what = 'step',
): Binding {
  const { parts, bytes, flops } = step;
  const bandwidth = bytes.memory / (accelerator.memoryBytesPerSecond * accelerator.memoryEfficiency);
  const compute = flops / accelerator.flopsPerSecond.fp8;
  const network = Math.max(
    0,
    parts.dispatch + parts.combine + parts.tensorParallel + Math.min(0, parts.overlapped),
  );
  const seconds = { bandwidth, compute, network };
  const resource = network > 0.4 * step.seconds ? 'network' : bandwidth >= compute ? 'bandwidth' : 'compute';
  const share = (part: number) => `${Math.round((100 * part) / step.seconds)}%`;
  const made = `its ${what} of ${milliseconds(step.seconds)} is ${share(seconds[resource])} ${names[resource]} at least`;
  switch (limit) {
    case 'memory':
      return {
        kind: 'memory',
        text: `KV cache fills the memory before the SLO ends the batch; ${made}`,
        seconds,
      };
    case 'batch':
      return { kind: 'batch', text: `the largest batch considered is reached; ${made}`, seconds };
    case 'tpot':
      return { kind: 'slo', text: `one more sequence would break the time between tokens; ${made}`, seconds };
    case 'ttft':
      return { kind: 'slo', text: `more requests would break the time to first token; ${made}`, seconds };
    case 'throughput':
      return { kind: resource, text: `prompts take all the time there is; ${made}`, seconds };
  }
}

const names = {
  bandwidth: 'memory traffic',
  compute: 'arithmetic',
  network: 'communication that nothing hides',
} as const;

function milliseconds(seconds: number): string {
  return seconds >= 1 ? `${seconds.toFixed(2)} s` : `${(1000 * seconds).toFixed(1)} ms`;
}
