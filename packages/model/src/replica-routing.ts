import type { ReplicaSelector } from '@moestack/placement';
import type { DispatchRequest } from './expert-exchange.js';
import { PrefixViews } from './prefix-views.js';

/** Turns what the gate chose into physical slots, for the tokens of one rank. */
export class ReplicaRouting {
  readonly selector: ReplicaSelector;
  private readonly topK: number;
  private readonly physical: PrefixViews<Int32Array>;
  private logical: PrefixViews<Int32Array> | undefined;
  private logicalArray: Int32Array | undefined;

  constructor(selector: ReplicaSelector, topK: number, maxTokens: number) {
    this.selector = selector;
    this.topK = topK;
    this.physical = new PrefixViews(new Int32Array(maxTokens * topK), topK);
  }

  /** Physical slots `[tokens, topK]`, overwritten by the next call. */
  select(request: DispatchRequest): Int32Array {
    const { expertIds, tokens, layer } = request;
    if (this.logical === undefined || this.logicalArray !== expertIds) {
      this.logicalArray = expertIds;
      this.logical = new PrefixViews(expertIds, this.topK);
    }
    const out = this.physical.of(tokens);
    this.selector.selectInto(layer, this.logical.of(tokens), out);
    return out;
  }
}
