import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readmeSnippets } from '../src/readme-snippets.js';
import { expectToRun } from './expect-to-run.js';

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

  it.each(snippets.map((body, index) => ({ index, body })))('runs snippet $index', ({ body, index }) =>
    expectToRun(body, folder, index),
  );

  it('says how to install it and what it exports or offers', () => {
    const text = readFileSync(join(folder, 'README.md'), 'utf8');
    expect(text).toMatch(/npm install|npx/);
    expect(snippets.length + readmeSnippets(text, 'sh').length).toBeGreaterThan(0);
  });
});
