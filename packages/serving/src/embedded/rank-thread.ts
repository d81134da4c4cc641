import type { MessagePort } from 'node:worker_threads';
import type { Communicator } from '@moestack/collectives';
import { attachWorkerCommunicator } from '@moestack/collectives/worker';
import { type ModelRuntime, openRuntime, StageTrace } from '@moestack/model';
import type { Plan } from '@moestack/placement';
import { encodeError } from '@moestack/schemas/errors';
import { BlockLink } from './block-link.js';
import { ExpertLoad } from './expert-load.js';
import type { FromWorker, GroupSetup, RankExpertLoad, RankSetup, ToWorker } from './protocol.js';
import { StageRunner } from './stage-runner.js';
import { StepBuffer, type StepBufferShape } from './step-buffer.js';
import { phasesOf } from './step-phases.js';

/** Loads a model and runs the steps it is sent. */
export async function runRank(setup: RankSetup, port: MessagePort): Promise<void> {
  const post = (message: FromWorker) => port.postMessage(message);
  try {
    const { group } = setup;
    const communicator =
      group && attachWorkerCommunicator({ handle: group.handle, timeoutSeconds: setup.stepTimeoutSeconds });
    const parallel = group && communicator && { ...group, communicator };
    const { rank, runtime } = await openRank(setup, parallel, post);
    port.on('message', (message: ToWorker) => rank.receive(message));
    post({ type: 'ready', weightBytes: runtime.weightBytes, blockBytes: runtime.blockBytes });
  } catch (error) {
    post({ type: 'failed', buffer: -1, error: encodeError(error) });
  }
}

/** A rank's place among others. */
export interface RankPlace extends Pick<GroupSetup, 'routing' | 'spareSlots' | 'tensor'> {
  readonly communicator: Communicator;
}

/** Loads a rank's share of the model; over several ranks it resolves when all have theirs. */
export async function openRank(
  setup: Omit<RankSetup, 'group'>,
  place: RankPlace | undefined,
  post: (message: FromWorker) => void,
): Promise<{ rank: Rank; runtime: ModelRuntime }> {
  const load = new ExpertLoad();
  const trace = new StageTrace();
  trace.enabled = false;
  const runtime = await openRuntime(setup.directory, {
    ...setup.runtime,
    ...(place !== undefined && {
      parallel: {
        ...place.routing,
        communicator: place.communicator,
        spareSlots: place.spareSlots,
        tensor: place.tensor,
      },
    }),
    trace,
    onExpertLoad: (row, counts) => load.add(row, counts),
    onProgress: (progress) => post({ type: 'progress', ...progress }),
  });
  const runner = new StageRunner(runtime, setup.eosIds, { isShared: place !== undefined });
  return { rank: new Rank(runtime, setup.stepShape, { runner, load, trace }, post), runtime };
}

/** Runs the messages that a rank gets, in their order. */
export class Rank {
  readonly #runtime: ModelRuntime;
  readonly #stepShape: StepBufferShape;
  readonly #post: (message: FromWorker) => void;
  readonly #runner: StageRunner;
  readonly #buffers: StepBuffer[] = [];
  readonly #links = new Map<number, BlockLink>();
  readonly #load: ExpertLoad;
  readonly #trace: StageTrace;

  constructor(
    runtime: ModelRuntime,
    stepShape: StepBufferShape,
    parts: { readonly runner: StageRunner; readonly load: ExpertLoad; readonly trace: StageTrace },
    post: (message: FromWorker) => void,
  ) {
    this.#runtime = runtime;
    this.#stepShape = stepShape;
    this.#post = post;
    this.#runner = parts.runner;
    this.#load = parts.load;
    this.#trace = parts.trace;
  }

  receive(message: ToWorker): void {
    try {
      this.#handle(message);
    } catch (error) {
      // An export that fails leaves the other rank waiting, so it counts as a failure of the worker.
      const buffer = message.type === 'step' || message.type === 'import' ? message.buffer : -1;
      this.#post({ type: 'failed', buffer, error: encodeError(error) });
    }
  }

  #handle(message: ToWorker): void {
    switch (message.type) {
      case 'tokens':
        this.#runner.tokens(message.id, message.from, message.tokens, message.setup);
        break;
      case 'release':
        this.#runner.release(message.id);
        break;
      case 'buffer':
        this.#buffers.push(new StepBuffer(message.shared, this.#stepShape));
        break;
      case 'step':
        this.#step(message.buffer, message.isTraced === true);
        break;
      case 'link':
        this.#links.set(message.link, new BlockLink(this.#runtime, message.port));
        break;
      case 'export':
        this.#links.get(message.link)?.send(message.transfer, message.blocks);
        break;
      case 'import':
        this.#import(message);
        break;
      case 'load':
        this.#post({ type: 'load', load: this.#expertLoad() });
        break;
      case 'stage-experts':
        this.#stage(message.row, message.plan);
        break;
      case 'switch-experts':
        this.#runtime.placement?.switchLayer();
        break;
    }
  }

  #step(buffer: number, isTraced: boolean): void {
    const trace = this.#trace;
    trace.enabled = isTraced;
    const logprobs = this.#runner.run(this.#buffers[buffer]!);
    const phases = isTraced ? phasesOf(trace.records, performance.now() * 1000) : undefined;
    trace.clear();
    this.#post({ type: 'stepped', buffer, ...(logprobs && { logprobs }), ...(phases && { phases }) });
  }

  #stage(row: number, plan: Plan): void {
    this.#runtime.placement?.stageLayer(row, plan).then(
      () => this.#post({ type: 'experts-staged' }),
      (error) => this.#post({ type: 'failed', buffer: -1, error: encodeError(error) }),
    );
  }

  #expertLoad(): RankExpertLoad {
    const { computedRows, exchangeCounters, placement } = this.#runtime;
    const sum = (values: Float64Array | undefined) => values?.reduce((all, one) => all + one, 0) ?? 0;
    return {
      tokens: this.#load.counts(),
      computedRows,
      receivedMessages: sum(exchangeCounters?.dispatch.messagesReceived),
      receivedBytes: sum(exchangeCounters?.dispatch.bytesReceived),
      expertBytes: placement?.expertBytes ?? 0,
      receivedExperts: placement?.receivedExperts ?? 0,
    };
  }

  #import(message: Extract<ToWorker, { type: 'import' }>): void {
    const { transfer, buffer, link, indices } = message;
    const blocks = blocksOf(this.#buffers[buffer]!, indices);
    this.#links.get(link)?.receive(transfer, blocks, (bytes, error) => {
      if (error === undefined) this.#post({ type: 'imported', buffer, bytes });
      else this.#post({ type: 'failed', buffer, error: encodeError(error) });
    });
  }
}

/** The blocks of some sequences of a step, one sequence after the other. */
function blocksOf(step: StepBuffer, indices: Int32Array): Int32Array {
  let total = 0;
  for (const i of indices) total += step.blockCounts[i]!;
  const blocks = new Int32Array(total);
  let length = 0;
  for (const i of indices) {
    const row = i * step.blockTableStride;
    for (let b = 0; b < step.blockCounts[i]!; b++) blocks[length++] = step.blockTables[row + b]!;
  }
  return blocks;
}
