import { requireInteger, requireLength } from '../operands.js';
import { type LoadMetrics, loadMetrics } from './load-metrics.js';

/** Loads of many batches: the two MaxVio of the loss-free balancing paper and everything else that {@link loadMetrics} knows. */
export interface LoadTracker {
  /** Sum of all counts added [E]. */
  readonly totals: Float64Array;
  readonly batches: number;
  /** Adds one batch and returns its own metrics. */
  add(counts: Int32Array | Float64Array): LoadMetrics;
  /** Mean MaxVio of the single batches (MaxVio_batch); 0 before the first. */
  batchMaxVio(): number;
  /** Metrics of all batches together; its `maxVio` is MaxVio_global. */
  global(): LoadMetrics;
  /** Forgets everything. */
  reset(): void;
}

/** Starts counting loads of `experts` experts. */
export function createLoadTracker(experts: number): LoadTracker {
  return new Tracker(requireInteger('experts', experts, 1, 1 << 20));
}

class Tracker implements LoadTracker {
  readonly totals: Float64Array;
  #batches: number = 0;
  #maxVio: number = 0;

  constructor(experts: number) {
    this.totals = new Float64Array(experts);
  }

  get batches(): number {
    return this.#batches;
  }

  add(counts: Int32Array | Float64Array): LoadMetrics {
    const { totals } = this;
    requireLength('counts', counts.length, totals.length, '[experts]');
    const metrics = loadMetrics(counts.subarray(0, totals.length));
    for (let e = 0; e < totals.length; e++) totals[e]! += counts[e]!;
    this.#batches++;
    this.#maxVio += metrics.maxVio;
    return metrics;
  }

  batchMaxVio(): number {
    return this.#batches === 0 ? 0 : this.#maxVio / this.#batches;
  }

  global(): LoadMetrics {
    return loadMetrics(this.totals);
  }

  reset(): void {
    this.totals.fill(0);
    this.#batches = 0;
    this.#maxVio = 0;
  }
}
