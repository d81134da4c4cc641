import type { Overlap } from './stage-schedule.js';

/**
 * Fewest tokens on the busiest rank that are worth two micro-batches: the products of each run with half of the rows, and read all weights. Serving engines on
 * accelerators, whose products need more rows, ask for 512 and 32.
 */
export const OVERLAP_TOKENS: Readonly<Record<'prefill' | 'decode', number>> = { prefill: 32, decode: 8 };

/** Share of a step spent on waiting below which there is nothing to hide. */
const LEAST_WAIT = 0.1;
/** Steps of either kind before they are compared. */
const TRIALS = 3;
/** Steps after which the slower kind is tried once again. */
const RETRIAL = 50;
/** How much faster two micro-batches must be. */
const MARGIN = 0.98;
/** Weight of the newest step in a mean. */
const NEWEST = 0.5;

/** What all ranks know of a step before it runs. */
export interface StepSize {
  /** Tokens of the busiest rank. */
  readonly mostTokens: number;
  /** Tokens and sequences of all ranks. */
  readonly tokens: number;
  readonly sequences: number;
}

interface Means {
  /** Seconds for each token of the busiest rank. */
  seconds: number;
  steps: number;
}

interface History {
  readonly one: Means;
  readonly two: Means;
  waitShare: number;
  /** Steps since the one that is not used was tried. */
  sinceTrial: number;
}

/**
 * Decides for each step whether two micro-batches pay, by the times of earlier steps of its size. Every rank gives it the same numbers, so that all decide alike.
 */
export class OverlapChoice {
  private readonly histories = new Map<number, History>();
  private current: { history: History; means: Means; tokens: number } | undefined;

  /** @returns `prefill` or `decode` for two micro-batches, in the order that suits the step; `none` for one batch. */
  choose({ mostTokens, tokens, sequences }: StepSize): Overlap {
    this.current = undefined;
    const kind = tokens > 2 * sequences ? 'prefill' : 'decode';
    if (mostTokens < OVERLAP_TOKENS[kind]) return 'none';
    const history = this.historyOf(kind, mostTokens);
    const usesTwo = decide(history);
    this.current = { history, means: usesTwo ? history.two : history.one, tokens: mostTokens };
    return usesTwo ? kind : 'none';
  }

  /** Takes what the last step that {@link OverlapChoice.choose} was asked for took, on the slowest rank, and the mean share of it spent on waiting. */
  observe(seconds: number, waitShare: number): void {
    const { current } = this;
    if (current === undefined) return;
    this.current = undefined;
    const { history, means, tokens } = current;
    means.seconds = mean(means.seconds, seconds / tokens, means.steps);
    // Two micro-batches hide what they are to be chosen by.
    if (means === history.one) history.waitShare = mean(history.waitShare, waitShare, means.steps);
    means.steps++;
  }

  private historyOf(kind: 'prefill' | 'decode', tokens: number): History {
    const key = Math.floor(Math.log2(tokens)) * 2 + (kind === 'prefill' ? 0 : 1);
    let history = this.histories.get(key);
    if (history === undefined) {
      const none = () => ({ seconds: 0, steps: 0 });
      history = { one: none(), two: none(), waitShare: 0, sinceTrial: 0 };
      this.histories.set(key, history);
    }
    return history;
  }
}

function decide(history: History): boolean {
  const { one, two } = history;
  if (one.steps < TRIALS) return false;
  if (two.steps === 0 && history.waitShare < LEAST_WAIT) return false;
  if (two.steps < TRIALS) return true;
  const isFaster = two.seconds < one.seconds * MARGIN;
  if (++history.sinceTrial < RETRIAL) return isFaster;
  history.sinceTrial = 0;
  return isFaster ? false : history.waitShare >= LEAST_WAIT;
}

function mean(before: number, value: number, steps: number): number {
  return steps === 0 ? value : before + (value - before) * NEWEST;
}
