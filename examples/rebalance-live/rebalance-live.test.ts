import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('balances the ranks while they serve, and changes no word', () => {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [fileURLToPath(new URL('main.js', import.meta.url))],
    { env: { ...process.env, NODE_OPTIONS: '' }, encoding: 'utf8' },
  );
  expect(status, stderr + stdout).toBe(0);
  expect(stdout).toMatch(/moved [1-9]\d* experts of [1-3] layers while 8 requests ran/);
  expect(stdout).toContain('before, during and after: the same');
  const [, before, after] = /highest over mean rank: ([\d.]+) -> ([\d.]+)/.exec(stdout) ?? [];
  expect(Number(after)).toBeLessThan(Number(before));
});
