import { CollectivesError } from '../errors.js';
import type { PlanRequest } from './communicator.js';
import { bytesPerElement, type Dtype, type DtypeArray, viewAs } from './dtype.js';
import { aliasing, checkBuffer, dtypes } from './operation.js';
import { bytesOf } from './plan.js';
import type { Transport } from './transport.js';

/** Zero-filled elements from the transport's memory. */
export function allocateArray(transport: Transport, dtype: Dtype, length: number): DtypeArray {
  if (!dtypes.includes(dtype) || !Number.isSafeInteger(length) || length < 0) {
    throw new CollectivesError({
      code: 'collectives/bad-shape',
      message: `expected one of ${dtypes.join(', ')} and a whole number of elements, got ${dtype}, ${length}`,
      value: length,
      remedy: 'pass a dtype and a length',
    });
  }
  if (length === 0) return viewAs(dtype, new Uint8Array(0));
  return viewAs(dtype, transport.allocate(length * bytesPerElement(dtype)));
}

/** Gives memory of {@link allocateArray} back. */
export function releaseArray(transport: Transport, array: DtypeArray): void {
  if (array.byteLength > 0) transport.release(bytesOf(array));
}

/** The caller's buffer after checks, or a new one, which is added to `owned`. */
export function bufferOf(
  transport: Transport,
  name: string,
  given: DtypeArray | undefined,
  dtype: Dtype,
  elements: number,
  owned: DtypeArray[],
): DtypeArray {
  if (given !== undefined && (elements > 0 || given.length === 0)) {
    checkBuffer(name, given, dtype, elements);
    return given;
  }
  const array = allocateArray(transport, dtype, elements);
  if (elements > 0) owned.push(array);
  return array;
}

/** Refuses buffers that share memory where the operation cannot work in place. */
export function checkAliasing(op: PlanRequest['op'], input: DtypeArray, output: DtypeArray): void {
  const shared = aliasing(input, output);
  const mayBeSame = op === 'allReduce' || op === 'reduce' || op === 'broadcast';
  if (shared === 'apart' || (shared === 'same' && mayBeSame)) return;
  throw new CollectivesError({
    code: 'collectives/bad-shape',
    message: `input and output of ${op} share memory`,
    value: op,
    remedy: mayBeSame ? 'pass the same array twice, or separate ones' : 'pass separate arrays',
  });
}
