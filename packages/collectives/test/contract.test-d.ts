import * as collectives from '@moestack/collectives';
import * as mpi from '@moestack/collectives/mpi';

/** What other packages rely on; the exports must be assignable to it. */
interface Contract {
  createLoopback(ranks: number, options?: { topology?: collectives.Topology }): collectives.Communicator[];
  createCommunicator(transport: collectives.Transport): collectives.Communicator;
  createTopology(nodeOf: ArrayLike<number>): collectives.Topology;
  uniformTopology(nodes: number, ranksPerNode: number): collectives.Topology;
  createSchedule(request: collectives.ScheduleRequest): collectives.Schedule;
  totalsOf(schedule: collectives.Schedule): collectives.ScheduleTotals;
  measureLinks(comm: collectives.Communicator): Promise<collectives.LinkFit>;
  runTogether(plans: readonly collectives.Plan[]): void;
}

interface MpiContract {
  connectMpi(options?: { timeoutSeconds?: number; library?: string }): collectives.Communicator;
}

collectives satisfies Contract;
mpi satisfies MpiContract;

declare const comm: collectives.Communicator;
const sum: Promise<Float32Array> = comm.allReduce(new Float32Array(1), {
  reduction: 'max',
  algorithm: 'ring',
});
const view: Uint16Array = comm.allocate('bf16', 4);
const plan: collectives.Plan = comm.plan({ op: 'allGather', dtype: 'f32', counts: [1, 2] });
void [sum, view, plan];

// @ts-expect-error a broadcast needs its root
comm.plan({ op: 'broadcast', dtype: 'f32', count: 1 });
// @ts-expect-error a barrier has no buffers
comm.plan({ op: 'barrier', input: new Float32Array(1) });
