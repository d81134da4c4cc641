// Writes traces/synthetic.json: a seeded gate that prefers some experts and keeps two groups of experts for each token.
import { writeFileSync } from 'node:fs';
import { Int32Base64 } from '@moestack/schemas';
import { z } from 'zod';

const [experts, topK, groups, topKGroups, tokens] = [64, 8, 4, 2, 256];

/** Uniform numbers in [0, 1), seeded (mulberry32). */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** The `count` positions of the largest values, largest first. */
function top(values, count) {
  return [...values.keys()].sort((a, b) => values[b] - values[a] || a - b).slice(0, count);
}

const random = generator(2026);
const popularity = Array.from({ length: experts }, () => 0.25 * random() ** 2);
const indices = new Int32Array(tokens * topK);
for (let token = 0; token < tokens; token++) {
  const scores = popularity.map((preference) => preference + random());
  const size = experts / groups;
  const best = Array.from({ length: groups }, (_, group) =>
    Math.max(...scores.slice(group * size, (group + 1) * size)),
  );
  const kept = new Set(top(best, topKGroups));
  const limited = scores.map((score, expert) => (kept.has(Math.floor(expert / size)) ? score : -1));
  indices.set(top(limited, topK), token * topK);
}
const trace = {
  schemaVersion: 1,
  kind: 'moestack.routing-trace',
  model: 'synthetic: seeded gate, two of four expert groups for each token',
  experts,
  topK,
  dropped: 0,
  records: [{ step: 0, layer: 0, tokens, indices: z.encode(Int32Base64, indices) }],
};
writeFileSync(new URL('traces/synthetic.json', import.meta.url), `${JSON.stringify(trace)}\n`);
