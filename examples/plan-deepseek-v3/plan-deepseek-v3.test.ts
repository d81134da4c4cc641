import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'moestack-plan-deepseek-v3-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('plans 352 H800s and 96 H100s, and writes what starts them', async () => {
  const main = fileURLToPath(new URL('main.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [main, '0'], {
    cwd: folder,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const rate = (title: string): number =>
    Number(new RegExp(`^${title}: (\\d+) requests/s on \\d+ GPUs, \\$\\d`, 'm').exec(stdout)?.[1]);
  // The report's two smallest units side by side are out of proportion: one prefill unit cannot feed ten times as many decode GPUs.
  expect(rate('352 H800s')).toBeGreaterThan(2 * rate('352 H800s as the report describes'));
  expect(rate('352 H800s')).toBeGreaterThan(2 * rate('96 H100s'));
  expect(rate('96 H100s')).toBeGreaterThan(0);
  expect(stdout).toMatch(/^ {2}prefill: 1 x TP4 DP8 EP32, 32 redundant experts; /m);
  expect(stdout).toMatch(/^ {2}decode: 1 x TP4 DP80 EP320, 64 redundant experts; /m);
  for (const name of ['352-h800', '96-h100']) {
    expect(await readFile(join(folder, name, 'plan.html'), 'utf8')).toMatch(/^<!doctype html>/);
    expect(await readFile(join(folder, name, 'launch-decode.sh'), 'utf8')).toContain('sglang.launch_server');
    expect(await readFile(join(folder, name, 'kubernetes.yaml'), 'utf8')).toContain('kind: LeaderWorkerSet');
  }
});
