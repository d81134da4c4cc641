import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'vitest';
import { readmeSnippets } from '../src/readme-snippets.js';
import { expectToRun } from './expect-to-run.js';

const docs = fileURLToPath(new URL('../../../docs', import.meta.url));
const guides = ['.', 'concepts', 'how-to'].flatMap((folder) =>
  readdirSync(join(docs, folder))
    .filter((file) => file.endsWith('.md'))
    .map((file) => join(docs, folder, file)),
);
const snippets = guides.flatMap((file) =>
  readmeSnippets(readFileSync(file, 'utf8'), 'ts').map((body, index) => ({
    name: `${basename(file, '.md')}-${index}`,
    body,
  })),
);

// The folder `docs` depends on the packages, so guides import them by name as a reader would.
describe('guides', () => {
  it.each(snippets)('runs $name', ({ name, body }) => expectToRun(body, docs, name));
});
