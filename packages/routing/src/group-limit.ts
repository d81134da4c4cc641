import { groupScoreTerms } from './config.js';
import { scoreGroups, selectTop } from './select.js';
import type { GroupScore, ResolvedRouterConfig } from './types.js';

/** Keeps the best groups of a token and chooses experts in them; owns the scratch for it. */
export class GroupLimit {
  /** Kept groups of the last token, best first [L]. */
  readonly chosen: Int32Array;
  readonly #config: ResolvedRouterConfig;
  readonly #zeroMask: boolean;
  /** Group of each expert, where groups are not blocks of consecutive experts. */
  readonly #groupOf: Int32Array | undefined;
  readonly #groupScores: Float32Array;
  readonly #groupBest: Float32Array;
  readonly #kept: Uint8Array;
  readonly #masked: Float32Array;
  /** Best scores of each group so far, best first [G, terms]; grown when a call sums more. */
  #tops: Float32Array;
  readonly #filled: Int32Array;

  constructor(config: ResolvedRouterConfig) {
    const { experts, groups, topKGroups, topology } = config;
    this.#config = config;
    this.#zeroMask = config.compat === 'hf-zero-mask';
    this.#groupOf = topology?.nodeOfExpert === undefined ? undefined : Int32Array.from(topology.nodeOfExpert);
    this.chosen = new Int32Array(topKGroups);
    this.#groupScores = new Float32Array(groups);
    this.#groupBest = new Float32Array(topKGroups);
    this.#kept = new Uint8Array(groups);
    this.#masked = new Float32Array(this.#zeroMask || this.#groupOf !== undefined ? experts : 0);
    this.#tops = new Float32Array(groups * 2);
    this.#filled = new Int32Array(groups);
  }

  /** Ranks the groups by biased scores and fills `chosen`. */
  select(biased: Float32Array, groupScore: GroupScore): void {
    const { groups, topKGroups } = this.#config;
    const terms = groupScoreTerms(groupScore);
    if (terms <= 2 && this.#groupOf === undefined) scoreGroups(biased, this.#groupScores, terms === 2);
    else this.#sumTops(biased, terms);
    selectTop(this.#groupScores, 0, groups, this.#groupBest, this.chosen, 0, topKGroups, 0);
    this.#kept.fill(0);
    for (let l = 0; l < topKGroups; l++) this.#kept[this.chosen[l]!] = 1;
  }

  /** Offers the kept experts in index order, which is what makes ties go to the lowest expert. */
  choose(biased: Float32Array, best: Float32Array, indices: Int32Array, offset: number): void {
    const { experts, topK, groups } = this.#config;
    const kept = this.#kept;
    const groupOf = this.#groupOf;
    const size = experts / groups;
    let length = 0;
    if (this.#zeroMask) {
      const masked = this.#masked;
      for (let e = 0; e < experts; e++) masked[e] = kept[this.#group(e)] === 1 ? biased[e]! : 0;
      selectTop(masked, 0, experts, best, indices, offset, topK, 0);
    } else if (groupOf === undefined) {
      for (let g = 0; g < groups; g++) {
        if (kept[g] === 1) {
          length = selectTop(biased, g * size, (g + 1) * size, best, indices, offset, topK, length);
        }
      }
    } else {
      for (let e = 0; e < experts; e++) {
        if (kept[groupOf[e]!] === 1)
          length = selectTop(biased, e, e + 1, best, indices, offset, topK, length);
      }
    }
  }

  #group(expert: number): number {
    const { experts, groups } = this.#config;
    return this.#groupOf === undefined ? ((expert * groups) / experts) | 0 : this.#groupOf[expert]!;
  }

  /** Scores groups by the float32 sum of their `terms` best, added best first. */
  #sumTops(biased: Float32Array, terms: number): void {
    const { experts, groups } = this.#config;
    if (this.#tops.length < groups * terms) this.#tops = new Float32Array(groups * terms);
    const tops = this.#tops;
    const filled = this.#filled.fill(0);
    for (let e = 0; e < experts; e++) {
      const group = this.#group(e);
      const first = group * terms;
      let slot = first + filled[group]!;
      if (filled[group]! < terms) filled[group]! += 1;
      else if (biased[e]! > tops[slot - 1]!) slot--;
      else continue;
      for (; slot > first && biased[e]! > tops[slot - 1]!; slot--) tops[slot] = tops[slot - 1]!;
      tops[slot] = biased[e]!;
    }
    for (let g = 0; g < groups; g++) {
      let sum = 0;
      for (let k = 0; k < terms; k++) sum = Math.fround(sum + tops[g * terms + k]!);
      this.#groupScores[g] = sum;
    }
  }
}
