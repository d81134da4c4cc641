import type { StageExpertsView } from '../protocol.js';

/** What a row of the heatmap says in numbers. */
export interface LayerFigures {
  readonly total: number;
  /** Highest over mean load of an expert; 0 without tokens. */
  readonly imbalance: number;
  /** Highest over mean load of a rank, replicas sharing evenly; `null` without a placement. */
  readonly rankImbalance: number | null;
  readonly unused: number;
  /** Experts by load, highest first. */
  readonly busiest: readonly { readonly expert: number; readonly ratio: number }[];
}

/** Tokens of one expert relative to the mean of its layer. */
export function loadRatio(view: StageExpertsView, layer: number, expert: number): number {
  const total = layerTotal(view, layer);
  if (total === 0) return 0;
  return ((view.tokens[layer * view.experts + expert] ?? 0) * view.experts) / total;
}

/** All tokens of a layer. */
export function layerTotal(view: StageExpertsView, layer: number): number {
  let total = 0;
  for (let expert = 0; expert < view.experts; expert++)
    total += view.tokens[layer * view.experts + expert] ?? 0;
  return total;
}

/** The experts in the slots of one rank. */
export function rankSlots(view: StageExpertsView, layer: number, rank: number): readonly number[] {
  const perLayer = Math.floor(view.slots.length / Math.max(1, view.layers));
  const perRank = Math.floor(perLayer / Math.max(1, view.ranks));
  const start = layer * perLayer + rank * perRank;
  return view.slots.slice(start, start + perRank);
}

/** How many slots of a layer hold each expert. */
export function replicaCounts(view: StageExpertsView, layer: number): Int32Array {
  const counts = new Int32Array(view.experts);
  for (let rank = 0; rank < view.ranks; rank++) {
    for (const expert of rankSlots(view, layer, rank)) {
      if (expert >= 0 && expert < view.experts) counts[expert]! += 1;
    }
  }
  return counts;
}

/** Tokens of each rank of a layer, those of an expert shared evenly by its replicas. */
export function rankTokens(view: StageExpertsView, layer: number): number[] {
  const replicas = replicaCounts(view, layer);
  return Array.from({ length: view.ranks }, (_, rank) => {
    let sum = 0;
    for (const expert of rankSlots(view, layer, rank)) {
      if (expert < 0) continue;
      sum += (view.tokens[layer * view.experts + expert] ?? 0) / Math.max(1, replicas[expert] ?? 1);
    }
    return sum;
  });
}

/** The figures of a layer. */
export function layerFigures(view: StageExpertsView, layer: number, busiest = 5): LayerFigures {
  const total = layerTotal(view, layer);
  const ratios = Array.from({ length: view.experts }, (_, expert) => ({
    expert,
    ratio: total === 0 ? 0 : ((view.tokens[layer * view.experts + expert] ?? 0) * view.experts) / total,
  }));
  const unused = ratios.filter(({ ratio }) => ratio === 0).length;
  ratios.sort((a, b) => b.ratio - a.ratio || a.expert - b.expert);
  return {
    total,
    imbalance: ratios[0]?.ratio ?? 0,
    rankImbalance: view.slots.length === 0 || total === 0 ? null : highestOverMean(rankTokens(view, layer)),
    unused,
    busiest: ratios.slice(0, busiest),
  };
}

/** Highest over mean of some values; 1 where there is nothing. */
export function highestOverMean(values: readonly number[]): number {
  const total = values.reduce((sum, value) => sum + value, 0);
  return total === 0 ? 1 : (Math.max(...values) * values.length) / total;
}

/** Tokens of `now` that `before` did not have; all of them where the two do not fit together. */
export function newTokens(now: StageExpertsView, before: StageExpertsView | undefined): StageExpertsView {
  if (before === undefined || before.tokens.length !== now.tokens.length) return now;
  const tokens = now.tokens.map((value, index) => value - (before.tokens[index] ?? 0));
  return tokens.some((value) => value < 0) ? now : { ...now, tokens };
}
