import type { CheckpointInspection, TensorInspection } from '@moestack/schemas';

/** Tensors of one role: their names differ in numbers only. */
export interface InspectionGroup {
  /** The common name, numbers as `*`. */
  readonly pattern: string;
  readonly dtypes: string;
  readonly tensors: readonly TensorInspection[];
  readonly elements: number;
  /** Of all values that are not zero; undefined when there are none. */
  readonly range: readonly [smallest: number, largest: number] | undefined;
  /** Relative error of the group as a whole; undefined where no tensor has one. */
  readonly error: number | undefined;
  readonly worst: { readonly name: string; readonly error: number } | undefined;
}

/** Which error a report shows, the most telling first: measured, of quantising, expected of the codes. */
export function errorOf(tensor: TensorInspection): { error: number; kind: ErrorKind } | undefined {
  if (tensor.against !== undefined) return { error: tensor.against.relativeError, kind: 'measured' };
  if (tensor.quantized !== undefined) return { error: tensor.quantized.relativeError, kind: 'if quantised' };
  if (tensor.expectedError !== undefined)
    return { error: tensor.expectedError.relativeError, kind: 'expected' };
  return undefined;
}

/** Where {@link errorOf} comes from. */
export type ErrorKind = 'measured' | 'if quantised' | 'expected';

/** Groups by name, in the order of first appearance. */
export function groupTensors(report: CheckpointInspection): InspectionGroup[] {
  const groups = new Map<string, TensorInspection[]>();
  for (const tensor of report.tensors) {
    const pattern = `${tensor.name.replace(/(?<=^|\.)\d+(?=\.|$)/g, '*')}\n${tensor.dtype}`;
    const group = groups.get(pattern);
    if (group === undefined) groups.set(pattern, [tensor]);
    else group.push(tensor);
  }
  return [...groups].map(([key, tensors]) => summarise(key.slice(0, key.indexOf('\n')), tensors));
}

function summarise(pattern: string, tensors: readonly TensorInspection[]): InspectionGroup {
  let smallest = Number.POSITIVE_INFINITY;
  let largest = 0;
  let noise = 0;
  let signal = 0;
  let worst: InspectionGroup['worst'];
  for (const tensor of tensors) {
    const { values } = tensor;
    if (values === undefined) continue;
    if (values.smallest !== null) smallest = Math.min(smallest, values.smallest);
    largest = Math.max(largest, values.largest);
    const error = errorOf(tensor)?.error;
    if (error === undefined) continue;
    const energy = values.rootMeanSquare ** 2 * tensor.elements;
    noise += error ** 2 * energy;
    signal += energy;
    if (worst === undefined || error > worst.error) worst = { name: tensor.name, error };
  }
  return {
    pattern,
    dtypes: [...new Set(tensors.map(({ dtype }) => dtype))].join(', '),
    tensors,
    elements: tensors.reduce((sum, { elements }) => sum + elements, 0),
    range: largest === 0 ? undefined : [smallest, largest],
    error: worst === undefined ? undefined : signal === 0 ? 0 : Math.sqrt(noise / signal),
    worst,
  };
}

/** Tensors by falling error; those without one come last, in file order. */
export function byError(tensors: readonly TensorInspection[]): TensorInspection[] {
  return [...tensors].sort((a, b) => (errorOf(b)?.error ?? -1) - (errorOf(a)?.error ?? -1));
}
