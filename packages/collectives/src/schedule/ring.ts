import type { ScheduleBuilder } from './builder.js';
import { chunk, type Group, member } from './group.js';
import type { Region } from './ir.js';
import { type Partition, partBytes, wrap } from './partition.js';

/**
 * Reduce-scatter around the ring, leaving part `me` in `target(me)`. Part c starts at member c + 1 and ends at c:
 * ((x[c+1] ⊕ x[c+2]) ⊕ ...) ⊕ x[c]. Accumulators live where `accumulator(part, step)` says; the one of a step must survive the next step.
 */
export function ringReduceScatterInto(
  builder: ScheduleBuilder,
  group: Group,
  partition: Partition,
  input: Region,
  accumulator: (index: number, step: number) => Region,
): void {
  const size = group.ranks.length;
  const next = member(group, wrap(group.me + 1, size));
  const previous = member(group, wrap(group.me - 1, size));
  for (let step = 0; step < size - 1; step++) {
    const sent = wrap(group.me - step - 1, size);
    const received = wrap(group.me - step - 2, size);
    builder.send(next, step === 0 ? chunk(input, partition, sent) : accumulator(sent, step - 1));
    builder.receiveReduce(previous, accumulator(received, step), chunk(input, partition, received));
    builder.endRound();
  }
}

/** Ring reduce-scatter: n - 1 rounds of one part; `output` holds part `me`. The input is not written. */
export function ringReduceScatter(
  builder: ScheduleBuilder,
  group: Group,
  partition: Partition,
  input: Region,
  output: Region,
): void {
  const size = group.ranks.length;
  if (size === 1) {
    builder.copy(input, output);
    return;
  }
  let largest = 0;
  for (let index = 0; index < size; index++) largest = Math.max(largest, partBytes(partition, index));
  const slots = size > 2 ? [builder.scratch(largest), builder.scratch(size > 3 ? largest : 0)] : [];
  ringReduceScatterInto(builder, group, partition, input, (index, step) =>
    step === size - 2 ? output : { ...(slots[step % 2] as Region), bytes: partBytes(partition, index) },
  );
}

/** Ring all-gather: n - 1 rounds; part `me` of `output` is in place before. */
export function ringAllGather(
  builder: ScheduleBuilder,
  group: Group,
  partition: Partition,
  output: Region,
): void {
  const size = group.ranks.length;
  const next = member(group, wrap(group.me + 1, size));
  const previous = member(group, wrap(group.me - 1, size));
  for (let step = 0; step < size - 1; step++) {
    builder.send(next, chunk(output, partition, wrap(group.me - step, size)));
    builder.receive(previous, chunk(output, partition, wrap(group.me - step - 1, size)));
    builder.endRound();
  }
}

/** Ring allreduce: reduce-scatter then all-gather, 2(n - 1) rounds of one part. Works in place. */
export function ringAllReduce(
  builder: ScheduleBuilder,
  group: Group,
  partition: Partition,
  input: Region,
  output: Region,
): void {
  ringReduceScatterInto(builder, group, partition, input, (index) => chunk(output, partition, index));
  ringAllGather(builder, group, partition, output);
}
