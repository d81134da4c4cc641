import type { ScheduleBuilder } from './builder.js';
import { type Fold, fold } from './fold.js';
import { chunk, type Group, member } from './group.js';
import type { Region } from './ir.js';
import type { Partition } from './partition.js';

/**
 * Recursive halving: leaves virtual part `virtual` of `accumulator` reduced. `held` is what the first round combines with. `cut(v)` is the
 * first part of `partition` that belongs to virtual member v; `result` takes the last round's target instead of the accumulator. Order: a tree over far neighbours first, (x0 ⊕ x[p/2]) ⊕ (x[p/4] ⊕ x[3p/4]) ...
 */
function halve(
  builder: ScheduleBuilder,
  group: Group,
  folded: Fold,
  partition: Partition,
  cut: (v: number) => number,
  held: Region,
  accumulator: Region,
  result?: Region,
): void {
  const { virtual, power, actor } = folded;
  let low = 0;
  let high = power;
  let source = held;
  for (let distance = power / 2; distance >= 1; distance /= 2) {
    const middle = low + distance;
    const peer = member(group, actor(virtual ^ distance));
    const upper = virtual >= middle;
    const keep = upper ? ([middle, high] as const) : ([low, middle] as const);
    const give = upper ? ([low, middle] as const) : ([middle, high] as const);
    builder.send(peer, chunk(source, partition, cut(give[0]), cut(give[1])));
    const kept = chunk(source, partition, cut(keep[0]), cut(keep[1]));
    const target = chunk(accumulator, partition, cut(keep[0]), cut(keep[1]));
    builder.receiveReduce(peer, distance === 1 && result !== undefined ? result : target, kept);
    builder.endRound();
    [low, high] = keep;
    source = accumulator;
  }
}

/**
 * Halving-doubling (Rabenseifner) allreduce: recursive halving, then recursive doubling; 2 log2 n rounds. Works in place.
 * `partition` has as many parts as the largest power of two in the group's size.
 */
export function halvingDoublingAllReduce(
  builder: ScheduleBuilder,
  group: Group,
  partition: Partition,
  input: Region,
  output: Region,
): void {
  const folded = fold(group);
  const { virtual, partner, power, actor } = folded;
  const peer = partner < 0 ? -1 : member(group, partner);
  if (virtual < 0) {
    builder.send(peer, input);
    builder.endRound();
    builder.receive(peer, output);
    builder.endRound();
    return;
  }
  if (partner >= 0) {
    builder.receiveReduce(peer, output, input);
    builder.endRound();
  }
  halve(builder, group, folded, partition, (v) => v, partner >= 0 ? output : input, output);
  for (let distance = 1; distance < power; distance *= 2) {
    const own = virtual - (virtual % distance);
    const other = own ^ distance;
    const with_ = member(group, actor(virtual ^ distance));
    builder.send(with_, chunk(output, partition, own, own + distance));
    builder.receive(with_, chunk(output, partition, other, other + distance));
    builder.endRound();
  }
  if (partner >= 0) {
    builder.send(peer, output);
    builder.endRound();
  }
}

/** Recursive-halving reduce-scatter: log2 n rounds (two more for sizes that are no power of two). The input is not written. */
export function halvingReduceScatter(
  builder: ScheduleBuilder,
  group: Group,
  partition: Partition,
  input: Region,
  output: Region,
): void {
  const folded = fold(group);
  const { virtual, partner } = folded;
  const { me } = group;
  if (group.ranks.length === 1) {
    builder.copy(input, output);
    return;
  }
  const peer = partner < 0 ? -1 : member(group, partner);
  if (virtual < 0) {
    builder.send(peer, input);
    builder.endRound();
    builder.receive(peer, output);
    builder.endRound();
    return;
  }
  const accumulator = builder.scratch(input.bytes);
  if (partner < 0) {
    // The last round combines just this member's part.
    halve(builder, group, folded, partition, folded.first, input, accumulator, output);
    return;
  }
  builder.receiveReduce(peer, accumulator, input);
  builder.endRound();
  halve(builder, group, folded, partition, folded.first, accumulator, accumulator);
  builder.copy(chunk(accumulator, partition, me), output);
  builder.send(peer, chunk(accumulator, partition, partner));
  builder.endRound();
}
