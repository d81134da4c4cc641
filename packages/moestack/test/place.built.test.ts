import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fixturePath } from '@moestack/fixtures';
import { afterAll, beforeAll, expect, it } from 'vitest';

const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const stat = fixturePath('placement/interop/sglang_stat_record.pt');
let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'moestack-place-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function run(...args: string[]) {
  const child = spawn(process.execPath, [cli, 'place', ...args], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

it('plans from a dump, and converts the plan for another engine', async () => {
  const [plan, yaml, page] = [join(root, 'plan.json'), join(root, 'balancer.yaml'), join(root, 'page.html')];
  const machine = ['--gpus', '8', '--nodes', '2', '--redundant', '8'];
  const planned = await run('plan', stat, ...machine, '--out', plan, '--html', page);
  expect(planned.code, planned.stderr).toBe(0);
  expect(planned.stdout).toContain('layers x GPUs');
  expect(planned.stderr).toContain('planning: 100% of 1 plans');
  expect(await readFile(page, 'utf8')).toMatch(/^<!doctype html>/);
  const converted = await run(
    'convert',
    plan,
    yaml,
    '--format',
    'tensorrt-llm',
    '--first-layer',
    '3',
    '--json',
  );
  expect(converted.code, converted.stderr).toBe(0);
  expect(JSON.parse(converted.stdout)).toMatchObject({
    event: 'converted',
    read: 'moestack',
    layers: 4,
    replicas: 24,
  });
  expect(await readFile(yaml, 'utf8')).toMatch(/^initial_global_assignments:\n {2}3: \[/);
});

it('tells the server to stop recording when it is interrupted, and exits with 130', async () => {
  const calls: string[] = [];
  let started: () => void = () => undefined;
  const recording = new Promise<void>((resolve) => {
    started = resolve;
  });
  const server = createServer((request, response) => {
    calls.push(request.url ?? '');
    response.end('ok');
    started();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const child = spawn(
    process.execPath,
    [cli, 'place', 'record', `http://127.0.0.1:${port}`, '--directory', root],
    {
      env: { ...process.env, NODE_OPTIONS: '' },
      stdio: ['ignore', 'ignore', 'ignore'],
    },
  );
  await recording;
  child.kill('SIGINT');
  expect(await once(child, 'close')).toEqual([130, null]);
  expect(calls).toEqual(['/start_expert_distribution_record', '/stop_expert_distribution_record']);
  server.close();
});

it('fails with code 1 and one line of JSON', async () => {
  const { code, stdout, stderr } = await run('plan', join(root, 'none.pt'), '--gpus', '8', '--json');
  expect(code).toBe(1);
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toMatchObject({ event: 'error', code: 'placement/bad-file' });
});
