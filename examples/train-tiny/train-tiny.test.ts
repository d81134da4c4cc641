import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'train-tiny-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('trains a model in a few steps that the model package samples from', () => {
  const main = fileURLToPath(new URL('main.js', import.meta.url));
  const env = { ...process.env, NODE_OPTIONS: '' };
  const text = execFileSync(process.execPath, [main, folder, '50'], { env, encoding: 'utf8' });
  const losses = [...text.matchAll(/loss (\d+\.\d+)/g)].map((match) => Number(match[1]));
  // It begins at the loss of guessing among 512 tokens, ln 512 = 6.24.
  expect(losses[0]).toBeGreaterThan(6);
  expect(losses.at(-1)).toBeLessThan(4.9);
  expect(text).toMatch(/sample: Alice was beginning to[\s\S]{40,}/);
  expect(readFileSync(join(folder, 'run', 'plot.html'), 'utf8')).toContain('MaxVio per layer');
}, 120_000);
