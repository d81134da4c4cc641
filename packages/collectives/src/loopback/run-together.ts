import type { Plan } from '../communicator/communicator.js';
import { PlanBody } from '../communicator/plan.js';
import { CollectivesError } from '../errors.js';

/**
 * Runs plans of ranks that share this thread to their end: starts all of them, then polls them in turn.
 *
 * @throws what a plan throws; CollectivesError `collectives/would-block` when none can go on, for example because the plan of a rank is missing.
 */
export function runTogether(plans: readonly Plan[]): void {
  for (const plan of plans) plan.start();
  finishTogether(plans);
}

/** Polls started plans of ranks that share this thread until all are complete. Errors as {@link runTogether}. */
export function finishTogether(plans: readonly Plan[]): void {
  // Plans go on when a message or an agreement arrives, and the world counts those: a few sweeps without any cannot be followed by one.
  let idle = 0;
  let before = -1;
  for (;;) {
    let pending = 0;
    let activity = 0;
    for (const plan of plans) {
      if (!plan.test()) pending++;
      if (plan instanceof PlanBody) activity = (activity + plan.activity()) | 0;
    }
    if (pending === 0) return;
    idle = activity === before ? idle + 1 : 0;
    before = activity;
    if (idle > IDLE_SWEEPS) throw stuck(plans.length, pending);
  }
}

const IDLE_SWEEPS = 3;

function stuck(all: number, pending: number): CollectivesError {
  return new CollectivesError({
    code: 'collectives/would-block',
    message: `${pending} of ${all} plans cannot go on: they wait for a rank that is not among them`,
    value: pending,
    remedy: 'pass the plans of all ranks of the communicator',
  });
}
