import type {
  Communicator,
  DispatchCounters,
  DispatcherBase,
  TrafficCounters,
  WaitOptions,
} from '@moestack/collectives';
import type { Kernels } from '@moestack/kernels';
import type { DeepseekConfig } from './config.js';
import type { Dimensions } from './dimensions.js';
import { ModelError } from './errors.js';
import type { ExpertExchange } from './expert-exchange.js';
import type { ExpertPlacement } from './expert-placement.js';
import type { LatentCache } from './kv-cache.js';
import { LayerExecutor } from './layer-executor.js';
import type { LayerStages } from './layer-stages.js';
import { BatchSplitter } from './micro-batches.js';
import type { Projector } from './projector.js';
import { badOption } from './runtime-options.js';
import { type Overlap, type StageSchedule, stageSchedules, tensorSchedules } from './stage-schedule.js';
import type { StageTrace } from './stage-trace.js';
import type { StepAgreement } from './step-agreement.js';
import {
  type BatchLimits,
  blocksPerSequence,
  checkBatch,
  copyBlockTables,
  type StepBatch,
} from './step-batch.js';
import type { StepState } from './step-state.js';
import type { TensorExchange } from './tensor-exchange.js';
import { firstToken, ownerOf, type TensorShare } from './tensor-share.js';
import type { ModelWeights } from './weights.js';
import { logitRows, type Workspace } from './workspace.js';

/** What each micro-batch has for itself. */
export interface MicroBatchParts {
  readonly workspace: Workspace;
  readonly exchange: ExpertExchange;
  /** Where ranks share the attention heads. */
  readonly tensor: TensorExchange | undefined;
}

/** Options of {@link ModelRuntime.forward}. */
export interface ForwardOptions {
  /**
   * `prefill` and `decode` split the batch into two micro-batches, of which one computes while the tokens of the other travel; for runtimes opened with
   * `microBatches: 2`. `auto`, the default of such runtimes over several ranks, lets the ranks agree ahead of each step whether that pays, by the times of earlier
   * ones. Else the default is `none`. The same on every rank, whatever its batch.
   */
  readonly overlap?: Overlap | 'auto';
}

const NO_OPTIONS: ForwardOptions = {};

/** What {@link openRuntime} puts together. */
export interface RuntimeParts extends MicroBatchParts {
  readonly config: DeepseekConfig;
  readonly dimensions: Dimensions;
  readonly limits: BatchLimits;
  readonly kernels: Kernels;
  readonly projector: Projector;
  readonly weights: ModelWeights;
  readonly layers: readonly LayerStages[];
  readonly cache: LatentCache;
  readonly checkpointBytes: number;
  /** The second micro-batch, where steps may have two. */
  readonly second: MicroBatchParts | undefined;
  readonly trace: StageTrace | undefined;
  /** What carries tokens between ranks, if there are several. */
  readonly dispatcher: DispatcherBase | undefined;
  readonly placement: ExpertPlacement | undefined;
  /** The part of the attention heads that this rank has, and the ranks that it shares them with. */
  readonly share: TensorShare;
  readonly tensorGroup: Communicator | undefined;
  /** Where steps may have two micro-batches and ranks must choose alike. */
  readonly agreement: StepAgreement | undefined;
}

const NO_BATCH: StepBatch = {
  sequences: 0,
  tokens: new Int32Array(0),
  tokenOffsets: new Int32Array(1),
  contextStarts: new Int32Array(0),
  blockTables: new Int32Array(0),
  blockTableStride: 0,
};

/**
 * A loaded model with its paged cache: runs steps over batches of sequences. The caller owns block ids and batches;
 * the runtime owns what the blocks hold. One step at a time, synchronously, without allocation.
 */
export class ModelRuntime {
  readonly config: DeepseekConfig;
  readonly limits: BatchLimits;
  /** The layers as stages, for schedules that interleave micro-batches. */
  readonly layers: readonly LayerStages[];
  /** Resident bytes of the weights, padding included. */
  readonly weightBytes: number;
  /** Bytes that the tensors of this model take in the checkpoint. */
  readonly checkpointBytes: number;
  /** Bytes of one cache block over all layers. */
  readonly blockBytes: number;
  private readonly parts: RuntimeParts;
  private readonly steps: readonly StepState[];
  private readonly executor: LayerExecutor;
  private readonly splitter: BatchSplitter | undefined;
  /** The micro-batches of the last step, in the order of their tokens. */
  private first: StepState;
  private second: StepState | undefined;
  private overlap: Overlap = 'none';
  private readonly schedules: Readonly<Record<Overlap, StageSchedule>>;
  /** Of the rows that become logits: where they are in the residual stream, and the rank that has them. */
  private readonly chosenAt: Int32Array;
  private readonly chosenOwner: Int32Array;
  private readonly normOptions: { epsilon: number };
  private readonly memory: Float32Array;
  private closed = false;

