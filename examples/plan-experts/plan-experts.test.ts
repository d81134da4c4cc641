import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'moestack-plan-experts-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('writes a map for SGLang and a report', async () => {
  const main = fileURLToPath(new URL('main.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [main], {
    cwd: folder,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const readme = await readFile(new URL('README.md', import.meta.url), 'utf8');
  expect(readme).toContain(`\n${stdout}`);
  const { physical_to_logical_map: map } = JSON.parse(
    await readFile(join(folder, 'expert-location.json'), 'utf8'),
  ) as {
    physical_to_logical_map: number[][];
  };
  expect(map).toHaveLength(4);
  for (const row of map) {
    expect(row).toHaveLength(24);
    expect(new Set(row).size).toBe(16);
  }
  expect(await readFile(join(folder, 'placement.html'), 'utf8')).toMatch(/^<!doctype html>/);
});
