import type { GateOutput, GateShape } from '../gate-kernels.js';
import { exp64 } from './exp64.js';

const SUM_FLOOR = 1e-20;

/** The gate by full sorts, straight from its definition; slow. See {@link GateKernels.gate}. */
export function gate(
  logits: Float32Array,
  bias: Float32Array | undefined,
  shape: GateShape,
  out: GateOutput,
): void {
  const { tokens, experts, groups, topKGroups, topK } = shape;
  const size = experts / groups;
  for (let token = 0; token < tokens; token++) {
    const row = logits.subarray(token * experts, (token + 1) * experts);
    const scores = shape.scoring === 'softmax' ? softmax(row) : row.map((x) => 1 / (1 + exp64(-x)));
    const biased = bias === undefined ? scores : scores.map((score, e) => score + bias[e]!);
    const groupScores = new Float32Array(groups).map((_, g) => {
      const [first, second] = biased
        .slice(g * size, (g + 1) * size)
        .sort()
        .reverse();
      return shape.groupScore === 'top2Sum' ? first! + second! : first!;
    });
    const kept = bestFirst(groupScores).slice(0, topKGroups);
    const indices = bestFirst(biased)
      .filter((e) => kept.includes(Math.floor(e / size)))
      .slice(0, topK);
    if (groups > 1) out.groups?.set(kept, token * topKGroups);
    out.indices.set(indices, token * topK);
    const divisor = shape.normalize ? indices.reduce((sum, e) => sum + scores[e]!, SUM_FLOOR) : 1;
    indices.forEach((e, k) => {
      out.weights[token * topK + k] = Math.fround(scores[e]! / divisor) * shape.scale;
      out.counts[e]! += 1;
    });
  }
}

function softmax(row: Float32Array): Float32Array {
  const max = row.reduce((highest, x) => Math.max(highest, x));
  let sum = 0;
  for (const x of row) sum += exp64(x - max);
  return row.map((x) => exp64(x - max) / sum);
}

/** Indices by value descending, then lowest index. */
function bestFirst(values: Float32Array): number[] {
  return Array.from(values.keys()).sort((a, b) => values[b]! - values[a]! || a - b);
}
