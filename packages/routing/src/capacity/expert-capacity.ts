import { badConfig, requireInteger, requireLength, requireNumber, requireOneOf } from '../operands.js';

/**
 * How many tokens an expert may take, as the frameworks compute it:
 * `megatron` ceil(T K / E * factor); `deepspeed` max(ceil(T / E * factor * K), minCapacity), minCapacity 4 by default;
 * `tutel` K * floor(factor * ceil(T / E)), factor 0 = the largest load (nothing dropped), below 0 = the largest load but at most K *
 * floor(-factor * ceil(T / E)), rounded up to `alignment`; `dropless` the largest load.
 */
export type CapacityRule =
  | { kind: 'megatron'; factor: number; minCapacity?: number }
  | { kind: 'deepspeed'; factor: number; minCapacity?: number }
  | { kind: 'tutel'; factor: number; alignment?: number }
  | { kind: 'dropless' };

/** What a capacity depends on. */
export interface CapacityShape {
  tokens: number;
  experts: number;
  topK: number;
  /** Assignments per expert [E]; needed where the capacity follows the load. */
  counts?: ArrayLike<number>;
}

const DEEPSPEED_MIN_CAPACITY = 4;

/** Tokens per expert that `rule` allows. */
export function expertCapacity(rule: CapacityRule, shape: CapacityShape): number {
  requireOneOf('kind', rule.kind, ['megatron', 'deepspeed', 'tutel', 'dropless']);
  const tokens = requireInteger('tokens', shape.tokens, 0, 2 ** 31 - 1);
  const experts = requireInteger('experts', shape.experts, 1, 1 << 20);
  const topK = requireInteger('topK', shape.topK, 1, experts);
  if (rule.kind === 'dropless') return largestLoad(shape);
  if (rule.kind === 'tutel') {
    const alignment = requireInteger('alignment', rule.alignment ?? 1, 1, 1 << 16);
    const factor = requireNumber('factor', rule.factor);
    const limit = topK * Math.floor(Math.abs(factor) * Math.ceil(tokens / experts));
    const capacity =
      factor > 0 ? limit : factor === 0 ? largestLoad(shape) : Math.min(largestLoad(shape), limit);
    return Math.ceil(capacity / alignment) * alignment;
  }
  const factor = requireNumber('factor', rule.factor, 0);
  const megatron = rule.kind === 'megatron';
  const least = requireInteger(
    'minCapacity',
    rule.minCapacity ?? (megatron ? 0 : DEEPSPEED_MIN_CAPACITY),
    0,
    2 ** 31 - 1,
  );
  const share = megatron ? ((tokens * topK) / experts) * factor : (tokens / experts) * (factor * topK);
  return Math.max(Math.ceil(share), least);
}

function largestLoad({ counts, experts }: CapacityShape): number {
  if (counts === undefined) {
    throw badConfig(
      'expected counts for a capacity that follows the load, got none',
      undefined,
      'pass the counts of the decision',
    );
  }
  requireLength('counts', counts.length, experts, '[experts]');
  let largest = 0;
  for (let e = 0; e < experts; e++) if (counts[e]! > largest) largest = counts[e]!;
  return largest;
}
