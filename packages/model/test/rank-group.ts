import { type Communicator, createLoopback, uniformTopology } from '@moestack/collectives';
import {
  type ExpertRoutingOptions,
  type ModelRuntime,
  type ModelRuntimeOptions,
  openRuntime,
} from '../src/index.js';
import { batchOf, SIZES } from './batches.js';

export type TestOptions = Omit<ModelRuntimeOptions, keyof typeof SIZES | 'parallel' | 'emulate'> &
  Partial<Pick<ModelRuntimeOptions, keyof typeof SIZES>>;

/** Ranks of this thread, each with its share of a model. */
export class LoopbackRanks {
  readonly runtimes: readonly ModelRuntime[];
  readonly communicators: readonly Communicator[];

  private constructor(runtimes: readonly ModelRuntime[], communicators: readonly Communicator[]) {
    this.runtimes = runtimes;
    this.communicators = communicators;
  }

  static async open(
    directory: string,
    ranks: number,
    routing: ExpertRoutingOptions & { nodes?: number; spareSlots?: number } = {},
    options: TestOptions = {},
  ): Promise<LoopbackRanks> {
    const { nodes = 1, ...parallel } = routing;
    const communicators = createLoopback(ranks, { topology: uniformTopology(nodes, ranks / nodes) });
    const runtimes = await Promise.all(
      communicators.map((communicator) =>
        openRuntime(directory, { ...options, ...SIZES, parallel: { ...parallel, communicator } }),
      ),
    );
    return new LoopbackRanks(runtimes, communicators);
  }

  /** One step of all ranks: the tokens of rank r, none where there are no more. */
  async step(tokens: readonly Int32Array[], start = 0, all = true): Promise<Float32Array[]> {
    const none = new Int32Array(0);
    const logits = await Promise.all(
      this.runtimes.map((runtime, rank) =>
        runtime.forwardAsync(batchOf(tokens[rank] ?? none, start), { all }),
      ),
    );
    return logits.map((one, rank) => {
      const rows = tokens[rank] === undefined ? 0 : all ? tokens[rank].length : 1;
      return one.slice(0, rows * this.runtimes[0]!.config.vocab_size);
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.runtimes.map((runtime) => runtime.close()));
    for (const communicator of this.communicators) communicator.close();
  }
}

/** Greedy continuation of one prompt on each rank, step by step together. */
export async function greedy(
  ranks: LoopbackRanks,
  prompts: readonly Int32Array[],
  count: number,
  between: () => Promise<void> = async () => undefined,
): Promise<number[][]> {
  const vocabulary = ranks.runtimes[0]!.config.vocab_size;
  const found: number[][] = prompts.map(() => []);
  let logits: Float32Array[] = [];
  // Prompts differ in length, and a step has one start: each is prefilled with the others idle.
  for (const [rank, prompt] of prompts.entries()) {
    const tokens = prompts.map((_, other) => (other === rank ? prompt : new Int32Array(0)));
    logits[rank] = (await ranks.step(tokens, 0, false))[rank]!;
  }
  for (let i = 0; i < count; i++) {
    for (const [rank] of prompts.entries()) found[rank]!.push(argmax(logits[rank]!.subarray(0, vocabulary)));
    if (i === count - 1) break;
    await between();
    logits = await Promise.all(
      ranks.runtimes.map((runtime, rank) => {
        const token = found[rank]?.at(-1);
        const batch = batchOf(
          token === undefined ? new Int32Array(0) : Int32Array.of(token),
          (prompts[rank]?.length ?? 0) + i,
        );
        return runtime.forwardAsync(batch);
      }),
    );
  }
  return found;
}

function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