  /** @internal Runtimes come from `openRuntime`. */
  constructor(parts: RuntimeParts) {
    this.parts = parts;
    this.config = parts.config;
    this.limits = parts.limits;
    this.layers = parts.layers;
    this.weightBytes = parts.weights.residentBytes;
    this.checkpointBytes = parts.checkpointBytes;
    this.blockBytes = parts.cache.blockBytes;
    const step = ({ workspace, exchange, tensor }: MicroBatchParts): StepState => ({
      workspace,
      exchange,
      tensor,
      batch: NO_BATCH,
      tokens: 0,
      rows: 0,
      firstRow: 0,
      blockTableStride: blocksPerSequence(parts.limits),
    });
    this.steps = parts.second === undefined ? [step(parts)] : [step(parts), step(parts.second)];
    this.first = this.steps[0]!;
    this.splitter = parts.second === undefined ? undefined : new BatchSplitter(parts.limits);
    this.executor = new LayerExecutor(parts.layers, parts.trace);
    this.schedules = parts.tensor === undefined ? stageSchedules : tensorSchedules;
    this.chosenAt = new Int32Array(logitRows(parts.limits));
    this.chosenOwner = new Int32Array(logitRows(parts.limits));
    this.normOptions = { epsilon: parts.dimensions.epsilon };
    this.memory = new Float32Array(parts.kernels.arena.memory.buffer);
  }

  /** Kernels and their counters. */
  get kernels(): Kernels {
    return this.parts.kernels;
  }

  /**
   * Runs the new tokens of every sequence and writes them to the cache.
   *
   * Ranks that share the attention heads get the same batch, and all return its logits.
   *
   * With experts over several ranks every rank makes the same number of calls, those without tokens with empty batches; it blocks until the other ranks have done
   * their part, so ranks of one thread call {@link ModelRuntime.forwardAsync}.
   *
   * @returns logits `[sequences, vocab]` of each sequence's last token: a view that the next call overwrites.
   * @throws ModelError before anything changes, if the batch does not fit this runtime.
   */
  forward(batch: StepBatch, options: ForwardOptions = NO_OPTIONS): Float32Array {
    const tokens = this.runLayers(batch, options);
    const count = this.chooseLast(batch, tokens);
    this.sendChosen(count);
    return this.chosenLogits(count);
  }

  /**
   * {@link ModelRuntime.forward}, or with `all` {@link ModelRuntime.forwardAll}, for ranks that share a thread and event loops that must keep turning:
   * waits for other ranks through promises.
   */
  async forwardAsync(
    batch: StepBatch,
    options: WaitOptions & ForwardOptions & { readonly all?: boolean } = {},
  ): Promise<Float32Array> {
    const { all = false, overlap, ...wait } = options;
    const tokens = this.check(batch, overlap);
    const { agreement } = this.parts;
    const agrees = this.agrees(overlap);
    if (agrees) {
      agreement!.start(tokens, batch.sequences);
      await agreement!.ready(wait);
    }
    this.begin(batch, tokens, agrees ? agreement!.finish() : fixed(overlap));
    if (this.hasWork(tokens)) await this.executor.runAsync(this.schedules[this.overlap], this.steps, wait);
    this.note(agrees);
    this.join();
    if (!all) {
      const count = this.chooseLast(batch, tokens);
      this.sendChosen(count);
      await this.parts.tensor?.ready(wait);
      return this.chosenLogits(count);
    }
    const logits = new Float32Array(tokens * this.parts.dimensions.vocabulary);
    for (let row = 0; row < tokens; row += this.chosenAt.length) {
      const count = this.chooseRange(row, tokens);
      this.sendChosen(count);
      await this.parts.tensor?.ready(wait);
      this.copyLogits(count, row, logits);
    }
    return logits;
  }

  /** Like {@link ModelRuntime.forward} with logits `[tokens, vocab]` of every new token, in an array of their own. */
  forwardAll(batch: StepBatch, options: ForwardOptions = NO_OPTIONS): Float32Array {
    const tokens = this.runLayers(batch, options);
    const logits = new Float32Array(tokens * this.parts.dimensions.vocabulary);
    for (let row = 0; row < tokens; row += this.chosenAt.length) {
      const count = this.chooseRange(row, tokens);
      this.sendChosen(count);
      this.copyLogits(count, row, logits);
    }
    return logits;
  }

  /** Copies what `count` blocks hold in all layers: `count * blockBytes` bytes, block after block. */
  exportBlocks(blocks: Int32Array, count: number, out?: Uint8Array): Uint8Array {
    this.requireOpen();
    return this.parts.cache.exportBlocks(blocks, count, out);
  }

