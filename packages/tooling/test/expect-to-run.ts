import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { transform } from 'esbuild';
import { expect } from 'vitest';

/** Runs a TypeScript snippet as a program in a folder, whose packages it imports: it must print, and nothing to stderr. */
export async function expectToRun(body: string, folder: string, name: string | number): Promise<void> {
  const { code } = await transform(body, { loader: 'ts', format: 'esm', target: 'node20' });
  const file = join(folder, `.readme-snippet-${name}.mjs`);
  writeFileSync(file, code);
  try {
    const result = spawnSync(process.execPath, [file], { cwd: folder, encoding: 'utf8', timeout: 50_000 });
    expect(result.stderr).toBe('');
    expect(result.status).toBe(0);
    expect(result.stdout).not.toBe('');
  } finally {
    rmSync(file, { force: true });
  }
}
