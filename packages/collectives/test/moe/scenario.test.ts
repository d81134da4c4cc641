import { expect, it } from 'vitest';
import { createLoopback, uniformTopology } from '../../src/index.js';
import { runScenario } from './scenario.js';

it('gives the same digests in every run and different ones on every rank', async () => {
  const run = () =>
    Promise.all(
      createLoopback(4, { topology: uniformTopology(2, 2) }).map((comm) => runScenario(comm, false)),
    );
  const [first, second] = [await run(), await run()];
  expect(first).toEqual(second);
  const all = first.flatMap((digests) => Object.values(digests));
  expect(new Set(all).size).toBe(all.length);
});
