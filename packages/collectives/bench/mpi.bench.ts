import { fileURLToPath } from 'node:url';
import { type BenchCase, type BenchGroup, defineBench } from '@moestack/tooling/bench';
import { type Command, type MpiPeer, startMpiNode, startMpiPeer } from './peer/mpi-peer.js';

const RANKS = 2;
const ROUNDS = 9;
const KIB = 1024;

let ours: MpiPeer | undefined;
let theirs: MpiPeer | undefined;

/** Iterations for a few milliseconds a batch on either side. */
function command(op: Command['op'], bytes: number): Command {
  return {
    op,
    bytes,
    iterations: Math.max(5, Math.min(2000, Math.ceil(1.6e7 / (bytes + 4000)))),
    batches: 7,
  };
}

function size(bytes: number): string {
  return bytes >= KIB * KIB ? `${bytes / KIB / KIB} MiB` : `${bytes / KIB} KiB`;
}

function named(side: string, peer: MpiPeer | undefined, op: Command['op'], bytes: number): BenchCase[] {
  const name = op === 'barrier' ? `${side} barrier` : `${side} ${op} ${size(bytes)}`;
  return peer === undefined ? [] : [{ name, unit: 'us', measure: () => peer.measure(command(op, bytes)) }];
}

function against(op: Command['op'], bytes: number, aim?: number): BenchGroup {
  const suffix = op === 'barrier' ? op : `${op} ${size(bytes)}`;
  return {
    name: `mpi ${suffix}`,
    rounds: ROUNDS,
    cases: [...named('koffi', ours, op, bytes), ...named('C', theirs, op, bytes)],
    ratios: [
      {
        name: `time of mpi ${suffix} to C`,
        numerator: `koffi ${suffix}`,
        denominator: `C ${suffix}`,
        ...(aim === undefined ? {} : { aim }),
      },
    ],
  };
}

export default defineBench({
  name: 'mpi',
  notes: [
    `${RANKS} processes of the installed MPI on one machine; run() of planned native operations against the same calls in C, compiled with mpicc -O3`,
    `each round takes the median of 7 batches on either side; ratios are medians of ${ROUNDS} paired rounds, lower is better`,
    'up to 16 KiB the aim is a difference: at most 3 us more than C',
  ],
  groups: async () => {
    const folder = fileURLToPath(new URL('.', import.meta.url));
    theirs = await startMpiPeer(`${folder}/peer/mpi-peer.c`, RANKS);
    ours = theirs === undefined ? undefined : await startMpiNode(`${folder}/mpi-rank.mjs`, RANKS);
    return [
      against('barrier', 0),
      ...(['allToAll', 'allReduce'] as const).flatMap((op) => [
        ...[1, 4, 16].map((kib) => against(op, kib * KIB)),
        ...[64, 256, 1024, 4096].map((kib) => against(op, kib * KIB, 1.4)),
      ]),
    ];
  },
  close: async () => {
    ours?.close();
    theirs?.close();
  },
});
