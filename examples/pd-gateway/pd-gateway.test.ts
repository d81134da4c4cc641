import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

it('answers over both pools and leaves nothing behind', async () => {
  const main = fileURLToPath(new URL('main.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [main], {
    env: { ...process.env, NODE_OPTIONS: '' },
    timeout: 50_000,
  });
  const lines = stdout.trim().split('\n');
  expect(lines.slice(0, 3)).toEqual([
    'deepseek-v3: vLLM heard: the people of the United States',
    'deepseek-r1: SGLang heard: the people of the United States',
    'after 20 clients that left: 0 pinned KV blocks, 0 open rooms',
  ]);
  expect(lines[3]).toMatch(/^handed over: \{/);
});
