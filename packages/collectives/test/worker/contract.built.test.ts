import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { launchWorkers } from '@moestack/collectives/worker';
import { build } from 'tsup';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTopology, uniformTopology } from '../../src/communicator/topology.js';
import { casesFor } from '../contract-suite/index.js';

// Below node_modules, from where the bundle finds the packages that it imports.
const folder = fileURLToPath(new URL('../../node_modules/.cache/worker-contract', import.meta.url));
const groups = [
  { ranks: 1, topology: uniformTopology(1, 1) },
  { ranks: 2, topology: uniformTopology(1, 2) },
  { ranks: 3, topology: createTopology([0, 1, 1]) },
  { ranks: 4, topology: uniformTopology(2, 2) },
];

beforeAll(async () => {
  const entry = [fileURLToPath(new URL('./contract-entry.ts', import.meta.url))];
  const outExtension = (): { js: string } => ({ js: '.mjs' });
  await build({
    entry,
    outDir: folder,
    format: 'esm',
    target: 'node20',
    outExtension,
    config: false,
    silent: true,
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(groups)('worker transport, $ranks ranks on $topology.nodes nodes', ({ ranks, topology }) => {
  const failures = new Map<string, string[]>();
  const finished = new Map<string, number>();

  beforeAll(async () => {
    const group = launchWorkers({
      ranks,
      topology,
      entry: `${folder}/contract-entry.mjs`,
      bytesPerRank: 32 << 20,
      data: { timeoutSeconds: 10 },
      worker: { execArgv: [] },
    });
    for (const worker of group.workers) {
      worker.on('message', ({ rank, name, failure }: { rank: number; name: string; failure?: string }) => {
        finished.set(name, (finished.get(name) ?? 0) + 1);
        if (failure !== undefined)
          failures.set(name, [...(failures.get(name) ?? []), `rank ${rank}: ${failure}`]);
      });
    }
    await group.join();
  });

  it.each(casesFor(ranks, { breaking: true }).map(({ name }) => name))('%s', (name) => {
    expect(failures.get(name) ?? []).toEqual([]);
    expect(finished.get(name)).toBe(ranks);
  });
});
