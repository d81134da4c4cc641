import { once } from 'node:events';
import { MessageChannel } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { BlockLink, type BlockRuntime } from './block-link.js';

/** A pool of 8 blocks of 4 bytes. */
class Pool implements BlockRuntime {
  readonly blockBytes = 4;
  readonly bytes = new Uint8Array(32);

  exportBlocks(blocks: Int32Array, count: number, out = new Uint8Array(count * 4)): Uint8Array {
    for (let i = 0; i < count; i++) out.set(this.bytes.subarray(blocks[i]! * 4, blocks[i]! * 4 + 4), i * 4);
    return out;
  }

  importBlocks(blocks: Int32Array, count: number, bytes: Uint8Array): void {
    for (let i = 0; i < count; i++) this.bytes.set(bytes.subarray(i * 4, i * 4 + 4), blocks[i]! * 4);
  }
}

describe('BlockLink', () => {
  it('moves blocks, whichever side is first, and lends buffers back', async () => {
    const { port1, port2 } = new MessageChannel();
    const [source, target] = [new Pool(), new Pool()];
    source.bytes.forEach((_, index) => {
      source.bytes[index] = index;
    });
    const sender = new BlockLink(source, port1);
    const receiver = new BlockLink(target, port2);
    const receive = (transfer: number, blocks: number[]) =>
      new Promise<number>((resolve) => receiver.receive(transfer, Int32Array.from(blocks), resolve));
    const early = receive(1, [0, 7]);
    sender.send(1, Int32Array.of(3, 2));
    expect(await early).toBe(8);
    expect([...target.bytes.subarray(0, 4)]).toEqual([12, 13, 14, 15]);
    expect([...target.bytes.subarray(28)]).toEqual([8, 9, 10, 11]);
    const arrived = once(port2, 'message');
    sender.send(2, Int32Array.of(1));
    await arrived;
    expect(await receive(2, [4])).toBe(4);
    expect([...target.bytes.subarray(16, 20)]).toEqual([4, 5, 6, 7]);
    port1.close();
  });

  it('passes a failed import on', async () => {
    const { port1, port2 } = new MessageChannel();
    const target = new Pool();
    target.importBlocks = () => {
      throw new Error('bad block');
    };
    const receiver = new BlockLink(target, port2);
    new BlockLink(new Pool(), port1).send(5, Int32Array.of(0));
    const error = await new Promise<unknown>((resolve) => {
      receiver.receive(5, Int32Array.of(0), (_, failure) => resolve(failure));
    });
    expect(error).toMatchObject({ message: 'bad block' });
    port1.close();
  });
});
