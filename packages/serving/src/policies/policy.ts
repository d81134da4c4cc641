/** What a policy sees of a worker. */
export interface Candidate {
  readonly name: string;
  /** Requests in flight. */
  readonly running: number;
}

/** What a policy may look at in a request. */
export interface RoutingHint {
  /** The prompt's text, or its JSON: equal beginnings mean equal first tokens. */
  readonly prompt: string;
  /** Names the conversation or user. */
  readonly session?: string;
}

/** Chooses one of several servers. Stateless ones may be shared; others belong to one pool. */
export interface Policy {
  /** Header that names the session; default `x-session-id`. */
  readonly sessionHeader?: string;
  /**
   * The worker that shall take a request.
   *
   * @param candidates - the workers that may be used now, at least one.
   */
  choose<T extends Candidate>(candidates: readonly T[], hint: RoutingHint): T;
}

/** How far affinity may load a worker before it gives way: both bounds must be passed. */
export interface LoadGuard {
  /** Requests more than the least loaded worker; default 8. */
  readonly maxLoadGap?: number;
  /** And this many times as many; default 1.5. */
  readonly maxLoadRatio?: number;
}

/** Whether a worker has too much to do, beside the least loaded one, to get more for affinity's sake. */
export function isOverloaded(worker: Candidate, least: Candidate, guard: LoadGuard): boolean {
  const gap = worker.running - least.running;
  return gap > (guard.maxLoadGap ?? 8) && worker.running > least.running * (guard.maxLoadRatio ?? 1.5);
}

/** The worker with the fewest requests; the first of equals, counted from `start`. */
export function leastLoaded<T extends Candidate>(candidates: readonly T[], start = 0): T {
  let best = candidates[start % candidates.length]!;
  for (let offset = 1; offset < candidates.length; offset++) {
    const candidate = candidates[(start + offset) % candidates.length]!;
    if (candidate.running < best.running) best = candidate;
  }
  return best;
}
