import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'routing-balance-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(...args: string[]) {
  const main = join(import.meta.dirname, 'main.js');
  return spawnSync(process.execPath, [main, ...args], { cwd: folder, encoding: 'utf8', timeout: 30_000 });
}

/** The two MaxVio columns of the printed table. */
function table(stdout: string): { without: number; withBias: number }[] {
  return [...stdout.matchAll(/^ *\d+ +([\d.]+) +([\d.]+)$/gm)].map(([, without, withBias]) => ({
    without: Number(without),
    withBias: Number(withBias),
  }));
}

test('the bias balances a skewed, drifting router, and the page shows it', () => {
  const { status, stdout, stderr } = run('--steps', '150', '--html', 'page.html');
  expect(stderr).toBe('');
  expect(status).toBe(0);
  const rows = table(stdout);
  expect(rows.length).toBeGreaterThanOrEqual(12);
  expect(rows[0]!.withBias).toBe(rows[0]!.without);
  // Counts of about 48 scatter by a third at the busiest of 64 experts, and steps of 0.01 follow the drift with a lag.
  for (const { without, withBias } of rows.slice(4)) {
    expect(without).toBeGreaterThan(4);
    expect(withBias).toBeLessThan(1);
  }
  const [globalWithout, globalWith] = [...stdout.matchAll(/global ([\d.]+)/g)].map(([, value]) =>
    Number(value),
  );
  expect(globalWithout).toBeGreaterThan(4);
  expect(globalWith).toBeLessThan(0.5);
  const page = readFileSync(join(folder, 'page.html'), 'utf8');
  expect(page.match(/<svg /g)).toHaveLength(3);
  expect(page.match(/<rect /g)).toHaveLength(128);
  expect(page).not.toContain('NaN');
});

test('a seed fixes the outcome', () => {
  const options = ['--steps', '20', '--tokens', '64', '--html', 'same.html'];
  expect(run(...options).stdout).toBe(run(...options).stdout);
  expect(run(...options, '--seed', '2').stdout).not.toBe(run(...options).stdout);
});

test('a number that is none is refused', () => {
  const { status, stderr } = run('--steps', 'many');
  expect(status).toBe(2);
  expect(stderr).toContain('--steps');
});
