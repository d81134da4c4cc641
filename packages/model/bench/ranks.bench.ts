import { fileURLToPath } from 'node:url';
import { launchWorkers, type WorkerGroup } from '@moestack/collectives/worker';
import { type BenchCase, type BenchGroup, defineBench } from '@moestack/tooling/bench';
import { expertSharedBytes, parseConfig, type StepBatch } from '../src/index.js';
import { syntheticConfig, writeSyntheticCheckpoint } from './synthetic-checkpoint.js';

const cache = fileURLToPath(new URL('../../../node_modules/.cache/moestack-bench/', import.meta.url));
const worker = fileURLToPath(new URL('ranks-worker.mjs', import.meta.url));
/** Four layers, so that each rank can hold a copy of its part for every network. */
const config = { ...syntheticConfig, num_hidden_layers: 4 };
const SIZES = { blocks: 512, maxBatchTokens: 256, maxSequences: 32, maxContextTokens: 256 };
/** Communication imposed, as a share of the time of computation. */
const SHARES = [0.25, 0.5, 1];
const ROUNDS = 7;
const MIB = 2 ** 20;
/** Every message pays it; the rest of the imposed time goes by bytes. */
const ALPHA_SECONDS = 2e-5;

/** What each rank runs in one step, and the order of two micro-batches that suits it. */
const workloads = [
  { kind: 'prefill', sequences: 2, tokens: 128, start: 0 },
  { kind: 'decode', sequences: 32, tokens: 1, start: 128 },
] as const;
type Workload = (typeof workloads)[number];

interface StepReport {
  readonly seconds: number;
  readonly waitSeconds: number;
  readonly sentBytes: number;
  readonly overlapped: number;
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

  step(name: string, workload: Workload, overlap: string, steps = 1): Promise<StepReport> {
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
    blockTables: Int32Array.from({ length: sequences * 16 }, (_, i) => i),
    blockTableStride: 16,
  };
}

/** A figure that is no time: read once. */
function figure(name: string, unit: string, value: number): BenchCase {
  return { name, unit, work: value, measure: async () => 1 };
}

function timed(name: string, ranks: Ranks, network: string, workload: Workload, overlap: string): BenchCase {
  const steps = workload.kind === 'decode' ? 8 : 1;
  return {
    name,
    unit: 'ms',
    measure: async () => (await ranks.step(network, workload, overlap, steps)).seconds,
  };
}

/** Tokens of all ranks in a second, on one rank and on two. */
function throughput(one: Ranks, two: Ranks, shared: Ranks): BenchGroup[] {
  return workloads.map((workload) => {
    const { kind, sequences, tokens } = workload;
    const at = (name: string, ranks: Ranks, batches: number): BenchCase => ({
      name,
      unit: 'tokens/s',
      work: sequences * tokens * batches,
      measure: async () => (await ranks.step('plain', workload, 'none', 2)).seconds,
    });
    return {
      name: `${kind}, throughput`,
      rounds: ROUNDS,
      cases: [
        at(`${kind}, 1 rank`, one, 1),
        at(`${kind}, 2 ranks, data-parallel attention`, two, 2),
        at(`${kind}, 2 ranks, shared heads`, shared, 1),
      ],
      ratios: [
        {
          name: `${kind}, 2 ranks over 1`,
          numerator: `${kind}, 2 ranks, data-parallel attention`,
          denominator: `${kind}, 1 rank`,
        },
        {
          name: `${kind}, 2 ranks that share heads over 1`,
          numerator: `${kind}, 2 ranks, shared heads`,
          denominator: `${kind}, 1 rank`,
        },
      ],
    };
  });
}

/** One batch, two micro-batches, and what the ranks choose, against computation without a network. */
function overlap(two: Ranks, workload: Workload, share: number): BenchGroup {
  const { kind } = workload;
  const percent = `${share * 100} % communication`;
  const name = (what: string) => `${kind}, ${percent}, ${what}`;
  const network = `${kind} ${share}`;
  const plain = `${kind}, ${percent}, without a network`;
  return {
    name: `${kind}, ${percent}`,
    rounds: ROUNDS,
    cases: [
      timed(plain, two, 'plain', workload, 'none'),
      timed(name('one batch'), two, network, workload, 'none'),
      timed(name('two micro-batches'), two, network, workload, kind),
      timed(name('auto'), two, network, workload, 'auto'),
    ],
    ratios: [
      {
        name: name('one batch to computation'),
        numerator: name('one batch'),
        denominator: plain,
      },
      {
        // At most the longer of the two and 0.3 of the shorter.
        name: name('overlapped to computation'),
        numerator: name('two micro-batches'),
        denominator: plain,
        aim: Math.max(1, share) + 0.3 * Math.min(1, share),
      },
      {
        name: name('auto to the better one'),
        numerator: name('auto'),
        denominator: name(share < 0.5 ? 'one batch' : 'two micro-batches'),
        aim: 1.05,
      },
    ],
  };
}

/** Without an imposed network. */
function automatic(two: Ranks, workload: Workload): BenchGroup {
  const { kind } = workload;
  const names = ['one batch', 'auto', 'two micro-batches'].map((what) => `${kind}, no network, ${what}`);
  const overlaps = ['none', 'auto', kind];
  return {
    name: `${kind}, no network`,
    rounds: ROUNDS,
    cases: names.map((name, i) => timed(name, two, 'plain', workload, overlaps[i]!)),
    ratios: [
      {
        name: `${kind}, no network, auto to one batch`,
        numerator: names[1]!,
        denominator: names[0]!,
        aim: 1.05,
      },
      { name: `${kind}, no network, overlapped to one batch`, numerator: names[2]!, denominator: names[0]! },
    ],
  };
}

/** Runs a workload as it is, and opens networks that take shares of its time. Returns the figures of the ranks themselves. */
async function prepare(two: Ranks, workload: Workload): Promise<BenchCase[]> {
  const { kind } = workload;
  await two.step('plain', workload, 'none', 2);
  const { seconds, waitSeconds, sentBytes } = await two.step('plain', workload, 'none', 4);
  for (const share of SHARES) {
    await two.open(`${kind} ${share}`, {
      alphaSeconds: ALPHA_SECONDS,
      bytesPerSecond: sentBytes / (share * seconds),
    });
    // So that `auto` has compared before it is timed.
    await two.step(`${kind} ${share}`, workload, 'auto', 8);
  }
  await two.step('plain', workload, 'auto', 8);
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
    'communication: a link model whose rate lets the bytes of a step take a share of its time; computation: the same step without it, receiving included',
    `prefill: ${workloads[0].sequences} prompts of ${workloads[0].tokens} tokens for each rank; decode: ${workloads[1].sequences} sequences at ${workloads[1].start} tokens of context`,
    'needs as many idle cores as ranks',
  ],
  async groups() {
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
    const communication: BenchCase[] = [];
    for (const workload of workloads) communication.push(...(await prepare(two, workload)));
    return [
      { name: 'memory', rounds: 1, cases: memories },
      { name: 'communication', rounds: 1, cases: communication },
      ...throughput(one, two, shared),
      ...workloads.map((workload) => automatic(two, workload)),
      ...workloads.flatMap((workload) => SHARES.map((share) => overlap(two, workload, share))),
    ];
  },
  close: async () => {
    for (const group of groups) await group.terminate();
  },
});
