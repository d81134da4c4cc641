import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const main = fileURLToPath(new URL('main.js', import.meta.url));
const env = { ...process.env, NODE_OPTIONS: '' };
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'accuracy-study-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the accuracy study', () => {
  it('writes a page with a plot for each kind of data, and says where 2 % lies', () => {
    const out = join(folder, 'study.html');
    const args = [main, '--out', out, '--max-k', '4096', '--size', '8'];
    const text = execFileSync(process.execPath, args, { env, encoding: 'utf8' });
    expect(text.match(/^normal .*Frobenius/gm)).toHaveLength(3);
    const mean = Number(/^ {2}frobenius +at mean ([\d.]+)$/m.exec(text)?.[1]);
    expect(mean).toBeGreaterThan(0.4);
    expect(mean).toBeLessThan(1.2);
    const html = readFileSync(out, 'utf8');
    expect(html.match(/<svg /g)).toHaveLength(7);
    expect(html).not.toMatch(/<script|NaN|undefined|Infinity|https?:/);
    expect(html.match(/<tr>/g)).toHaveLength(1 + 6 * 5);
  });

  it('refuses sizes that are none', () => {
    const { status, stderr } = spawnSync(process.execPath, [main, '--size', 'x'], { env, encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toContain('whole numbers');
  });
});
