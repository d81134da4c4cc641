import { describe, expect, it } from 'vitest';
import {
  createDispatcher,
  createLoopback,
  createTopology,
  uniformTopology,
  withLinkModel,
} from '../src/index.js';
import { casesFor, runCase } from './contract-suite/index.js';

const fast = { alphaSeconds: 1e-5, bytesPerSecond: 1e9 };

describe.each([
  { ranks: 2, topology: uniformTopology(1, 2) },
  { ranks: 3, topology: createTopology([0, 1, 1]) },
  { ranks: 4, topology: uniformTopology(2, 2) },
])('an imposed link, $ranks ranks', ({ ranks, topology }) => {
  it.each(casesFor(ranks, { breaking: true }).map((entry) => [entry.name, entry] as const))(
    '%s',
    async (_, entry) => {
      const communicators = createLoopback(ranks, { topology }).map((comm) => withLinkModel(comm, fast));
      const results = await Promise.allSettled(communicators.map((comm) => runCase(comm, entry)));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    },
  );
});

describe('an imposed link', () => {
  /** Two ranks on a clock of the test's own: 10 ms latency, 1 MB/s. */
  async function ranks() {
    const clock = { seconds: 100 };
    const link = { alphaSeconds: 0.01, bytesPerSecond: 1e6, now: () => clock.seconds };
    const [a, b] = createLoopback(2).map((comm) => withLinkModel(comm, link));
    const [sender, other, receiver, another] = await Promise.all([
      a!.planAsync({ op: 'send', peer: 1, dtype: 'u8', count: 1000 }),
      a!.planAsync({ op: 'send', peer: 1, tag: 1, dtype: 'u8', count: 1000 }),
      b!.planAsync({ op: 'receive', peer: 0, dtype: 'u8', count: 1000 }),
      b!.planAsync({ op: 'receive', peer: 0, tag: 1, dtype: 'u8', count: 1000 }),
    ]);
    return { clock, a: a!, b: b!, sender, other, receiver, another };
  }

  it('delays a message by latency and bytes, and the next one behind it', async () => {
    const { clock, a, b, sender, other, receiver, another } = await ranks();
    for (const plan of [sender, other, receiver, another]) plan.start();
    for (const plan of [sender, other]) plan.test();
    clock.seconds += 0.0109;
    expect(receiver.test()).toBe(false);
    clock.seconds += 0.0002;
    expect(receiver.test()).toBe(true);
    expect(another.test()).toBe(false);
    clock.seconds += 0.001;
    expect(another.test()).toBe(true);
    expect(a.counters().report().sent.intra).toEqual({ messages: 2, bytes: 2000 });
    expect(b.counters().report().received.intra).toEqual({ messages: 2, bytes: 2000 });
  });

  it('lets a message travel while its receiver does something else', async () => {
    const { clock, sender, receiver } = await ranks();
    sender.start();
    clock.seconds += 0.02;
    receiver.start();
    sender.test();
    expect(receiver.test()).toBe(true);
  });

  it('wakes a waiting rank when the message arrives', async () => {
    const link = { alphaSeconds: 0.05, bytesPerSecond: 1e9 };
    const slow = createLoopback(2).map((comm) => withLinkModel(comm, link));
    const before = process.cpuUsage();
    const start = performance.now();
    const sums = await Promise.all(slow.map((comm) => comm.allReduce(Float32Array.of(comm.rank + 1))));
    expect(performance.now() - start).toBeGreaterThanOrEqual(50);
    expect([...sums[0]!, ...sums[1]!]).toEqual([3, 3]);
    expect(process.cpuUsage(before).user).toBeLessThan(1e6);
  });

  it('carries dispatches with the bits and the traffic of the plain link', async () => {
    const run = async (isSlow: boolean) => {
      const plain = createLoopback(2);
      const comms = isSlow ? plain.map((comm) => withLinkModel(comm, fast)) : plain;
      return Promise.all(
        comms.map(async (comm) => {
          const shape = { mode: 'direct', experts: 4, topK: 2, hidden: 8, maxTokensPerRank: 3 } as const;
          const dispatcher = await createDispatcher(comm, { ...shape, payload: 'f32' });
          const { x, rows, handle } = await dispatcher.dispatch({
            x: Float32Array.from({ length: 24 }, (_, i) => i + comm.rank),
            topkIdx: Int32Array.of(0, 2, 1, 3, -1, 2),
          });
          const back = await dispatcher.combine({ handle, x: x as Float32Array });
          return [rows, [...back.x], dispatcher.counters.dispatch.report()];
        }),
      );
    };
    expect(await run(true)).toEqual(await run(false));
  });

  it.each([
    { alphaSeconds: -1, bytesPerSecond: 1 },
    { alphaSeconds: 0, bytesPerSecond: 0 },
    { alphaSeconds: Number.NaN, bytesPerSecond: 1 },
  ])('refuses %j', (link) => {
    expect(() => withLinkModel(createLoopback(1)[0]!, link)).toThrow(
      expect.objectContaining({ code: 'collectives/bad-config' }),
    );
  });
});
