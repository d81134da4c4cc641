import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';

const main = fileURLToPath(new URL('main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'detect-ai-code-'));
let server: Server;
const run = (args: string[]) =>
  promisify(execFile)(process.execPath, [main, ...args], { env: { ...process.env, NODE_OPTIONS: '' } });

const documented = `def tide(rows, hours):
    """I wrote this after the flood, when nobody could tell me how far the water would come up that night. It takes what the
    gauge said and goes on from there, which is wrong when the wind turns, but it was right often enough that we kept it. Dad
    says it is better than the radio. He has never once been early himself, so I would not count on that too much either."""
    level = rows[0]
    for hour in hours:
        level = level + rows[hour] * 2
    return level
`;
const plain = `function sum(rows) {
  let total = 0;
  for (const row of rows) {
    total += row.price * row.count;
    if (total < 0) throw new Error('no');
  }
  return total;
}
`;

beforeAll(async () => {
  writeFileSync(join(folder, 'tide.py'), documented);
  writeFileSync(join(folder, 'sum.js'), plain);
  execFileSync('git', ['init', '-q', folder]);
  execFileSync('git', ['-C', folder, 'add', '.']);
  execFileSync('git', ['-C', folder, '-c', 'user.name=a', '-c', 'user.email=a@b.c', 'commit', '-qm', 'x']);
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      const { messages } = JSON.parse(body);
      const asked = messages[0].content.startsWith('Write')
        ? messages[1].content.includes('tide')
          ? documented
          : plain
        : 'Sums rows.';
      response.end(JSON.stringify({ choices: [{ message: { content: asked } }] }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

it('abstains on code, says why, and judges prose in comments', async () => {
  const { stdout } = await run([folder]);
  expect(stdout).toContain('sum.js:1 sum: abstain (too-short, code)');
  expect(stdout).toMatch(/tide\.py:1 tide: .*its comments: human, \d+%/);
  expect(stdout).toContain('2 functions');
});

it('redoes the study against a server', async () => {
  const pairs = join(folder, 'pairs.jsonl');
  const { port } = server.address() as AddressInfo;
  const { stdout } = await run([
    folder,
    '--endpoint',
    `http://127.0.0.1:${port}`,
    '--model',
    'm',
    '--pairs',
    pairs,
  ]);
  expect(stdout).toContain('2 pairs in');
  // The stand-in repeats the human text, which the audit must see.
  expect(stdout).toContain('contradiction');
  expect(stdout).toMatch(/^all: 2 human, 2 AI, AUROC 0\.50/m);
  expect(readFileSync(pairs, 'utf8').trim().split('\n')).toHaveLength(4);
});

it('says what is wrong with a folder that is no repository', async () => {
  await expect(run([tmpdir()])).rejects.toThrow(/expected a git repository/);
});
