import { createSamplerState, type ModelRuntime, Sampler, type StepBatch } from '@moestack/model';
import { ServingError } from '../errors.js';
import { positionSeed } from './position-seed.js';
import type { PlacedLogprobs, SequenceSetup } from './protocol.js';
import { Sequence } from './sequence.js';
import type { StepBuffer } from './step-buffer.js';

/** What a {@link StageRunner} needs of a model. */
export type StageRuntime = Pick<ModelRuntime, 'forward' | 'forwardAll'> & {
  readonly limits: Pick<ModelRuntime['limits'], 'vocabulary' | 'maxBatchTokens' | 'maxSequences'>;
};

/** Runs the steps of one rank: assembles batches from token histories, runs the model, samples. */
export class StageRunner {
  readonly #runtime: StageRuntime;
  readonly #eosIds: ReadonlySet<number>;
  readonly #sampler = new Sampler();
  readonly #sequences = new Map<number, Sequence>();
  readonly #batch: StepBatch;
  /** Steps name sequences of other ranks too; this one runs those that it knows. */
  readonly #isShared: boolean;
  /** Where the batch's sequences are in the step. */
  readonly #places: Int32Array;
  #ownTables = new Int32Array(0);

  constructor(runtime: StageRuntime, eosIds: readonly number[], options: { isShared?: boolean } = {}) {
    this.#runtime = runtime;
    this.#isShared = options.isShared ?? false;
    this.#eosIds = new Set(eosIds);
    const { maxBatchTokens, maxSequences } = runtime.limits;
    this.#places = new Int32Array(maxSequences);
    this.#batch = {
      sequences: 0,
      tokens: new Int32Array(maxBatchTokens),
      tokenOffsets: new Int32Array(maxSequences + 1),
      contextStarts: new Int32Array(maxSequences),
      blockTables: new Int32Array(0),
      blockTableStride: 0,
    };
  }

  /** Takes tokens of a request; the first time with its setup. */
  tokens(id: number, from: number, tokens: Int32Array, setup: SequenceSetup | undefined): void {
    if (setup !== undefined) this.#sequences.set(id, new Sequence(setup));
    this.#sequence(id).write(from, tokens);
  }

  /** Forgets a request. */
  release(id: number): void {
    this.#sequences.delete(id);
  }

  /** Runs one step and writes its outcomes into the buffer. */
  run(step: StepBuffer): PlacedLogprobs[] | undefined {
    const wantsAll = this.#assemble(step);
    const { vocabulary } = this.#runtime.limits;
    const batch = this.#batch;
    const logits = wantsAll ? this.#runtime.forwardAll(batch) : this.#runtime.forward(batch);
    const logprobs: PlacedLogprobs[] = [];
    for (let i = 0; i < batch.sequences; i++) {
      const place = this.#places[i]!;
      const sequence = this.#sequence(step.requestIds[place]!);
      const row = wantsAll ? batch.tokenOffsets[i + 1]! - 1 : i;
      if (wantsAll) this.#promptLogprobs(step, place, i, sequence, logits, logprobs);
      if (step.samples[place] === 1) this.#sample(step, place, sequence, logits, row * vocabulary, logprobs);
    }
    return logprobs.length > 0 ? logprobs : undefined;
  }

  /** Fills the batch. Returns whether any sequence needs the logits of all its tokens. */
  #assemble(step: StepBuffer): boolean {
    const batch = this.#batch;
    let offset = 0;
    let count = 0;
    let wantsAll = false;
    for (let place = 0; place < step.sequences; place++) {
      if (this.#isShared && !this.#sequences.has(step.requestIds[place]!)) continue;
      const sequence = this.#sequence(step.requestIds[place]!);
      const start = step.contextStarts[place]!;
      const tokens = step.tokenCounts[place]!;
      sequence.copy(start, tokens, batch.tokens, offset);
      batch.contextStarts[count] = start;
      offset += tokens;
      this.#places[count++] = place;
      batch.tokenOffsets[count] = offset;
      wantsAll ||= sequence.setup.promptLogprobs >= 0 && start < sequence.setup.promptTokens - 1;
    }
    batch.sequences = count;
    this.#setBlockTables(step, count);
    return wantsAll;
  }

  #setBlockTables(step: StepBuffer, count: number): void {
    const batch = this.#batch;
    const stride = step.blockTableStride;
    batch.blockTableStride = stride;
    if (count === step.sequences) {
      batch.blockTables = step.blockTables;
      return;
    }
    if (this.#ownTables.length < count * stride)
      this.#ownTables = new Int32Array(this.#places.length * stride);
    for (let i = 0; i < count; i++) {
      const place = this.#places[i]!;
      const blocks = step.blockCounts[place]!;
      for (let b = 0; b < blocks; b++) {
        this.#ownTables[i * stride + b] = step.blockTables[place * stride + b]!;
      }
    }
    batch.blockTables = this.#ownTables;
  }

  #sample(
    step: StepBuffer,
    index: number,
    sequence: Sequence,
    logits: Float32Array,
    offset: number,
    logprobs: PlacedLogprobs[],
  ): void {
    const { vocabulary } = this.#runtime.limits;
    const { sampling, ignoreEos, logprobs: top } = sequence.setup;
    const position = sequence.length;
    const state = createSamplerState(
      sampling.temperature === 0 ? sampling : { ...sampling, seed: positionSeed(sampling.seed, position) },
    );
    const token = this.#sampler.sample(logits, offset, vocabulary, state);
    sequence.push(token);
    step.tokens[index] = token;
    step.finished[index] = !ignoreEos && this.#eosIds.has(token) ? 1 : 0;
    if (top < 0) return;
    const entry = this.#sampler.logprobs(logits, offset, vocabulary, token, top);
    logprobs.push({ id: step.requestIds[index]!, position, ...entry });
  }

  /** Log-probabilities of the prompt tokens that this step's tokens predict. */
  #promptLogprobs(
    step: StepBuffer,
    place: number,
    index: number,
    sequence: Sequence,
    logits: Float32Array,
    logprobs: PlacedLogprobs[],
  ): void {
    const { promptTokens, promptLogprobs: top } = sequence.setup;
    if (top < 0) return;
    const { vocabulary } = this.#runtime.limits;
    const start = step.contextStarts[place]!;
    const end = Math.min(start + step.tokenCounts[place]!, promptTokens - 1);
    for (let position = start; position < end; position++) {
      const offset = (this.#batch.tokenOffsets[index]! + position - start) * vocabulary;
      const token = sequence.at(position + 1);
      const entry = this.#sampler.logprobs(logits, offset, vocabulary, token, top);
      logprobs.push({ id: step.requestIds[place]!, position: position + 1, ...entry });
    }
  }

  #sequence(id: number): Sequence {
    const sequence = this.#sequences.get(id);
    if (sequence !== undefined) return sequence;
    throw new ServingError({
      code: 'serving/broken-history',
      message: `the worker was never told of request ${id}`,
      value: id,
      remedy: 'this is a defect of moestack: please report it',
    });
  }
}
