import { fileURLToPath } from 'node:url';
import { launchWorkers, type WorkerGroup } from '@moestack/collectives/worker';
import { type BenchCase, type BenchGroup, defineBench } from '@moestack/tooling/bench';
import { expertSharedBytes, parseConfig, type StepBatch } from '../src/index.js';
import { syntheticConfig, writeSyntheticCheckpoint } from './synthetic-checkpoint.js';

const cache = fileURLToPath(new URL('../../../node_modules/.cache/moestack-bench/', import.meta.url));
const worker = fileURLToPath(new URL('ranks-worker.mjs', import.meta.url));
/** Four layers, so that each rank can hold a copy of its part for every network. */
const config = { ...syntheticConfig, num_hidden_layers: 4 };
const SEQUENCES = 64;
const BLOCKS_PER_SEQUENCE = 10;
const SIZES = {
  blocks: SEQUENCES * BLOCKS_PER_SEQUENCE,
  maxBatchTokens: 256,
  maxSequences: SEQUENCES,
  maxContextTokens: 16 * BLOCKS_PER_SEQUENCE,
};
/** Communication imposed, as a share of the time of computation. */
const SHARES = [0.25, 0.5, 1];
const ROUNDS = 5;
/** Steps in which `auto` has tried every order. */
const TRIAL_STEPS = 10;
const MIB = 2 ** 20;
/** Every message pays it; the rest of the imposed time goes by bytes. */
const ALPHA_SECONDS = 2e-5;

/** What each rank runs in one step, steps of one measurement, and the orders of two micro-batches that `auto` compares. */
const workloads = [
  { kind: 'prefill', sequences: 2, tokens: 128, start: 0, steps: 1, orders: ['prefill'] },
  { kind: 'decode', sequences: SEQUENCES, tokens: 1, start: 128, steps: 3, orders: ['decode', 'prefill'] },
] as const;
type Workload = (typeof workloads)[number];

interface StepReport {
  readonly seconds: number;
  readonly waitSeconds: number;
  readonly sentBytes: number;
}
interface OpenReport {
  readonly weightBytes: number;
  readonly memoryBytes: number;
  readonly cacheBytes: number;
}

const groups: WorkerGroup[] = [];

/** Ranks in threads that take the same commands; rank 0 answers. */
class Ranks {
  readonly ranks: number;
  private readonly group: WorkerGroup;

  constructor(directory: string, ranks: number, tensor: number) {
    this.ranks = ranks;
    const { maxBatchTokens, maxSequences } = SIZES;
    const options = { ranks, tensor, maxBatchTokens, maxSequences, microBatches: 2 } as const;
    const bytes = expertSharedBytes(parseConfig(config), options);
    this.group = launchWorkers({
      ranks,
      entry: worker,
      data: { directory, sizes: SIZES, tensor },
      bytesPerRank: bytes * (1 + SHARES.length * workloads.length),
      worker: { execArgv: [] },
    });
    groups.push(this.group);
  }

  open(name: string, link?: { alphaSeconds: number; bytesPerSecond: number }): Promise<OpenReport> {
    return this.ask({ type: 'open', name, link });
  }

  step(
    name: string,
    workload: Workload,
    overlap: string,
    steps: number = workload.steps,
  ): Promise<StepReport> {
    return this.ask({ type: 'step', name, batch: batchOf(workload), overlap, steps });
  }

  private async ask<T>(message: object): Promise<T> {
    const answers = this.group.workers.map(
      (one) => new Promise<T>((resolve) => one.once('message', (answer: T) => resolve(answer))),
    );
    const ended = this.group.join().then((): never => {
      throw new Error('the ranks have ended');
    });
    for (const one of this.group.workers) one.postMessage(message);
    const [first] = await Promise.race([Promise.all(answers), ended]);
    return first!;
  }
}

function batchOf({ sequences, tokens, start }: Workload): StepBatch {
  const count = sequences * tokens;
  return {
    sequences,
    tokens: Int32Array.from({ length: count }, (_, i) => (i * 7919 + 13) % config.vocab_size),
    tokenOffsets: Int32Array.from({ length: sequences + 1 }, (_, i) => i * tokens),
    contextStarts: new Int32Array(sequences).fill(start),
    blockTables: Int32Array.from({ length: sequences * BLOCKS_PER_SEQUENCE }, (_, i) => i),
    blockTableStride: BLOCKS_PER_SEQUENCE,
  };
}

/** A figure that is no time: read once. */
function figure(name: string, unit: string, value: number): BenchCase {
  return { name, unit, work: value, measure: async () => 1 };
}

function timed(name: string, ranks: Ranks, network: string, workload: Workload, overlap: string): BenchCase {
  return {
    name,
    unit: 'ms',
    measure: async () => (await ranks.step(network, workload, overlap)).seconds,
  };
}

/** Tokens of all ranks in a second, on one rank and on two. */
function throughput(one: Ranks, two: Ranks, shared: Ranks, workload: Workload): BenchGroup {
  const { kind, sequences, tokens } = workload;
  const at = (name: string, ranks: Ranks, batches: number): BenchCase => ({
    name,
    unit: 'tokens/s',
    work: sequences * tokens * batches,
    measure: async () => (await ranks.step('plain', workload, 'none')).seconds,
  });
  const cases = [
    at(`${kind}, 1 rank`, one, 1),
    at(`${kind}, 2 ranks, data-parallel attention`, two, 2),
    at(`${kind}, 2 ranks, shared heads`, shared, 1),
  ] as const;
  const [single, parallel, heads] = cases.map(({ name }) => name);
  return {
    name: `${kind}, throughput`,
    rounds: ROUNDS,
    cases: [...cases],
    ratios: [
      { name: `${kind}, 2 ranks over 1`, numerator: parallel!, denominator: single! },
      { name: `${kind}, 2 ranks that share heads over 1`, numerator: heads!, denominator: single! },
    ],
  };
}

