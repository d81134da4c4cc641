import { fileURLToPath } from 'node:url';
import { launchWorkers, type WorkerGroup } from '@moestack/collectives/worker';
import { type BenchCase, type BenchGroup, defineBench } from '@moestack/tooling/bench';
import { type Command, type MpiPeer, startMpiPeer } from './peer/mpi-peer.js';

const RANKS = 2;
const ROUNDS = 11;
const KIB = 1024;
const MIB = 1024 * KIB;

let workers: WorkerGroup | undefined;
let mpi: MpiPeer | undefined;

/** Short batches, so that some of them are not disturbed by whatever else the machine does. */
function command(op: Command['op'], bytes: number): Command {
  return { op, bytes, iterations: Math.max(2, Math.min(1000, Math.ceil(4e6 / (bytes + 2000)))), batches: 15 };
}

/** Rank 0 answers; every rank gets the command. */
function measureWorkers(message: Command): Promise<number> {
  const ranks = workers?.workers ?? [];
  const answer = new Promise<number>((resolve) => {
    ranks[0]?.once('message', ({ seconds }: { seconds: number }) => resolve(seconds));
  });
  for (const worker of ranks) worker.postMessage(message);
  const ended = workers?.join().then((): number => {
    throw new Error('the workers have ended');
  });
  return Promise.race([answer, ...(ended === undefined ? [] : [ended])]);
}

function size(bytes: number): string {
  return bytes >= MIB ? `${bytes / MIB} MiB` : `${bytes / KIB} KiB`;
}

function own(op: Command['op'], bytes: number): BenchCase {
  const name = op === 'barrier' ? 'worker barrier' : `worker ${op} ${size(bytes)}`;
  return { name, unit: 'us', measure: () => measureWorkers(command(op, bytes)) };
}

function peer(op: Command['op'], bytes: number): BenchCase[] {
  const name = op === 'barrier' ? 'C barrier' : `C ${op} ${size(bytes)}`;
  const started = mpi;
  return started === undefined
    ? []
    : [{ name, unit: 'us', measure: () => started.measure(command(op, bytes)) }];
}

function against(op: Command['op'], bytes: number, aim?: number): BenchGroup {
  const mine = own(op, bytes);
  const its = peer(op, bytes);
  const denominator = op === 'barrier' ? 'C barrier' : `C ${op} ${size(bytes)}`;
  return {
    name: mine.name,
    rounds: ROUNDS,
    cases: [mine, ...its],
    ratios: [
      {
        name: `time of ${mine.name} to C`,
        numerator: mine.name,
        denominator,
        ...(aim === undefined ? {} : { aim }),
      },
    ],
  };
}

function againstMemcpy(bytes: number, aim?: number): BenchGroup {
  const mine = own('exchange', bytes);
  const copy = `C memcpy ${size(bytes)}`;
  return {
    name: `${mine.name} and memcpy`,
    rounds: ROUNDS,
    cases: [mine, ...peer('memcpy', bytes)],
    ratios: [
      {
        name: `bandwidth of ${mine.name} to one memcpy`,
        numerator: copy,
        denominator: mine.name,
        ...(aim === undefined ? {} : { aim }),
      },
    ],
  };
}

export default defineBench({
  name: 'collectives',
  notes: [
    `${RANKS} ranks on one machine; planned calls; each round takes the fastest of 15 batches on either side, ratios are medians of ${ROUNDS} paired rounds`,
    'bytes are those to each rank (allToAll: also to itself; exchange: to the other only) or of the vector (allReduce, f32 sum)',
    'C: the same calls in C on the installed MPI, compiled with mpicc -O3, started by mpirun with its defaults',
    'ratios of time: lower is better; of bandwidth: higher',
  ],
  groups: async () => {
    const folder = fileURLToPath(new URL('.', import.meta.url));
    workers = launchWorkers({ ranks: RANKS, entry: `${folder}/worker-rank.mjs` });
    mpi = await startMpiPeer(`${folder}/peer/mpi-peer.c`, RANKS);
    return [
      against('barrier', 0),
      ...[1, 4].map((kib) => against('allToAll', kib * KIB, 2)),
      ...[16, 64, 256, 1024, 4096].map((kib) => against('allToAll', kib * KIB, 0.9)),
      against('allToAll', 16 * MIB),
      ...[1, 4, 16].map((kib) => against('allReduce', kib * KIB)),
      ...[64, 256, 1024, 4096].map((kib) => against('allReduce', kib * KIB, 1.2)),
      against('allReduce', 16 * MIB),
      ...[256, 1024, 4096].map((kib) => againstMemcpy(kib * KIB, 0.4)),
      againstMemcpy(16 * MIB),
    ];
  },
  close: async () => {
    mpi?.close();
    await workers?.terminate();
  },
});
