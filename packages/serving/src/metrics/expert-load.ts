import type { StageExpertStats } from '../embedded/engine-stats.js';

/** Highest over mean of some loads; 1 where there is none. */
export function highestOverMean(loads: readonly number[]): number {
  let total = 0;
  let highest = 0;
  for (const load of loads) {
    total += load;
    if (load > highest) highest = load;
  }
  return total === 0 ? 1 : (highest * loads.length) / total;
}

/** Tokens of each rank of a layer, those of an expert shared evenly by the slots that hold it. */
export function rankLoads(experts: StageExpertStats, layer: number): number[] {
  const slots = experts.placement[layer] ?? [];
  const tokens = experts.tokens[layer] ?? [];
  const replicas = new Map<number, number>();
  for (const expert of slots) replicas.set(expert, (replicas.get(expert) ?? 0) + 1);
  return Array.from({ length: experts.ranks }, (_, rank) => {
    let sum = 0;
    for (let slot = rank * experts.slotsPerRank; slot < (rank + 1) * experts.slotsPerRank; slot++) {
      const expert = slots[slot] ?? -1;
      if (expert >= 0) sum += (tokens[expert] ?? 0) / (replicas.get(expert) ?? 1);
    }
    return sum;
  });
}
