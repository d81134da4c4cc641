import type { Overlap } from './stage-schedule.js';

/**
 * Fewest tokens on the busiest rank that are worth two micro-batches: the products of each run with half of the rows, and read all weights. Serving engines on
 * accelerators, whose products need more rows, ask for 512 and 32.
 */
export const OVERLAP_TOKENS: Readonly<Record<'prefill' | 'decode', number>> = { prefill: 32, decode: 8 };

/** Share of a step spent on waiting below which there is nothing to hide. */
const LEAST_WAIT = 0.1;
/** Steps of each order before they are compared. */
const TRIALS = 3;
/** Steps after which one that is not used is tried once again. */
const RETRIAL = 50;
/** How much faster two micro-batches must be. */
const MARGIN = 0.98;
/** Weight of the newest step in a mean. */
const NEWEST = 0.5;
/**
 * What a step is tried with. In the decode order the experts hide nothing, which suits steps of long attention; where experts take longer than that, the prefill
 * order hides more of the same step.
 */
const ORDERS: Readonly<Record<'prefill' | 'decode', readonly Overlap[]>> = {
  prefill: ['none', 'prefill'],
  decode: ['none', 'decode', 'prefill'],
};

/** What all ranks know of a step before it runs. */
export interface StepSize {
  /** Tokens of the busiest rank. */
  readonly mostTokens: number;
  /** Tokens and sequences of all ranks. */
  readonly tokens: number;
  readonly sequences: number;
}

interface Order {
  readonly overlap: Overlap;
  /** Mean seconds for each token of the busiest rank. */
  seconds: number;
  steps: number;
}

interface History {
  /** One batch first. */
  readonly orders: readonly Order[];
  waitShare: number;
  /** Steps since an order that is not used was tried, and how often one was. */
  sinceTrial: number;
  retrials: number;
}

/**
 * Decides for each step whether two micro-batches pay, by the times of earlier steps of its size. Every rank gives it the same numbers, so that all decide alike.
 */
export class OverlapChoice {
  private readonly histories = new Map<number, History>();
  private current: { history: History; order: Order; tokens: number } | undefined;

  /** @returns `prefill` or `decode` for two micro-batches in that order; `none` for one batch. */
  choose({ mostTokens, tokens, sequences }: StepSize): Overlap {
    this.current = undefined;
    const kind = tokens > 2 * sequences ? 'prefill' : 'decode';
    if (mostTokens < OVERLAP_TOKENS[kind]) return 'none';
    const history = this.historyOf(kind, mostTokens);
    const order = decide(history);
    this.current = { history, order, tokens: mostTokens };
    return order.overlap;
  }

  /** Takes what the last step that {@link OverlapChoice.choose} was asked for took, on the slowest rank, and the mean share of it spent on waiting. */
  observe(seconds: number, waitShare: number): void {
    const { current } = this;
    if (current === undefined) return;
    this.current = undefined;
    const { history, order, tokens } = current;
    order.seconds = mean(order.seconds, seconds / tokens, order.steps);
    // Two micro-batches hide what they are to be chosen by.
    if (order.overlap === 'none') history.waitShare = mean(history.waitShare, waitShare, order.steps);
    order.steps++;
  }

  private historyOf(kind: 'prefill' | 'decode', tokens: number): History {
    const key = Math.floor(Math.log2(tokens)) * 2 + (kind === 'prefill' ? 0 : 1);
    let history = this.histories.get(key);
    if (history === undefined) {
      const orders = ORDERS[kind].map((overlap) => ({ overlap, seconds: 0, steps: 0 }));
      history = { orders, waitShare: 0, sinceTrial: 0, retrials: 0 };
      this.histories.set(key, history);
    }
    return history;
  }
}

function decide(history: History): Order {
  const { orders } = history;
  const one = orders[0]!;
  const hasToHide = history.waitShare >= LEAST_WAIT;
  let fastest = one;
  for (const order of orders) {
    if (order.steps < TRIALS && (order === one || hasToHide || order.steps > 0)) return order;
    const best = fastest === one ? one.seconds * MARGIN : fastest.seconds;
    if (order.steps > 0 && order.seconds < best) fastest = order;
  }
  if (++history.sinceTrial < RETRIAL) return fastest;
  history.sinceTrial = 0;
  if (fastest === one && !hasToHide) return one;
  const others = orders.filter((order) => order !== fastest);
  return others[history.retrials++ % others.length]!;
}

function mean(before: number, value: number, steps: number): number {
  return steps === 0 ? value : before + (value - before) * NEWEST;
}
