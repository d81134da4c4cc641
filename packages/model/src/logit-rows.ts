import type { WaitOptions } from '@moestack/collectives';
import type { RuntimeParts } from './runtime.js';
import type { StepBatch } from './step-batch.js';
import type { StepState } from './step-state.js';
import { firstToken, ownerOf } from './tensor-share.js';
import { logitRows } from './workspace.js';

/**
 * The tokens of a step that become logits: finds their residual stream, which other ranks may have where ranks share the attention heads, and runs the head.
 * A start is followed by a finish.
 */
export class LogitRows {
  /** Most tokens at once. */
  readonly most: number;
  private readonly parts: RuntimeParts;
  /** Where each is in the residual stream of this rank, -1 = not here; and the rank that has it. */
  private readonly at: Int32Array;
  private readonly owner: Int32Array;
  private readonly memory: Float32Array;
  private readonly normOptions: { epsilon: number };

  constructor(parts: RuntimeParts) {
    this.parts = parts;
    this.most = logitRows(parts.limits);
    this.at = new Int32Array(this.most);
    this.owner = new Int32Array(this.most);
    this.memory = new Float32Array(parts.kernels.arena.memory.buffer);
    this.normOptions = { epsilon: parts.dimensions.epsilon };
  }

  /**
   * Starts with each sequence's last token.
   *
   * @param first - the micro-batch of the first tokens.
   * @param tokens - of the step.
   * @returns how many.
   */
  startLast(batch: StepBatch, first: StepState, tokens: number): number {
    for (let s = 0; s < batch.sequences; s++) this.choose(s, batch.tokenOffsets[s + 1]! - 1, first, tokens);
    return this.send(batch.sequences);
  }

  /** Starts with as many tokens from `from` on as fit; returns how many. */
  startRange(from: number, first: StepState, tokens: number): number {
    const count = Math.min(this.most, tokens - from);
    for (let i = 0; i < count; i++) this.choose(i, from + i, first, tokens);
    return this.send(count);
  }

  /** Resolves when {@link LogitRows.finish} will not block. */
  async ready(wait?: WaitOptions): Promise<void> {
    await this.parts.tensor?.ready(wait);
  }

  /** Logits `[count, vocab]`, valid until the next finish. */
  finish(count: number): Float32Array {
    const { workspace, tensor, dimensions, kernels, projector, weights } = this.parts;
    const { lastHidden, residual, logits } = workspace;
    const { hidden } = dimensions;
    if (count === 0) return logits;
    const from = residual.byteOffset / 4;
    const to = lastHidden.byteOffset / 4;
    for (let i = 0; i < count; i++) {
      const at = this.at[i]!;
      if (at < 0) continue;
      this.memory.copyWithin(to + i * hidden, from + at * hidden, from + (at + 1) * hidden);
    }
    tensor?.receiveChosen(lastHidden, this.owner, count);
    kernels.rmsNorm(lastHidden, weights.norm, lastHidden, count, hidden, this.normOptions);
    projector.round(lastHidden, count * hidden);
    projector.project('head', weights.head, lastHidden, logits, count);
    return logits;
  }

  /** The micro-batches of a step follow one another. */
  private choose(i: number, token: number, first: StepState, tokens: number): void {
    const { size, index } = this.parts.share;
    const isFirst = token < first.tokens;
    const at = isFirst ? token : token - first.tokens;
    const of = isFirst ? first.tokens : tokens - first.tokens;
    const owner = ownerOf(at, of, size);
    this.owner[i] = owner;
    this.at[i] = owner === index ? at - firstToken(of, owner, size) + (isFirst ? 0 : first.rows) : -1;
  }

  private send(count: number): number {
    const { tensor, workspace } = this.parts;
    if (count > 0) tensor?.sendChosen(workspace.residual, this.at, this.owner, count);
    return count;
  }
}