/** Without an imposed network. */
async function automatic(two: Ranks, workload: Workload): Promise<BenchGroup> {
  const { kind, orders } = workload;
  await two.step('plain', workload, 'auto', TRIAL_STEPS);
  const name = (what: string) => `${kind}, no network, ${what}`;
  return {
    name: `${kind}, no network`,
    rounds: ROUNDS,
    cases: [
      timed(name('one batch'), two, 'plain', workload, 'none'),
      timed(name('auto'), two, 'plain', workload, 'auto'),
      ...orders.map((order) => timed(name(`${order} order`), two, 'plain', workload, order)),
    ],
    ratios: [
      { name: name('auto to one batch'), numerator: name('auto'), denominator: name('one batch'), aim: 1.05 },
      ...orders.map((order) => ({
        name: name(`${order} order to one batch`),
        numerator: name(`${order} order`),
        denominator: name('one batch'),
      })),
    ],
  };
}

/** One batch, two micro-batches, and what the ranks choose, on a network whose share of the time of computation is imposed. */
async function overlap(two: Ranks, workload: Workload, share: number): Promise<BenchGroup> {
  const { kind, orders } = workload;
  const { seconds, sentBytes } = await two.step('plain', workload, 'none', 3);
  const communication = share * seconds;
  const network = `${kind} ${share}`;
  await two.open(network, { alphaSeconds: ALPHA_SECONDS, bytesPerSecond: sentBytes / communication });
  await two.step(network, workload, 'auto', TRIAL_STEPS);
  const name = (what: string) => `${kind}, ${share * 100} % communication, ${what}`;
  // The newest time of computation, beside which what follows from it is reported.
  let computation = seconds;
  const derived = (what: string, of: (computation: number) => number): BenchCase => ({
    name: name(what),
    unit: 'ms',
    measure: async () => of(computation),
  });
  return {
    name: `${kind}, ${share * 100} % communication`,
    rounds: ROUNDS,
    cases: [
      {
        name: name('computation alone'),
        unit: 'ms',
        measure: async () => {
          computation = (await two.step('plain', workload, 'none')).seconds;
          return computation;
        },
      },
      derived('communication alone', () => communication),
      derived('sum of the two', (alone) => alone + communication),
      derived('target', (alone) => Math.max(alone, communication) + 0.3 * Math.min(alone, communication)),
      timed(name('one batch'), two, network, workload, 'none'),
      ...orders.map((order) => timed(name(`${order} order`), two, network, workload, order)),
      timed(name('auto'), two, network, workload, 'auto'),
    ],
    ratios: [
      { name: name('auto to the target'), numerator: name('auto'), denominator: name('target'), aim: 1 },
      { name: name('auto to one batch'), numerator: name('auto'), denominator: name('one batch') },
    ],
  };
}

/** What the ranks say of their own steps. */
async function communication(two: Ranks, workload: Workload): Promise<BenchCase[]> {
  const { kind } = workload;
  await two.step('plain', workload, 'none');
  const { seconds, waitSeconds, sentBytes } = await two.step('plain', workload, 'none', 4);
  return [
    figure(`${kind}, 2 ranks, share of waiting and receiving`, '%', (100 * waitSeconds) / seconds),
    figure(`${kind}, 2 ranks, sent by a rank in a step`, 'MiB', sentBytes / MIB),
  ];
}

function memory(name: string, { weightBytes, cacheBytes, memoryBytes }: OpenReport): BenchCase[] {
  return [
    figure(`memory of a rank, ${name}: weights`, 'MiB', weightBytes / MIB),
    figure(`memory of a rank, ${name}: cache`, 'MiB', cacheBytes / MIB),
    figure(`memory of a rank, ${name}: in all`, 'MiB', memoryBytes / MIB),
  ];
}

export default defineBench({
  name: 'ranks',
  notes: [
    'ranks are threads with a part of the experts each; steps of all ranks at the same time, the slowest counts',
    'communication: a link model whose rate lets the bytes of a step take a share of its time; computation: the same step without it, receiving included; target: the longer of the two and 0.3 of the shorter',
    `prefill: ${workloads[0].sequences} prompts of ${workloads[0].tokens} tokens for each rank; decode: ${workloads[1].sequences} sequences at ${workloads[1].start} tokens of context`,
    'needs as many idle cores as ranks',
  ],
  async *groups() {
    const directory = `${cache}synthetic-ranks`;
    writeSyntheticCheckpoint(directory, config);
    const one = new Ranks(directory, 1, 1);
    const two = new Ranks(directory, 2, 1);
    const shared = new Ranks(directory, 2, 2);
    const memories = [
      ...memory('1 rank', await one.open('plain')),
      ...memory('2 ranks', await two.open('plain')),
      ...memory('2 ranks, shared heads', await shared.open('plain')),
    ];
    yield { name: 'memory', rounds: 1, cases: memories };
    for (const workload of workloads) {
      const cases = await communication(two, workload);
      yield { name: `${workload.kind}, communication`, rounds: 1, cases };
      yield throughput(one, two, shared, workload);
      yield await automatic(two, workload);
      for (const share of SHARES) yield await overlap(two, workload, share);
    }
  },
  close: async () => {
    for (const group of groups) await group.terminate();
  },
});
