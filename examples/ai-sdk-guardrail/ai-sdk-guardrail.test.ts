import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('masks, blocks and annotates around a real server', () => {
  const main = fileURLToPath(new URL('main.js', import.meta.url));
  const env = { ...process.env, NODE_OPTIONS: '', MOESTACK_URL: undefined };
  const { status, stdout, stderr } = spawnSync(process.execPath, [main], {
    env,
    encoding: 'utf8',
    timeout: 55_000,
  });
  expect(status, stderr + stdout).toBe(0);
  expect(stdout).toMatch(/^plain: none on OUTPUT, found nothing/m);
  expect(stdout).toMatch(/^address: none on OUTPUT.*\n {2}the model was asked .*\{EMAIL\}/m);
  expect(stdout).not.toContain('ann@example.org');
  expect(stdout).toMatch(
    /^card: blocked on INPUT, found pii CREDIT_DEBIT_CARD_NUMBER, ended by content-filter\n {2}the model was not asked/m,
  );
  expect(stdout).toMatch(/^denied: blocked on OUTPUT, found word .*\n.*\n {2}"This answer was blocked/m);
  expect(stdout).toMatch(/^stream of 1: none on OUTPUT/m);
});
