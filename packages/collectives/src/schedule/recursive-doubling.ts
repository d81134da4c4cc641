import { part, type ScheduleBuilder } from './builder.js';
import { fold } from './fold.js';
import { chunk, type Group, member } from './group.js';
import type { Region } from './ir.js';
import type { Partition } from './partition.js';

/**
 * Recursive-doubling allreduce: log2 n rounds of the whole vector (two more for sizes that are no power of two). Reduction order: a balanced
 * tree over neighbours, ((x0 ⊕ x1) ⊕ (x2 ⊕ x3)) ⊕ ..., after folding the first members in pairs.
 */
export function recursiveDoublingAllReduce(
  builder: ScheduleBuilder,
  group: Group,
  input: Region,
  output: Region,
  inPlace: boolean,
): void {
  const { power, virtual, partner, actor } = fold(group);
  if (virtual < 0) {
    builder.send(member(group, partner), input);
    builder.endRound();
    builder.receive(member(group, partner), output);
    builder.endRound();
    return;
  }
  const steps = (partner < 0 ? 0 : 1) + Math.log2(power);
  if (steps === 0) {
    if (!inPlace) builder.copy(input, output);
    return;
  }
  // A round sends what it combines with, so results alternate between two buffers and the last one is the output.
  const spare = steps > 1 || inPlace ? builder.scratch(output.bytes) : output;
  let held = input;
  if (inPlace && steps % 2 === 1) {
    builder.copy(input, spare);
    held = spare;
  }
  let left = steps;
  const combine = (peer: number, sends: boolean): void => {
    const target = left % 2 === 1 ? output : spare;
    if (sends) builder.send(peer, held);
    builder.receiveReduce(peer, target, held);
    builder.endRound();
    held = target;
    left--;
  };
  if (partner >= 0) combine(member(group, partner), false);
  for (let distance = 1; distance < power; distance *= 2)
    combine(member(group, actor(virtual ^ distance)), true);
  if (partner >= 0) {
    builder.send(member(group, partner), output);
    builder.endRound();
  }
}

/** Recursive-doubling all-gather; part `me` of `output` is in place before. Sizes that are no power of two add a round before and after. */
export function recursiveDoublingAllGather(
  builder: ScheduleBuilder,
  group: Group,
  partition: Partition,
  output: Region,
): void {
  const { power, virtual, partner, first, actor } = fold(group);
  const { me } = group;
  const total = partition.offsets[partition.parts] as number;
  const outside = (index: number): readonly [Region, Region] => [
    part(output, 0, partition.offsets[index] as number),
    part(output, partition.offsets[index + 1] as number, total - (partition.offsets[index + 1] as number)),
  ];
  if (virtual < 0) {
    const peer = member(group, partner);
    builder.send(peer, chunk(output, partition, me));
    builder.endRound();
    for (const region of outside(me)) builder.receive(peer, region);
    builder.endRound();
    return;
  }
  if (partner >= 0) {
    builder.receive(member(group, partner), chunk(output, partition, partner));
    builder.endRound();
  }
  for (let distance = 1; distance < power; distance *= 2) {
    const own = virtual - (virtual % distance);
    const other = own ^ distance;
    const peer = member(group, actor(virtual ^ distance));
    builder.send(peer, chunk(output, partition, first(own), first(own + distance)));
    builder.receive(peer, chunk(output, partition, first(other), first(other + distance)));
    builder.endRound();
  }
  if (partner >= 0) {
    for (const region of outside(partner)) builder.send(member(group, partner), region);
    builder.endRound();
  }
}
