import type { StepEngine, StepOutcomes, StepPlan } from '@moestack/scheduler';
import { AbortedError, decodeError } from '@moestack/schemas/errors';
import { ServingError } from '../errors.js';
import type { FromWorker, PlacedLogprobs, ToWorker } from './protocol.js';
import { type PendingStep, StagePort } from './stage-port.js';
import type { StageChannel } from './stage-worker.js';
import type { StepPhase } from './step-phases.js';

/** What a step on the ranks brought; the arrays belong to the caller. */
export interface RankOutcomes extends StepOutcomes {
  /** Log-probabilities that requests of a compute step asked for. */
  readonly logprobs: readonly PlacedLogprobs[] | undefined;
  /** What the first rank did when, counted from the end of the step, where that was asked for. */
  readonly phases: readonly StepPhase[] | undefined;
  /** Bytes that a transfer moved; 0 for a compute step. */
  readonly movedBytes: number;
}

/** What a rank must know of a request besides the plans. */
export type RequestMessage = Extract<ToWorker, { type: 'tokens' | 'release' }>;

/**
 * Executes plans on the ranks: posts steps and transfers and matches the replies to them.
 *
 * A step that fails rejects its `run`, and the ranks go on. A rank that is lost, or answers nothing for too long, ends the
 * engine: all runs reject, now and later.
 */
export class RankStepEngine implements StepEngine {
  /** Names of the stages. */
  readonly names: readonly string[];
  readonly #stages: readonly StagePort[];
  readonly #onLost: ((error: unknown) => void)[] = [];
  #lostStage: number | undefined;
  readonly #steps: Int32Array;
  readonly #timeoutSeconds: number;
  #lost: unknown;
  #transfers = 0;
  #handovers = 0;
  #handoverBytes = 0;

  /** @param options.stepTimeoutSeconds - how long a stage may take for a step or transfer; default: any time. */
  constructor(
    channels: readonly StageChannel[],
    options: { readonly stepTimeoutSeconds?: number | undefined } = {},
  ) {
    this.#timeoutSeconds = options.stepTimeoutSeconds ?? Number.POSITIVE_INFINITY;
    this.names = channels.map((channel) => channel.name);
    this.#steps = new Int32Array(channels.length);
    this.#stages = channels.map((channel) => new StagePort(channel));
    channels.forEach((channel, stage) => {
      channel.listen(
        (message) => this.#guard(() => this.#receive(stage, message)),
        (error) => this.#lose(error, stage),
      );
    });
  }

  /** Requests whose blocks went from one rank to another. */
  get handovers(): number {
    return this.#handovers;
  }

  /** Bytes of these blocks. */
  get handoverBytes(): number {
    return this.#handoverBytes;
  }

