/** Consecutive byte ranges: part i is [offsets[i], offsets[i + 1]). */
export interface Partition {
  readonly parts: number;
  /** [parts + 1]. */
  readonly offsets: readonly number[];
}

/** Parts of given element counts. */
export function partitionOf(counts: readonly number[], elementBytes: number): Partition {
  const offsets = [0];
  let end = 0;
  for (const count of counts) {
    end += count * elementBytes;
    offsets.push(end);
  }
  return { parts: counts.length, offsets };
}

/** `count` elements in `parts` nearly equal parts; the first `count % parts` hold one element more. */
export function evenPartition(count: number, parts: number, elementBytes: number): Partition {
  const small = Math.floor(count / parts);
  const extra = count % parts;
  return partitionOf(
    Array.from({ length: parts }, (_, index) => small + (index < extra ? 1 : 0)),
    elementBytes,
  );
}

/** Bytes of parts [from, to). */
export function partBytes(partition: Partition, from: number, to: number = from + 1): number {
  return (partition.offsets[to] as number) - (partition.offsets[from] as number);
}

/** `value` modulo `size`, never negative. */
export function wrap(value: number, size: number): number {
  const rest = value % size;
  return rest < 0 ? rest + size : rest;
}

/** Largest power of two that is at most `value`. */
export function powerOfTwoBelow(value: number): number {
  let power = 1;
  while (power * 2 <= value) power *= 2;
  return power;
}
