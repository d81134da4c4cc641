/** A request as a simulation sees it. The object that a {@link RequestSource} fills is reused. */
export interface SimulatedRequest {
  /** Microseconds from the start; of no meaning where users wait for answers. */
  arrivalUs: number;
  inputTokens: number;
  outputTokens: number;
  /** Prefix blocks of the prompt by the hash of everything up to their end; empty: unknown. */
  blocks: readonly number[];
  /** Tokens that a cache outside the simulation holds already; used where `blocks` is empty. */
  cachedTokens: number;
}

/** Requests in order of arrival, one at a time, so that a trace of any length fits into memory. */
export interface RequestSource {
  /** Fills `request` with the next one; false at the end. */
  next(request: SimulatedRequest): boolean;
}

/** An empty request to be filled. */
export function blankRequest(): SimulatedRequest {
  return { arrivalUs: 0, inputTokens: 1, outputTokens: 1, blocks: [], cachedTokens: 0 };
}

/** A source over requests in memory; they must be in order of arrival. */
export function requestsOf(requests: Iterable<Partial<SimulatedRequest>>): RequestSource {
  const iterator = requests[Symbol.iterator]();
  return {
    next(request: SimulatedRequest): boolean {
      const step = iterator.next();
      if (step.done === true) return false;
      const { arrivalUs = 0, inputTokens = 1, outputTokens = 1, blocks = [], cachedTokens = 0 } = step.value;
      request.arrivalUs = arrivalUs;
      request.inputTokens = inputTokens;
      request.outputTokens = outputTokens;
      request.blocks = blocks;
      request.cachedTokens = cachedTokens;
      return true;
    },
  };
}
