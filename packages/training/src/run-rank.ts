import type { Communicator } from '@moestack/collectives';
import type { TrainConfig, TrainEvent } from '@moestack/schemas';
import { readCheckpoint, writeCheckpoint } from './checkpoint.js';
import { Trainer } from './trainer.js';
import type { TokenSource } from './types.js';

/** What {@link runRank} needs. */
export interface RankOptions {
  readonly directory: string;
  readonly source: TokenSource;
  /** For more than one rank. */
  readonly communicator?: Communicator | undefined;
  /** Asked once a step. */
  readonly wantsStop: () => boolean;
  /** Called on rank 0 only. */
  readonly onEvent: (event: TrainEvent) => void;
  readonly clock: () => number;
}

/** Runs one rank from the newest checkpoint to the end; all ranks hold the same state, and rank 0 writes it. */
export async function runRank(
  config: TrainConfig,
  options: RankOptions,
): Promise<TrainEvent & { type: 'end' }> {
  const { directory, source, communicator, clock } = options;
  const rank = communicator?.rank ?? 0;
  const emit = rank === 0 ? options.onEvent : () => undefined;
  const trainer = new Trainer(config, communicator);
  try {
    const saved = await readCheckpoint(directory, config);
    if (saved !== undefined) trainer.restore(saved);
    const batchTokens = config.batchSequences * config.contextTokens;
    const firstStep = trainer.stepsDone;
    let savedAt = firstStep;
    let loss = Number.NaN;
    let isStopped = false;
    const checkpoint = async (): Promise<void> => {
      const step = trainer.stepsDone;
      if (step === savedAt) return;
      savedAt = step;
      if (rank !== 0) return;
      const path = await writeCheckpoint(directory, config, trainer.state(), config.checkpoint.keep);
      emit({ type: 'checkpoint', step, path });
    };
    while (trainer.stepsDone < config.steps && !isStopped) {
      const started = clock();
      const result = trainer.step(source.batch(trainer.stepsDone, rank), options.wantsStop());
      const seconds = clock() - started;
      loss = result.loss;
      isStopped = result.isStopped;
      if (result.step === firstStep + 1) emit(startEvent(config, trainer, firstStep));
      emit({
        type: 'step',
        step: result.step,
        tokens: result.step * batchTokens,
        loss,
        gradientNorm: result.gradientNorm,
        learningRate: result.learningRate,
        gamma: result.gamma,
        maxVio: result.maxVio,
        tokensPerSecond: seconds > 0 ? batchTokens / seconds : 0,
        seconds,
      });
      const { everySteps, milestones } = config.checkpoint;
      if (result.step % everySteps === 0 || milestones.includes(result.step)) await checkpoint();
      // Signals and messages are seen between steps.
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
    }
    await checkpoint();
    const end = {
      type: 'end',
      step: trainer.stepsDone,
      tokens: trainer.stepsDone * batchTokens,
      loss: Number.isFinite(loss) ? loss : 0,
      reason: trainer.stepsDone >= config.steps ? 'complete' : 'aborted',
    } as const;
    emit(end);
    return end;
  } finally {
    trainer.close();
  }
}

function startEvent(config: TrainConfig, trainer: Trainer, firstStep: number): TrainEvent {
  const { perToken, bf16PerToken } = trainer.savedBytes();
  return {
    type: 'start',
    schemaVersion: 1,
    name: config.name,
    firstStep,
    parameters: trainer.plan.count,
    activeParameters: trainer.plan.activeCount,
    savedBytesPerToken: perToken,
    bf16BytesPerToken: bf16PerToken,
  };
}
