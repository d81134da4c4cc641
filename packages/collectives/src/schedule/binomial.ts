import { part, type ScheduleBuilder } from './builder.js';
import { chunk, type Group, member } from './group.js';
import type { Region } from './ir.js';
import { type Partition, partBytes, wrap } from './partition.js';

/** Binomial broadcast of `data`: in round k the 2^k members that hold it each send to one more; ceil(log2 n) rounds. */
export function binomialBroadcast(builder: ScheduleBuilder, group: Group, root: number, data: Region): void {
  const size = group.ranks.length;
  const me = wrap(group.me - root, size);
  for (let distance = 1; distance < size; distance *= 2) {
    if (me < distance && me + distance < size) {
      builder.send(member(group, wrap(me + distance + root, size)), data);
    } else if (me >= distance && me < 2 * distance) {
      builder.receive(member(group, wrap(me - distance + root, size)), data);
    }
    builder.endRound();
  }
}

/**
 * Binomial reduce onto the root. Order: a balanced tree over neighbours counted from the root, ((x0 ⊕ x1) ⊕ (x2 ⊕ x3)) ⊕ ...
 * `output` is written on the root only; other members accumulate in scratch memory.
 */
export function binomialReduce(
  builder: ScheduleBuilder,
  group: Group,
  root: number,
  input: Region,
  output: Region,
  inPlace: boolean,
): void {
  const size = group.ranks.length;
  const me = wrap(group.me - root, size);
  let held = input;
  let accumulator = output;
  if (me !== 0) {
    const receives = me % 2 === 0 && me + 1 < size;
    accumulator = receives ? builder.scratch(input.bytes) : input;
  } else if (size === 1) {
    if (!inPlace) builder.copy(input, output);
    return;
  }
  for (let distance = 1; distance < size; distance *= 2) {
    if ((me & distance) !== 0) {
      builder.send(member(group, wrap(me - distance + root, size)), held);
      builder.endRound();
      return;
    }
    if (me + distance < size) {
      builder.receiveReduce(member(group, wrap(me + distance + root, size)), accumulator, held);
      builder.endRound();
      held = accumulator;
    }
  }
}

/** Bytes of the parts of relative members [from, to), which lie one after the other in a buffer that starts with the root's part. */
function relativeOffsets(partition: Partition, root: number): number[] {
  const offsets = [0];
  for (let index = 0; index < partition.parts; index++) {
    offsets.push((offsets[index] as number) + partBytes(partition, wrap(index + root, partition.parts)));
  }
  return offsets;
}

/** Binomial gather: ceil(log2 n) rounds; members pass on the parts of their subtree in one message. */
export function binomialGather(
  builder: ScheduleBuilder,
  group: Group,
  root: number,
  partition: Partition,
  input: Region,
  output: Region,
): void {
  const size = group.ranks.length;
  const me = wrap(group.me - root, size);
  const offsets = relativeOffsets(partition, root);
  const reach = subtree(me, size);
  const base = offsets[me] as number;
  const direct = me === 0 && root === 0;
  const leaf = reach === 1;
  const store = direct
    ? output
    : leaf
      ? input
      : builder.scratch((offsets[Math.min(size, me + reach)] as number) - base);
  const slice = (from: number, to: number): Region =>
    part(store, (offsets[from] as number) - base, (offsets[to] as number) - (offsets[from] as number));
  if (!leaf || direct) builder.copy(input, slice(me, me + 1), me === 0 && direct);
  for (let distance = 1; distance < size; distance *= 2) {
    if ((me & distance) !== 0) {
      builder.send(member(group, wrap(me - distance + root, size)), slice(me, Math.min(size, me + distance)));
      builder.endRound();
      return;
    }
    if (me + distance < size) {
      const from = me + distance;
      builder.receive(member(group, wrap(from + root, size)), slice(from, Math.min(size, from + distance)));
      builder.endRound();
    }
  }
  if (direct) return;
  builder.copy(slice(0, 1), chunk(output, partition, root), true);
  builder.copy(slice(1, size - root), chunk(output, partition, root + 1, size));
  builder.copy(slice(size - root, size), chunk(output, partition, 0, root));
}

/** Binomial scatter: the reverse of {@link binomialGather}. */
export function binomialScatter(
  builder: ScheduleBuilder,
  group: Group,
  root: number,
  partition: Partition,
  input: Region,
  output: Region,
): void {
  const size = group.ranks.length;
  const me = wrap(group.me - root, size);
  const offsets = relativeOffsets(partition, root);
  const reach = subtree(me, size);
  const base = offsets[me] as number;
  const direct = me === 0 && root === 0;
  const store = direct
    ? input
    : reach === 1 && me !== 0
      ? output
      : builder.scratch((offsets[Math.min(size, me + reach)] as number) - base);
  const slice = (from: number, to: number): Region =>
    part(store, (offsets[from] as number) - base, (offsets[to] as number) - (offsets[from] as number));
  if (me === 0 && !direct) {
    builder.copy(chunk(input, partition, root), slice(0, 1));
    builder.copy(chunk(input, partition, root + 1, size), slice(1, size - root));
    builder.copy(chunk(input, partition, 0, root), slice(size - root, size));
  }
  let distance = 1;
  while (distance * 2 < size) distance *= 2;
  for (; distance >= 1; distance /= 2) {
    if ((me & (distance - 1)) !== 0) continue;
    if ((me & distance) !== 0) {
      builder.receive(
        member(group, wrap(me - distance + root, size)),
        slice(me, Math.min(size, me + distance)),
      );
    } else if (me + distance < size) {
      const to = me + distance;
      builder.send(member(group, wrap(to + root, size)), slice(to, Math.min(size, to + distance)));
    }
    builder.endRound();
  }
  if (store !== output) builder.copy(slice(me, me + 1), output, me === 0);
}

/** Members in the subtree of relative member `me`, itself included, not limited by the size of the group for the root. */
function subtree(me: number, size: number): number {
  if (me === 0) return size;
  let reach = 1;
  while ((me & reach) === 0 && me + reach < size) reach *= 2;
  return Math.min(reach, size - me);
}
