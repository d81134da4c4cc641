import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'convert-checkpoint-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Figure {
  readonly metric: string;
  readonly of: string;
  readonly value: number;
}

it('converts there and back, and the models all but agree', () => {
  const main = fileURLToPath(new URL('main.js', import.meta.url));
  const env = { ...process.env, NODE_OPTIONS: '' };
  const text = execFileSync(process.execPath, [main, folder], { env, encoding: 'utf8' });
  expect(text).toContain('201 tensors as bf16');
  for (const name of ['tiny-moe-bf16', 'tiny-moe-fp8-again']) {
    expect(readFileSync(join(folder, `${name}.html`), 'utf8')).toContain('<svg');
    const record = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as { figures: Figure[] };
    const figure = (metric: string) => record.figures.find((entry) => entry.metric === metric)!.value;
    expect(figure('kl-divergence')).toBeLessThan(0.001);
    expect(figure('top-1-agreement')).toBeGreaterThan(0.97);
    expect(figure('perplexity')).toBeGreaterThan(1);
  }
});
