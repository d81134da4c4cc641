import { createBiasController, createRouter, loadMetrics, routerPreset } from '@moestack/routing';

export const experts = 64;
const [tokens, topK, groups] = [2048, 6, 8];

/** Normal numbers that are the same in every run (mulberry32, Box-Muller). */
function normals(length, seed) {
  let state = seed;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  return Float32Array.from(
    { length },
    () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

const noise = normals(tokens * experts, 7);
const popularity = normals(experts, 11);

/** Routes a batch, after `steps` updates of the bias on it; the counts are those of the last step. */
export function route({ skew, topKGroups, steps }) {
  const router = createRouter(routerPreset('deepseek-v3', { experts, topK, groups, topKGroups }));
  const control = createBiasController({ experts, topK, gamma: 0.005 });
  const logits = noise.map((value, i) => value + (skew * popularity[i % experts]) / 2);
  for (let step = 0; step < steps; step++)
    control.update(router.route(logits, tokens, { bias: control.bias }).counts);
  const { counts } = router.route(logits, tokens, { bias: control.bias });
  return { counts, fair: (tokens * topK) / experts, ...loadMetrics(counts) };
}
