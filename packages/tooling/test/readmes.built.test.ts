import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transform } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { readmeSnippets } from '../src/readme-snippets.js';

const packages = fileURLToPath(new URL('../..', import.meta.url));

// Every published package shows an example that runs as is, on the build and through published names.
describe.each(
  readdirSync(packages).filter((name) => {
    const manifest = join(packages, name, 'package.json');
    return existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).private !== true;
  }),
)('README of %s', (name) => {
  const folder = join(packages, name);
  const snippets = readmeSnippets(readFileSync(join(folder, 'README.md'), 'utf8'), 'ts');

  it.each(snippets.map((body, index) => ({ index, body })))(
    'runs snippet $index',
    async ({ index, body }) => {
      const { code } = await transform(body, { loader: 'ts', format: 'esm', target: 'node20' });
      const file = join(folder, `.readme-snippet-${index}.mjs`);
      writeFileSync(file, code);
      try {
        const result = spawnSync(process.execPath, [file], {
          cwd: folder,
          encoding: 'utf8',
          timeout: 50_000,
        });
        expect(result.stderr).toBe('');
        expect(result.status).toBe(0);
        expect(result.stdout).not.toBe('');
      } finally {
        rmSync(file, { force: true });
      }
    },
  );

  it('says how to install it and what it exports or offers', () => {
    const text = readFileSync(join(folder, 'README.md'), 'utf8');
    expect(text).toMatch(/npm install|npx/);
    expect(snippets.length + readmeSnippets(text, 'sh').length).toBeGreaterThan(0);
  });
});
