import { invalidInput, needElements } from './checks.js';

/** Where the tokens of one rank go; purely local to that rank. */
export interface DispatchLayout {
  /** `[R]`: distinct tokens for each rank. */
  readonly tokensPerRank: Int32Array;
  /** `[nodes]`: distinct tokens for each node, own node included; undefined with one node. */
  readonly tokensPerNode: Int32Array | undefined;
  /** `[E]`: selections of each expert; an expert twice in a row counts twice. */
  readonly tokensPerExpert: Int32Array;
  /** `[T, R]`: 1 where the token has an expert on the rank. */
  readonly isTokenInRank: Uint8Array;
}

/** What a {@link dispatchLayout} depends on besides the selections. */
export interface LayoutShape {
  readonly experts: number;
  readonly topK: number;
  readonly ranks: number;
  readonly ranksPerNode: number;
}

/**
 * Counts where tokens go: per rank, per node and per expert.
 *
 * @param topkIdx - [T, K] physical expert ids, -1 for no selection.
 * @throws {@link CollectivesError} for an expert id outside -1 .. E - 1.
 *
 * @example
 * ```ts
 * import { dispatchLayout } from '@moestack/collectives';
 *
 * const shape = { experts: 8, topK: 2, ranks: 4, ranksPerNode: 2 };
 * const layout = dispatchLayout(Int32Array.of(0, 1, 0, 7, 5, -1), 3, shape);
 * console.log(layout.tokensPerRank, layout.tokensPerNode); // 2, 0, 1, 1 and 2, 2
 * ```
 */
export function dispatchLayout(topkIdx: Int32Array, tokens: number, shape: LayoutShape): DispatchLayout {
  const { experts, ranks, ranksPerNode } = shape;
  const nodes = ranks / ranksPerNode;
  const layout = {
    tokensPerRank: new Int32Array(ranks),
    tokensPerNode: nodes > 1 ? new Int32Array(nodes) : undefined,
    tokensPerExpert: new Int32Array(experts),
    isTokenInRank: new Uint8Array(tokens * ranks),
  };
  layoutInto(layout, topkIdx, tokens, shape);
  return layout;
}

/** {@link dispatchLayout} into arrays of sufficient size, without allocation. */
export function layoutInto(
  out: DispatchLayout,
  topkIdx: Int32Array,
  tokens: number,
  shape: LayoutShape,
): void {
  checkSelections(topkIdx, tokens, shape);
  const { topK, ranks, ranksPerNode } = shape;
  const localExperts = shape.experts / ranks;
  const nodes = ranks / ranksPerNode;
  const { tokensPerRank, tokensPerNode, tokensPerExpert, isTokenInRank } = out;
  tokensPerRank.fill(0);
  tokensPerNode?.fill(0);
  tokensPerExpert.fill(0);
  isTokenInRank.fill(0, 0, tokens * ranks);
  for (let token = 0; token < tokens; token++) {
    const flags = token * ranks;
    for (let slot = token * topK; slot < token * topK + topK; slot++) {
      const expert = topkIdx[slot]!;
      if (expert < 0) continue;
      tokensPerExpert[expert] = tokensPerExpert[expert]! + 1;
      const rank = (expert / localExperts) | 0;
      if (isTokenInRank[flags + rank] === 1) continue;
      isTokenInRank[flags + rank] = 1;
      tokensPerRank[rank] = tokensPerRank[rank]! + 1;
    }
    if (tokensPerNode === undefined) continue;
    for (let node = 0; node < nodes; node++) {
      for (let rank = node * ranksPerNode; rank < (node + 1) * ranksPerNode; rank++) {
        if (isTokenInRank[flags + rank] === 1) {
          tokensPerNode[node] = tokensPerNode[node]! + 1;
          break;
        }
      }
    }
  }
}

/** Checks that selections are there for every token and name existing experts. */
export function checkSelections(topkIdx: Int32Array, tokens: number, shape: LayoutShape): void {
  if (!(topkIdx instanceof Int32Array)) throw invalidInput('topkIdx', 'an Int32Array', typeof topkIdx);
  const count = tokens * shape.topK;
  needElements('topkIdx', topkIdx, count);
  for (let i = 0; i < count; i++) {
    const expert = topkIdx[i]!;
    if (expert < -1 || expert >= shape.experts) {
      throw invalidInput(`topkIdx[${i}]`, `a physical expert id from -1 to ${shape.experts - 1}`, expert);
    }
  }
}
