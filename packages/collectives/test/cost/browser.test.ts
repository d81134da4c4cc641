import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const importPattern = /(?:^|\n)\s*(?:import|export)\b(\s+type\b)?[^'"`;]*?from\s*['"]([^'"]+)['"]/g;

/** Packages and built-ins that a source file needs at run time, its relative imports included. */
function needs(file: string, seen = new Set<string>(), found = new Set<string>()): Set<string> {
  if (seen.has(file)) return found;
  seen.add(file);
  for (const [, type, specifier] of readFileSync(file, 'utf8').matchAll(importPattern)) {
    if (type !== undefined) continue;
    if (specifier!.startsWith('.'))
      needs(join(dirname(file), specifier!.replace(/\.js$/, '.ts')), seen, found);
    else found.add(specifier!);
  }
  return found;
}

it('the cost model needs no kernels and nothing of Node, so that it runs in browsers', () => {
  const entry = fileURLToPath(new URL('../../src/cost/index.ts', import.meta.url));
  expect([...needs(entry)]).toEqual(['@moestack/schemas/errors']);
});