  /** Fills blocks with what {@link ModelRuntime.exportBlocks} of a runtime of the same model returned. */
  importBlocks(blocks: Int32Array, count: number, bytes: Uint8Array): void {
    this.requireOpen();
    this.parts.cache.importBlocks(blocks, count, bytes);
  }

  /** The cached latents of one layer, `[blocks, blockSizeTokens, kv_lora_rank + qk_rope_head_dim]`. */
  latents(layer: number): Float32Array {
    this.requireOpen();
    const view = this.parts.cache.layers[layer];
    if (view === undefined)
      throw new RangeError(`expected a layer below ${this.layers.length}, got ${layer}`);
    return view;
  }

  /** What this rank has exchanged with others: tokens to experts and back; undefined on a rank that holds all experts. */
  get exchangeCounters(): DispatchCounters | undefined {
    return this.parts.dispatcher?.counters;
  }

  /** What this rank has exchanged with those that share its attention heads; undefined where it has all of them. */
  get tensorCounters(): TrafficCounters | undefined {
    return this.parts.tensorGroup?.counters();
  }

  /** Rows that this rank's experts have computed for all ranks so far, of all layers; 0 on a rank that holds all experts. */
  get computedRows(): number {
    return this.parts.dispatcher?.expertLoad.reduce((sum, rows) => sum + rows, 0) ?? 0;
  }

  /** Where the experts live, and how that changes while steps run; undefined on a rank that holds all experts. */
  get placement(): ExpertPlacement | undefined {
    return this.parts.placement;
  }

