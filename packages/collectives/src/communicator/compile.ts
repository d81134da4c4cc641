import { CollectivesError } from '../errors.js';
import { chooseAlgorithm } from '../schedule/choose-algorithm.js';
import { createSchedule, supports } from '../schedule/create-schedule.js';
import type { LinkFit } from '../schedule/link-fit.js';
import type { Agreed } from './agreement.js';
import { bytesPerElement, type DtypeArray } from './dtype.js';
import { NativeRunner } from './native-runner.js';
import { aliasing, type Operation } from './operation.js';
import { bytesOf, type Outcome } from './plan.js';
import { BoundCopy } from './reductions.js';
import { ScheduleRunner } from './runner.js';
import type { Transport } from './transport.js';
import { VariableRunner } from './variable-runner.js';

/** Buffers of a plan on this rank. */
export interface OperationBuffers {
  readonly input: DtypeArray;
  readonly output: DtypeArray;
  readonly sendCounts: Int32Array;
  readonly receivedCounts: Int32Array;
}

/** Turns an agreed operation into something that runs: schedule and channels, or a native operation. */
export function compile(
  transport: Transport,
  operation: Operation,
  agreed: Agreed,
  buffers: OperationBuffers,
  fit: LinkFit,
): Outcome {
  const { op, dtype, reduction, root } = operation;
  const { rank, size, topology } = transport;
  const input = bytesOf(buffers.input);
  const output = bytesOf(buffers.output);
  const binding = { transport, dtype, reduction, input, output, tagBase: agreed.tagBase };
  if (operation.algorithm === 'native') {
    if (transport.openNative === undefined) throw noNative(transport);
    const request = {
      op,
      dtype,
      reduction,
      root,
      sendCounts: operation.counts,
      receiveCounts: operation.receiveCounts,
      input,
      output,
    };
    return { runner: new NativeRunner(transport.openNative(request), rank, size), algorithm: 'native' };
  }
  if (operation.variable) {
    const runner = new VariableRunner({
      ...binding,
      sendCapacities: operation.counts,
      receiveCapacities: operation.receiveCounts,
      sendCounts: buffers.sendCounts,
      receivedCounts: buffers.receivedCounts,
    });
    return { runner, algorithm: 'direct' };
  }
  const elementBytes = bytesPerElement(dtype);
  const { counts } = agreed;
  const algorithm =
    operation.algorithm === 'auto'
      ? chooseAlgorithm({ op, topology, elementBytes, counts, root }, fit)
      : operation.algorithm;
  if (!supports(op, algorithm, topology)) throw unequalNodes(op, algorithm);
  const inPlace = aliasing(buffers.input, buffers.output) === 'same';
  const schedule = createSchedule({ op, algorithm, rank, topology, elementBytes, counts, root, inPlace });
  const before =
    op === 'broadcast' && input.length > 0 && !inPlace ? new BoundCopy(output, input) : undefined;
  return { runner: new ScheduleRunner(schedule, binding, before), algorithm };
}

function noNative(transport: Transport): CollectivesError {
  return new CollectivesError({
    code: 'collectives/unsupported',
    message: `the ${transport.kind} transport has no native collectives`,
    value: transport.kind,
    remedy: 'name an algorithm, or use auto',
  });
}

function unequalNodes(op: string, algorithm: string): CollectivesError {
  return new CollectivesError({
    code: 'collectives/unsupported',
    message: `expected nodes with the same number of consecutive ranks for ${op} by ${algorithm}`,
    value: { op, algorithm },
    remedy: 'choose another algorithm, or auto',
  });
}
