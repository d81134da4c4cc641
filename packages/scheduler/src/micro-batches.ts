import type { PlanRecord } from './plan-record.js';
import type { Stage } from './stage.js';

/**
 * Splits a compute plan into two micro-batches of similar work where its stage wants that. Each sequence goes to the
 * lighter half, so the halves differ by no more than the heaviest sequence; a sequence is never cut.
 */
export function splitStep(plan: PlanRecord, stage: Stage): void {
  plan.microBatches = 1;
  const { sequences, microBatchOf } = plan;
  const tokens = plan.prefillTokens + plan.decodeSequences;
  if (sequences < 2 || tokens < stage.splitTokens) {
    if (stage.splitTokens !== Number.POSITIVE_INFINITY) microBatchOf.fill(0, 0, sequences);
    return;
  }
  let first = 0;
  let second = 0;
  for (let row = 0; row < sequences; row++) {
    const count = plan.tokenCounts[row]!;
    const work = count * (1 + stage.splitContextCost * (plan.contextStarts[row]! + count / 2));
    if (first <= second) {
      microBatchOf[row] = 0;
      first += work;
    } else {
      microBatchOf[row] = 1;
      second += work;
    }
  }
  plan.microBatches = 2;
}
