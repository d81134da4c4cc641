import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TrafficCounters } from './counters.js';
import { createTopology, linkClass, subTopology, uniformTopology } from './topology.js';

describe('createTopology', () => {
  it('numbers nodes by first appearance and keeps members ascending', () => {
    const topology = createTopology([7, -1, 7, 3]);
    expect([...topology.nodeOf]).toEqual([0, 1, 0, 2]);
    expect([...topology.localOf]).toEqual([0, 0, 1, 0]);
    expect(topology.members.map((list) => [...list])).toEqual([[0, 2], [1], [3]]);
    expect(topology.ranksPerNode).toBe(0);
    expect([linkClass(topology, 0, 0), linkClass(topology, 0, 2), linkClass(topology, 0, 1)]).toEqual([
      'self',
      'intra',
      'inter',
    ]);
  });

  it('sees equal nodes of consecutive ranks', () => {
    expect(uniformTopology(3, 2)).toEqual(createTopology([0, 0, 1, 1, 2, 2]));
    expect(uniformTopology(3, 2).ranksPerNode).toBe(2);
    expect(createTopology([0, 1, 0, 1]).ranksPerNode).toBe(0);
    expect(createTopology([0, 0, 1]).ranksPerNode).toBe(0);
  });

  it('refuses what is no topology', () => {
    for (const bad of [[], [0.5], [Number.NaN]]) {
      expect(() => createTopology(bad)).toThrow(expect.objectContaining({ code: 'collectives/bad-config' }));
    }
    expect(() => uniformTopology(0, 1)).toThrow(/positive integer for nodes/);
  });

  it('keeps who shares a node in any group', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 12 }),
        fc.nat(),
        (nodes, seed) => {
          const topology = createTopology(nodes);
          const members = nodes.map((_, rank) => rank).filter((rank) => rank === 0 || (seed >> rank) & 1);
          const group = subTopology(topology, members);
          members.forEach((a, i) => {
            members.forEach((b, j) => {
              expect(group.nodeOf[i] === group.nodeOf[j]).toBe(nodes[a] === nodes[b]);
            });
          });
          expect(group.members.flatMap((list) => [...list]).sort((a, b) => a - b)).toEqual(
            members.map((_, rank) => rank),
          );
        },
      ),
      { seed: 9 },
    );
  });
});

describe('TrafficCounters', () => {
  it('sums by link class and starts again at zero', () => {
    const counters = new TrafficCounters(0, createTopology([0, 0, 1]));
    counters.countSelf(3);
    counters.countSend(1, 10);
    counters.countSend(2, 100);
    counters.countSend(2, 0);
    counters.countReceive(2, 7);
    expect(counters.report()).toEqual({
      sent: {
        self: { messages: 1, bytes: 3 },
        intra: { messages: 1, bytes: 10 },
        inter: { messages: 2, bytes: 100 },
      },
      received: {
        self: { messages: 1, bytes: 3 },
        intra: { messages: 0, bytes: 0 },
        inter: { messages: 1, bytes: 7 },
      },
    });
    counters.reset();
    expect(counters.report().sent.inter).toEqual({ messages: 0, bytes: 0 });
  });
});
