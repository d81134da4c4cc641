/** States visited before the search gives up. */
const MAX_STATES = 2_000_000;

/**
 * The lowest possible highest GPU load of a small pool, by branch and bound over counts and packings; undefined when
 * that takes too many states.
 *
 * @param sorted - weights in descending order.
 * @param bound - a lower bound; meeting it ends the search.
 */
export function exactOptimum(
  sorted: Float64Array,
  gpus: number,
  slotsPerGpu: number,
  bound: number,
): number | undefined {
  const experts = sorted.length;
  const replicas = gpus * slotsPerGpu;
  const loads = new Float64Array(gpus);
  const used = new Int32Array(gpus);
  const sizes = new Float64Array(replicas);
  const enough = bound * (1 + 1e-12);
  let best = Number.POSITIVE_INFINITY;
  let states = 0;

  const pack = (items: Float64Array, i: number, highest: number): void => {
    if (i === replicas) {
      best = highest;
      return;
    }
    const size = items[i]!;
    for (let g = 0; g < gpus; g++) {
      if (used[g] === slotsPerGpu || loads[g]! + size >= best) continue;
      let twin = false;
      for (let h = 0; h < g && !twin; h++) twin = loads[h] === loads[g] && used[h] === used[g];
      if (twin) continue;
      if (++states > MAX_STATES) return;
      const before = loads[g]!;
      loads[g] = before + size;
      used[g]!++;
      pack(items, i + 1, Math.max(highest, loads[g]!));
      loads[g] = before;
      used[g]!--;
      if (best <= enough) return;
    }
  };

  const replicate = (expert: number, filled: number): void => {
    if (states > MAX_STATES || best <= enough) return;
    if (expert === experts) {
      pack(sizes.slice().sort().reverse(), 0, 0);
      return;
    }
    const left = replicas - filled - (experts - expert - 1);
    for (let count = expert === experts - 1 ? left : 1; count <= left; count++) {
      const size = sorted[expert]! / count;
      if (size >= best) continue;
      if (++states > MAX_STATES) return;
      sizes.fill(size, filled, filled + count);
      replicate(expert + 1, filled + count);
    }
  };

  replicate(0, 0);
  if (states > MAX_STATES) return undefined;
  return best <= enough ? bound : best;
}
