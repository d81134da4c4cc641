import { region, type ScheduleBuilder } from './builder.js';
import { chunk, type Group, member } from './group.js';
import type { Region } from './ir.js';
import { type Partition, partBytes, wrap } from './partition.js';

/**
 * All-to-all by direct messages: n - 1 rounds, in round s to member me + s and from me - s (`pairwise`), or all at the same time
 * (`direct`: one round).
 */
export function pairwiseAllToAll(
  builder: ScheduleBuilder,
  group: Group,
  sends: Partition,
  receives: Partition,
  oneRound: boolean,
): void {
  const size = group.ranks.length;
  const { me } = group;
  const input = region('in', 0, sends.offsets[size] as number);
  const output = region('out', 0, receives.offsets[size] as number);
  builder.copy(chunk(input, sends, me), chunk(output, receives, me), true);
  for (let step = 1; step < size; step++) {
    const to = wrap(me + step, size);
    const from = wrap(me - step, size);
    builder.receive(member(group, from), chunk(output, receives, from));
    builder.send(member(group, to), chunk(input, sends, to));
    if (!oneRound) builder.endRound();
  }
  builder.endRound();
}

/** All-gather by direct messages; part `me` of `output` is in place before. */
export function pairwiseAllGather(
  builder: ScheduleBuilder,
  group: Group,
  partition: Partition,
  output: Region,
  oneRound: boolean,
): void {
  const size = group.ranks.length;
  const { me } = group;
  for (let step = 1; step < size; step++) {
    const from = wrap(me - step, size);
    builder.receive(member(group, from), chunk(output, partition, from));
    builder.send(member(group, wrap(me + step, size)), chunk(output, partition, me));
    if (!oneRound) builder.endRound();
  }
  builder.endRound();
}

/**
 * Reduce-scatter by direct messages: n - 1 rounds. Order: ((x[me] ⊕ x[me - 1]) ⊕ x[me - 2]) ⊕ ... around the group.
 * The input is not written.
 */
export function pairwiseReduceScatter(
  builder: ScheduleBuilder,
  group: Group,
  partition: Partition,
  input: Region,
  output: Region,
): void {
  const size = group.ranks.length;
  const { me } = group;
  if (size === 1) {
    builder.copy(input, output);
    return;
  }
  for (let step = 1; step < size; step++) {
    const to = wrap(me + step, size);
    builder.send(member(group, to), chunk(input, partition, to));
    if (partBytes(partition, me) > 0) {
      const left = step === 1 ? chunk(input, partition, me) : output;
      builder.receiveReduce(member(group, wrap(me - step, size)), output, left);
    }
    builder.endRound();
  }
}

/** Every other member sends its part straight to the root, in one round. `output` counts on the root only. */
export function directGather(
  builder: ScheduleBuilder,
  group: Group,
  root: number,
  partition: Partition,
  input: Region,
  output: Region,
): void {
  if (group.me !== root) {
    builder.send(member(group, root), input);
    builder.endRound();
    return;
  }
  builder.copy(input, chunk(output, partition, root), true);
  for (let index = 0; index < group.ranks.length; index++) {
    if (index !== root) builder.receive(member(group, index), chunk(output, partition, index));
  }
  builder.endRound();
}

/** The root sends every part straight to its member, in one round. `input` counts on the root only. */
export function directScatter(
  builder: ScheduleBuilder,
  group: Group,
  root: number,
  partition: Partition,
  input: Region,
  output: Region,
): void {
  if (group.me !== root) {
    builder.receive(member(group, root), output);
    builder.endRound();
    return;
  }
  builder.copy(chunk(input, partition, root), output, true);
  for (let index = 0; index < group.ranks.length; index++) {
    if (index !== root) builder.send(member(group, index), chunk(input, partition, index));
  }
  builder.endRound();
}
