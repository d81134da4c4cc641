import { part, region, type ScheduleBuilder } from './builder.js';
import { chunk, type Group, member } from './group.js';
import type { Region } from './ir.js';
import { type Partition, partBytes, wrap } from './partition.js';

/** Bruck all-gather: ceil(log2 n) rounds for any n, at the price of a rotation at the end. */
export function bruckAllGather(
  builder: ScheduleBuilder,
  group: Group,
  partition: Partition,
  input: Region,
  output: Region,
): void {
  const size = group.ranks.length;
  const { me } = group;
  if (size === 1) {
    builder.copy(input, output, true);
    return;
  }
  // Blocks me, me + 1, ... lie one after the other, so what is passed on is always one piece.
  const total = partition.offsets[size] as number;
  const rotated = builder.scratch(total);
  const offsets = [0];
  for (let index = 0; index < size; index++) {
    offsets.push((offsets[index] as number) + partBytes(partition, wrap(me + index, size)));
  }
  const blocks = (from: number, to: number): Region =>
    part(rotated, offsets[from] as number, (offsets[to] as number) - (offsets[from] as number));
  builder.copy(input, blocks(0, 1));
  for (let distance = 1; distance < size; distance *= 2) {
    const count = Math.min(distance, size - distance);
    builder.send(member(group, wrap(me - distance, size)), blocks(0, count));
    builder.receive(member(group, wrap(me + distance, size)), blocks(distance, distance + count));
    builder.endRound();
  }
  builder.copy(blocks(0, 1), chunk(output, partition, me), true);
  builder.copy(blocks(1, size - me), chunk(output, partition, me + 1, size));
  builder.copy(blocks(size - me, size), chunk(output, partition, 0, me));
}

/**
 * Bruck all-to-all: ceil(log2 n) rounds, each block travelling once for every bit of its distance. `bytes(from, to)` gives the blocks of all pairs of members.
 */
export function bruckAllToAll(
  builder: ScheduleBuilder,
  group: Group,
  bytes: (from: number, to: number) => number,
  sends: Partition,
  receives: Partition,
): void {
  const size = group.ranks.length;
  const { me } = group;
  const input = region('in', 0, sends.offsets[size] as number);
  const output = region('out', 0, receives.offsets[size] as number);
  builder.copy(chunk(input, sends, me), chunk(output, receives, me), true);
  /** Where the block of distance j that this member holds lies now; starts in the input. */
  const held: Region[] = Array.from({ length: size }, (_, distance) =>
    chunk(input, sends, wrap(me + distance, size)),
  );
  for (let bit = 1; bit < size; bit *= 2) {
    const moving: number[] = [];
    for (let distance = bit; distance < size; distance++) if ((distance & bit) !== 0) moving.push(distance);
    let sentBytes = 0;
    for (const distance of moving) sentBytes += (held[distance] as Region).bytes;
    // A block sent by one member's input alone needs no packing.
    const packed = moving.length === 1 ? (held[moving[0] as number] as Region) : builder.scratch(sentBytes);
    if (moving.length > 1) {
      let offset = 0;
      for (const distance of moving) {
        const block = held[distance] as Region;
        builder.copy(block, part(packed, offset, block.bytes));
        offset += block.bytes;
      }
    }
    const from = wrap(me - bit, size);
    const arriving = moving.map((distance) => {
      const source = wrap(from - (distance & (bit - 1)), size);
      return { distance, source, bytes: bytes(source, wrap(source + distance, size)) };
    });
    const incoming = builder.scratch(arriving.reduce((sum, block) => sum + block.bytes, 0));
    builder.send(member(group, wrap(me + bit, size)), packed);
    builder.receive(member(group, from), incoming);
    builder.endRound();
    let offset = 0;
    for (const block of arriving) {
      const place = part(incoming, offset, block.bytes);
      offset += block.bytes;
      if (block.distance < bit * 2) builder.copy(place, chunk(output, receives, block.source));
      else held[block.distance] = place;
    }
  }
}

/** Dissemination barrier: ceil(log2 n) rounds of one empty message. */
export function disseminationBarrier(builder: ScheduleBuilder, group: Group): void {
  const size = group.ranks.length;
  for (let distance = 1; distance < size; distance *= 2) {
    builder.signal(
      member(group, wrap(group.me + distance, size)),
      member(group, wrap(group.me - distance, size)),
    );
    builder.endRound();
  }
}
