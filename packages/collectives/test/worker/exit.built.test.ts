import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('./exit-entry.mjs', import.meta.url));

describe('a program with worker ranks', () => {
  it.each(['closed', 'left-open', 'main-is-a-rank'])('ends by itself (%s)', (way) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, way], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    expect(stderr).toBe('');
    expect(stdout.match(/sum 3/g)).toHaveLength(way === 'main-is-a-rank' ? 1 : 2);
    expect(stdout).toContain('exit 0');
    expect(status).toBe(0);
  });
});
