import { replayReference } from '../src/index.js';

/** The published contract of this package. */
type ContractReplayReference = (
  requests: { arrivalUs: number; inputTokens: number; outputTokens: number }[],
  config: Record<string, number>,
) => { firstTokenUs: number; finishUs: number; preemptions: number }[];

export const contractReplayReference: ContractReplayReference = replayReference;
