import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DetectError } from '../errors.js';
import { repositoryFunctions, writeCodePairs } from './index.js';

const folder = mkdtempSync(join(tmpdir(), 'moestack-pairs-'));
const repository = join(folder, 'repository');
const body = Array.from({ length: 8 }, (_, i) => `    value = value + rows[${i}] * weights[${i}]`).join('\n');
const old = ['alpha', 'beta', 'gamma'].map(
  (name) => `def ${name}(rows, weights):\n    value = 0\n${body}\n    return value\n`,
);
let server: Server;
let baseUrl = '';
let requests = 0;
let answer: (content: string, call: number) => { status: number; content: string };

beforeAll(async () => {
  const git = (args: string[], date?: string) =>
    execFileSync('git', ['-C', repository, '-c', 'user.name=a', '-c', 'user.email=a@b.c', ...args], {
      env: { ...process.env, ...(date && { GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date }) },
      stdio: 'ignore',
    });
  execFileSync('git', ['init', '-q', repository]);
  writeFileSync(join(repository, 'old.py'), old.join('\n\n'));
  writeFileSync(join(repository, 'notes.md'), '# no code');
  git(['add', '.']);
  git(['commit', '-qm', 'old'], '2020-01-02T00:00:00Z');
  writeFileSync(join(repository, 'new.py'), old[0]!.replace('alpha', 'recent'));
  git(['add', '.']);
  git(['commit', '-qm', 'new'], '2024-01-02T00:00:00Z');
  server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => (text += chunk));
    request.on('end', () => {
      requests++;
      const { messages, model } = JSON.parse(text) as { messages: { content: string }[]; model: string };
      expect([request.url, model]).toEqual(['/v1/chat/completions', 'stand-in']);
      const { status, content } = answer(messages[1]!.content, requests);
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify(status === 200 ? { choices: [{ message: { content } }] } : { error: 'busy' }),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

const functions = () => repositoryFunctions(repository, { before: '2021-06-01' });
const lines = (path: string): { isAi: boolean; text: string; pair: string }[] =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

test('takes functions of the last commit before a date', async () => {
  const found = [];
  for await (const { name, path, language } of functions()) found.push([name, path, language]);
  expect(found).toEqual(['alpha', 'beta', 'gamma'].map((name) => [name, 'old.py', 'python']));
  await expect(repositoryFunctions(repository, { before: '2019-01-01' }).next()).rejects.toThrow(
    /no commit before/,
  );
  await expect(repositoryFunctions(join(folder, 'none')).next()).rejects.toThrow(DetectError);
});

test('writes pairs, tries again when the server is busy, and leaves out versions of another length', async () => {
  const path = join(folder, 'pairs.jsonl');
  answer = (content, call) => {
    if (call === 2) return { status: 503, content: '' };
    if (content.startsWith('def')) return { status: 200, content: 'Adds weighted rows.' };
    return {
      status: 200,
      content: content.includes('gamma') ? 'def gamma(): pass' : `\`\`\`python\n${old[0]}\`\`\``,
    };
  };
  const seen: number[] = [];
  const result = await writeCodePairs(functions(), path, {
    ...{ baseUrl, model: 'stand-in' },
    onProgress: (progress) => seen.push(progress.seen),
  });
  expect(result).toEqual({ pairs: 2, mismatched: 1, seen: 3 });
  expect(seen).toEqual([1, 2, 3]);
  expect(lines(path).map(({ isAi }) => isAi)).toEqual([false, true, false, true]);
  expect(lines(path)[1]!.text).toBe(old[0]!.trimEnd());
});

test('goes on where an earlier run ended, and stops when told', async () => {
  const path = join(folder, 'resumed.jsonl');
  answer = (content) => ({ status: 200, content: content.startsWith('def') ? 'A summary.' : old[0]! });
  await writeCodePairs(functions(), path, { baseUrl, model: 'stand-in', perBin: 1 });
  expect(lines(path)).toHaveLength(2);
  const before = requests;
  await writeCodePairs(functions(), path, { baseUrl, model: 'stand-in' });
  expect(lines(path)).toHaveLength(6);
  expect(requests - before).toBe(4);
  await expect(
    writeCodePairs(functions(), join(folder, 'x.jsonl'), {
      ...{ baseUrl, model: 'stand-in', signal: AbortSignal.abort(new Error('enough')) },
    }),
  ).rejects.toThrow('enough');
  writeFileSync(path, '{"pair": 1}\n');
  await expect(writeCodePairs(functions(), path, { baseUrl, model: 'stand-in' })).rejects.toThrow(/line 1/);
});