  /**
   * Ends the use of this runtime; over several ranks it resolves when all have closed. Its memory is freed when the last view of it is gone; the communicator
   * stays open.
   */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.parts.dispatcher?.close();
    this.parts.tensorGroup?.close();
    this.parts.agreement?.close();
    this.parts.placement?.close();
  }

  /** The last step: the order of its stages, what its layers took, and how much of that passed in stages that wait for other ranks. */
  get lastStep(): { readonly overlap: Overlap; readonly seconds: number; readonly waitSeconds: number } {
    const { stepSeconds, waitSeconds } = this.executor;
    return { overlap: this.overlap, seconds: stepSeconds, waitSeconds };
  }

  private runLayers(batch: StepBatch, { overlap }: ForwardOptions): number {
    const tokens = this.check(batch, overlap);
    const agrees = this.agrees(overlap);
    if (agrees) this.parts.agreement!.start(tokens, batch.sequences);
    this.begin(batch, tokens, agrees ? this.parts.agreement!.finish() : fixed(overlap));
    if (this.hasWork(tokens)) this.executor.run(this.schedules[this.overlap], this.steps);
    this.note(agrees);
    this.join();
    return tokens;
  }

  /** Checks a step before anything changes; returns its tokens. */
  private check(batch: StepBatch, overlap: ForwardOptions['overlap']): number {
    this.requireOpen();
    const tokens = checkBatch(batch, this.limits);
    const isKnown = overlap === undefined || overlap === 'auto' || stageSchedules[overlap] !== undefined;
    if (isKnown && (this.splitter !== undefined || overlap === undefined || overlap === 'none'))
      return tokens;
    throw badOption('overlap', overlap, "'none', or another of a runtime with microBatches: 2");
  }

  /** Whether the ranks choose together. */
  private agrees(overlap: ForwardOptions['overlap']): boolean {
    return this.parts.agreement !== undefined && (overlap === undefined || overlap === 'auto');
  }

  private note(agrees: boolean): void {
    if (agrees) this.parts.agreement!.note(this.executor.stepSeconds, this.executor.waitSeconds);
  }

  /** Ranks without tokens still run their experts for the others. */
  private hasWork(tokens: number): boolean {
    return tokens > 0 || this.parts.exchange.spansRanks;
  }

  /** Puts the tokens of a checked batch into the residual streams of its micro-batches. */
  private begin(batch: StepBatch, tokens: number, overlap: Overlap): void {
    const [zero, one] = this.steps;
    this.overlap = overlap;
    if (overlap === 'none' || this.splitter === undefined) {
      this.first = zero!;
      this.second = undefined;
      this.load(zero!, batch, tokens);
      return;
    }
    // In prefill micro-batch 1 is ahead in every layer: it gets the earlier tokens, which the later ones may attend to.
    const isPrefill = overlap === 'prefill';
    this.first = isPrefill ? one! : zero!;
    this.second = isPrefill ? zero! : one!;
    const { first, second } = this.splitter;
    const firstTokens = this.splitter.split(batch, isPrefill);
    this.load(this.first, first, firstTokens);
    this.load(this.second, second, tokens - firstTokens);
  }

  private load(step: StepState, batch: StepBatch, tokens: number): void {
    const { projector, weights, dimensions } = this.parts;
    const { workspace } = step;
    step.batch = batch;
    step.tokens = tokens;
    const { size, index } = this.parts.share;
    step.firstRow = firstToken(tokens, index, size);
    step.rows = firstToken(tokens, index + 1, size) - step.firstRow;
    if (tokens === 0) return;
    fillPositions(batch, workspace.positions);
    copyBlockTables(batch, this.limits.blockSizeTokens, step.blockTableStride, workspace.blockTables);
    weights.embedding.lookup(batch.tokens, step.firstRow, step.rows, workspace.residual);
    projector.round(workspace.residual, step.rows * dimensions.hidden);
  }

  /** Joins the residual streams of two micro-batches in the buffer of micro-batch 0. */
  private join(): void {
    const { first, second, memory } = this;
    if (second === undefined) return;
    const { hidden } = this.parts.dimensions;
    const to = this.steps[0]!.workspace.residual.byteOffset / 4;
    const length = first.rows * hidden;
    const from = second.workspace.residual.byteOffset / 4;
    // The second first: it may lie where the first goes.
    memory.copyWithin(to + length, from, from + second.rows * hidden);
    const start = first.workspace.residual.byteOffset / 4;
    memory.copyWithin(to, start, start + length);
  }

  /** Chooses each sequence's last token; returns how many. */
  private chooseLast(batch: StepBatch, tokens: number): number {
    for (let s = 0; s < batch.sequences; s++) this.choose(s, batch.tokenOffsets[s + 1]! - 1, tokens);
    return batch.sequences;
  }

  /** Chooses as many tokens from `first` on as fit; returns how many. */
  private chooseRange(first: number, tokens: number): number {
    const count = Math.min(this.chosenAt.length, tokens - first);
    for (let i = 0; i < count; i++) this.choose(i, first + i, tokens);
    return count;
  }

  /** Notes where the residual stream of a token is. The micro-batches of a step follow one another. */
  private choose(i: number, token: number, tokens: number): void {
    const { size, index } = this.parts.share;
    const { first } = this;
    const isFirst = token < first.tokens;
    const at = isFirst ? token : token - first.tokens;
    const of = isFirst ? first.tokens : tokens - first.tokens;
    const owner = ownerOf(at, of, size);
    this.chosenOwner[i] = owner;
    this.chosenAt[i] = owner === index ? at - firstToken(of, owner, size) + (isFirst ? 0 : first.rows) : -1;
  }

  private sendChosen(count: number): void {
    if (count === 0) return;
    this.parts.tensor?.sendChosen(this.parts.workspace.residual, this.chosenAt, this.chosenOwner, count);
  }

  /** Logits of the tokens that were chosen and sent. */
  private chosenLogits(count: number): Float32Array {
    const { workspace, tensor, dimensions } = this.parts;
    const { lastHidden, residual, logits } = workspace;
    const { hidden } = dimensions;
    const from = residual.byteOffset / 4;
    const to = lastHidden.byteOffset / 4;
    for (let i = 0; i < count; i++) {
      const at = this.chosenAt[i]!;
      if (at < 0) continue;
      this.memory.copyWithin(to + i * hidden, from + at * hidden, from + (at + 1) * hidden);
    }
    if (count > 0) tensor?.receiveChosen(lastHidden, this.chosenOwner, count);
    this.project(count);
    return logits;
  }

  private copyLogits(count: number, row: number, out: Float32Array): void {
    const { vocabulary } = this.parts.dimensions;
    out.set(this.chosenLogits(count).subarray(0, count * vocabulary), row * vocabulary);
  }

  /** Logits of the first `rows` rows of `lastHidden`. */
  private project(rows: number): void {
    if (rows === 0) return;
    const { kernels, projector, weights, workspace, dimensions } = this.parts;
    const { lastHidden, logits } = workspace;
    kernels.rmsNorm(lastHidden, weights.norm, lastHidden, rows, dimensions.hidden, this.normOptions);
    projector.round(lastHidden, rows * dimensions.hidden);
    projector.project('head', weights.head, lastHidden, logits, rows);
  }

  private requireOpen(): void {
    if (!this.closed) return;
    throw new ModelError({
      code: 'model/closed',
      message: 'the model was closed',
      remedy: 'load it again',
    });
  }
}

/** What a caller asks for where ranks have nothing to agree on. */
function fixed(overlap: ForwardOptions['overlap']): Overlap {
  return overlap === undefined || overlap === 'auto' ? 'none' : overlap;
}

function fillPositions(batch: StepBatch, positions: Int32Array): void {
  for (let s = 0; s < batch.sequences; s++) {
    const first = batch.tokenOffsets[s]!;
    const end = batch.tokenOffsets[s + 1]!;
    const shift = batch.contextStarts[s]! - first;
    for (let i = first; i < end; i++) positions[i] = i + shift;
  }
}