  /** The stage whose rank was lost, where one is to blame, and the steps that it, or the engine, had completed. */
  get lost(): { readonly stage: string | undefined; readonly steps: number } {
    const stage = this.#lostStage;
    if (stage !== undefined) return { stage: this.names[stage], steps: this.#steps[stage]! };
    return { stage: undefined, steps: this.#steps.reduce((sum, steps) => sum + steps, 0) };
  }

  /** Says who is told, before the runs reject, that a rank was lost. */
  listen(onLost: (error: unknown) => void): void {
    this.#onLost.push(onLost);
  }

  /** Tells a rank of a request's tokens, before the step that needs them, or of its end. */
  tell(stage: number, rank: number, message: RequestMessage): void {
    this.#stages[stage]!.channel.postTo(rank, message);
  }

  /** The stage itself, for what it knows of its ranks. */
  channelOf(stage: number): StageChannel {
    return this.#stages[stage]!.channel;
  }

  /**
   * Runs one step. The plan must stay as it is until the promise settles.
   *
   * @param signal - keeps the step from being posted; one that was posted runs to its end, since the rank writes into
   * its blocks until then.
   * @param isTraced - asks for its phases.
   * @throws ServingError `serving/engine-failed` when the step failed or a rank is lost; AbortedError.
   */
  run(plan: StepPlan, signal?: AbortSignal, isTraced = false): Promise<RankOutcomes> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== undefined) reject(this.#lost);
      else if (signal?.aborted) reject(new AbortedError('the step', signal.reason));
      else this.#guard(() => this.#post({ plan, resolve, reject }, isTraced));
    });
  }

  /** Ends the ranks; what runs rejects with `reason`. */
  async close(reason: unknown): Promise<void> {
    this.#lose(reason);
    await Promise.all(this.#stages.map((stage) => stage.channel.close()));
  }

  #post(pending: PendingStep, isTraced: boolean): void {
    const { plan } = pending;
    const target = this.#stages[plan.stage]!;
    const buffer = target.begin(pending);
    this.#watch(plan.stage, buffer);
    if (plan.kind === 'compute') {
      target.channel.post({ type: 'step', buffer, ...(isTraced && { isTraced }) });
      return;
    }
    this.#transfer(plan, buffer);
  }

  /** One message for each pair of ranks between which sequences move. */
  #transfer(plan: StepPlan, buffer: number): void {
    const source = this.#stages[plan.sourceStage]!.channel;
    const target = this.#stages[plan.stage]!.channel;
    const pairs = new Map<number, number[]>();
    for (let i = 0; i < plan.sequences; i++) {
      const pair = plan.sourceRanks[i]! * target.ranks + plan.ranks[i]!;
      const indices = pairs.get(pair);
      if (indices === undefined) pairs.set(pair, [i]);
      else indices.push(i);
    }
    const { copies = 1 } = target;
    for (const [pair, indices] of pairs) {
      const from = Math.floor(pair / target.ranks);
      const to = pair % target.ranks;
      const blocks = sourceBlocks(plan, indices);
      const places = Int32Array.from(indices);
      for (let copy = 0; copy < copies; copy++) {
        const transfer = this.#transfers++;
        source.postTo(from, { type: 'export', link: to * copies + copy, transfer, blocks }, [], 0);
        target.postTo(to, { type: 'import', link: from, transfer, buffer, indices: places }, [], copy);
      }
    }
  }

  #receive(stage: number, message: FromWorker): void {
    const port = this.#stages[stage]!;
    if (message.type === 'stepped') {
      this.#steps[stage] = this.#steps[stage]! + 1;
      const { pending, step } = this.#end(port, message.buffer);
      const { logprobs, phases } = message;
      pending.resolve({ ...step.outcomes(), logprobs, phases, movedBytes: 0 });
    } else if (message.type === 'imported') {
      const { pending, step } = this.#end(port, message.buffer);
      this.#handovers += pending.plan.sequences;
      this.#handoverBytes += message.bytes;
      const none = { logprobs: undefined, phases: undefined };
      pending.resolve({ ...step.outcomes(), ...none, movedBytes: message.bytes });
    } else if (message.type === 'failed') {
      const error = engineFailed(decodeError(message.error));
      if (message.buffer < 0) this.#lose(error, stage);
      else this.#end(port, message.buffer).pending.reject(error);
    }
  }

  /** An error in the bookkeeping would leave steps unanswered for ever. */
  #guard(body: () => void): void {
    if (this.#lost !== undefined) return;
    try {
      body();
    } catch (error) {
      this.#lose(engineFailed(error));
    }
  }

  /** A rank that hangs says nothing; its step does, by being late. */
  #watch(stage: number, buffer: number): void {
    if (this.#timeoutSeconds === Number.POSITIVE_INFINITY) return;
    const timer = setTimeout(
      () => this.#lose(tooLate(this.names[stage]!, this.#timeoutSeconds), stage),
      this.#timeoutSeconds * 1000,
    );
    timer.unref();
    this.#stages[stage]!.watch(buffer, timer);
  }

  #end(port: StagePort, buffer: number): ReturnType<StagePort['end']> {
    const ended = port.end(buffer);
    clearTimeout(ended.timer);
    return ended;
  }

  #lose(error: unknown, stage?: number): void {
    if (this.#lost !== undefined) return;
    this.#lost = error;
    this.#lostStage = stage;
    for (const listener of this.#onLost) listener(error);
    for (const stage of this.#stages) stage.abandon(error);
  }
}

function tooLate(stage: string, seconds: number): ServingError {
  return new ServingError({
    code: 'serving/engine-failed',
    message: `the ${stage} stage did not answer within ${seconds} s`,
    value: seconds,
    remedy: 'raise stepTimeoutSeconds if steps may take longer, or use smaller steps',
    status: 500,
  });
}

/** The blocks that a transfer takes from the source, sequence after sequence. */
function sourceBlocks(plan: StepPlan, indices: readonly number[]): Int32Array {
  let total = 0;
  for (const i of indices) total += plan.blockCounts[i]!;
  const blocks = new Int32Array(total);
  let length = 0;
  for (const i of indices) {
    const row = i * plan.blockTableStride;
    for (let b = 0; b < plan.blockCounts[i]!; b++) blocks[length++] = plan.sourceBlockTables[row + b]!;
  }
  return blocks;
}

/** 500: a step, a rank or the bookkeeping failed. */
export function engineFailed(cause: unknown): ServingError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new ServingError({
    code: 'serving/engine-failed',
    message: `the engine failed: ${reason}`,
    remedy: 'send the request again; if that fails too, restart the server',
    status: 500,
    cause,
  });
}
