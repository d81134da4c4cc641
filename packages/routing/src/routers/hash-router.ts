import { RoutingError } from '../errors.js';
import { badConfig, requireExactLength, requireInteger, requireLength } from '../operands.js';
import type { RoutingDecision } from '../types.js';

/** Options of {@link createHashRouter}. */
export interface HashRouterOptions {
  /** Routed experts, E. */
  experts: number;
  /** Experts per token, K. */
  topK: number;
  /** Chooses the hash function. Default 0. */
  seed?: number;
  /** Experts of each token id [vocabulary, K], in place of the hash, for models that come with a table. */
  table?: Int32Array;
}

/** A gate that looks at token ids only. */
export interface HashRouter {
  /**
   * Experts of each token; weights are 1/K (see `weigh` of a {@link Router} for scores). Ids below 0 are padding: experts -1, weight 0.
   */
  route(tokenIds: Int32Array): RoutingDecision;
}

/** Makes a gate that gives each token id K distinct experts, always the same ones (hash layers, arXiv 2106.04426). */
export function createHashRouter(options: HashRouterOptions): HashRouter {
  const experts = requireInteger('experts', options.experts, 1, 1 << 20);
  const topK = requireInteger('topK', options.topK, 1, experts);
  const seed = requireInteger('seed', options.seed ?? 0, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  const table = options.table?.slice();
  if (table !== undefined) checkTable(table, experts, topK);
  return {
    route(tokenIds) {
      const tokens = tokenIds.length;
      if (table !== undefined) requireKnown(tokenIds, table.length / topK);
      const indices = new Int32Array(tokens * topK).fill(-1);
      const weights = new Float32Array(tokens * topK);
      const counts = new Int32Array(experts);
      for (let token = 0; token < tokens; token++) {
        const id = tokenIds[token]!;
        if (id < 0) continue;
        const offset = token * topK;
        if (table === undefined) hashInto(id, seed, experts, topK, indices, offset);
        else for (let k = 0; k < topK; k++) indices[offset + k] = table[id * topK + k]!;
        for (let k = 0; k < topK; k++) {
          weights[offset + k] = 1 / topK;
          counts[indices[offset + k]!]! += 1;
        }
      }
      return { indices, weights, counts };
    },
  };
}

/** A hash per slot; an expert that is taken already yields to the next free one. */
function hashInto(
  id: number,
  seed: number,
  experts: number,
  topK: number,
  indices: Int32Array,
  offset: number,
): void {
  for (let k = 0; k < topK; k++) {
    let expert = mix(Math.imul(id, 0x9e3779b1) ^ mix(seed + k)) % experts;
    while (isTaken(indices, offset, k, expert)) expert = (expert + 1) % experts;
    indices[offset + k] = expert;
  }
}

function isTaken(indices: Int32Array, offset: number, taken: number, expert: number): boolean {
  for (let k = 0; k < taken; k++) if (indices[offset + k] === expert) return true;
  return false;
}

/** The finaliser of MurmurHash3. */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function requireKnown(tokenIds: Int32Array, vocabulary: number): void {
  for (let token = 0; token < tokenIds.length; token++) {
    if (tokenIds[token]! >= vocabulary) {
      throw new RoutingError({
        code: 'routing/bad-index',
        message: `expected token ids below ${vocabulary}, got ${tokenIds[token]} at token ${token}`,
        value: tokenIds[token],
        remedy: 'pass a table for the whole vocabulary',
      });
    }
  }
}

function checkTable(table: Int32Array, experts: number, topK: number): void {
  requireLength('table', table.length, topK, '[vocabulary, topK]');
  requireExactLength('table', table.length, Math.floor(table.length / topK) * topK, '[vocabulary, topK]');
  for (let i = 0; i < table.length; i++) {
    if (!(table[i]! >= 0 && table[i]! < experts)) {
      throw badConfig(
        `expected experts from 0 to ${experts - 1} in table, got ${table[i]} at element ${i}`,
        table[i],
        'pass ids',
      );
    }
  }
}
