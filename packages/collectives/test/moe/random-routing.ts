/** Uniform numbers in [0, 1), seeded (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Random selections; some are -1, and some experts appear twice in a row when `duplicates`. */
export function randomSelections(
  random: () => number,
  shape: { tokens: number; topK: number; experts: number; duplicates?: boolean },
): Int32Array {
  const { tokens, topK, experts, duplicates = false } = shape;
  const selections = new Int32Array(tokens * topK).fill(-1);
  for (let token = 0; token < tokens; token++) {
    const taken = new Set<number>();
    for (let slot = 0; slot < topK; slot++) {
      if (random() < 0.15) continue;
      const expert = Math.floor(random() * experts);
      if (taken.has(expert) && !duplicates) continue;
      taken.add(expert);
      selections[token * topK + slot] = expert;
    }
  }
  return selections;
}
