import { EventEmitter } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fixturePath } from '@moestack/fixtures';
import { LoadReport } from '@moestack/schemas';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../src/index.js';

let root: string;
let server: Server;
let url: string;
const keys: (string | undefined)[] = [];
const bodies: Record<string, unknown>[] = [];

/** Answers with as many pieces of text as tokens were asked for. */
function answer(body: Record<string, unknown>): string {
  const tokens = Number(body['max_tokens']);
  const frame = (value: object) => `data: ${JSON.stringify(value)}\n\n`;
  const pieces = Array.from({ length: tokens }, () => frame({ choices: [{ index: 0, text: 'a' }] }));
  const usage = { prompt_tokens: 9, completion_tokens: tokens, total_tokens: 9 + tokens };
  return `${pieces.join('')}${frame({ choices: [{ index: 0, text: '', finish_reason: 'length' }] })}${frame({ choices: [], usage })}data: [DONE]\n\n`;
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'moestack-bench-'));
  server = createServer((request, response) => {
    keys.push(request.headers.authorization);
    if (request.url === '/v1/models') {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ object: 'list', data: [{ id: 'letters', object: 'model' }] }));
      return;
    }
    let text = '';
    request.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    request.on('end', () => {
      const body = JSON.parse(text) as Record<string, unknown>;
      bodies.push(body);
      response.setHeader('content-type', 'text/event-stream');
      response.end(answer(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(root, { recursive: true, force: true });
});

async function run(...args: string[]) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const code = await runCli(['bench', ...args], { stdout, stderr, signals: new EventEmitter() });
  return { code, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') };
}

async function report(...args: string[]) {
  const { code, stdout } = await run('--url', url, ...args, '--json');
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(code, stdout).toBe(0);
  return LoadReport.parse(events.find(({ event }) => event === 'benchmarked')?.['report']);
}

describe('moestack bench', () => {
  it('says what it takes, with examples', async () => {
    const { code, stdout } = await run('--help');
    expect(code).toBe(0);
    for (const word of ['--trace <file>', '--slo-ttft-ms', '$ moestack bench --rate 20'])
      expect(stdout).toContain(word);
  });

  it('keeps so many requests running', async () => {
    const result = await report('--concurrency', '4', '--requests', '30', '--output-tokens', '5');
    expect(result.requests).toMatchObject({ sent: 30, completed: 30 });
    expect(result.workload).toMatchObject({ arrivals: 'closed', concurrency: 4, trace: 'synthetic' });
    expect(result.tokens.completion).toBe(150);
    expect(result.target.model).toBe('letters');
    expect(Math.max(...result.timeline.map(({ running }) => running))).toBeLessThanOrEqual(4);
  });

  it('replays a trace at the rate asked for, and judges by targets', async () => {
    const trace = fixturePath('serving/traces/mooncake_conversation.jsonl');
    const result = await report(
      '--trace',
      trace,
      ...['--requests', '40', '--rate', '80', '--input-scale', '0.01', '--output-scale', '0.05'],
      ...['--slo-ttft-ms', '5000', '--slo-tpot-ms', '1000'],
    );
    expect(result.requests.completed).toBe(40);
    expect(result.workload.trace).toBe('mooncake_conversation.jsonl');
    expect(result.workload.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(result.workload.arrivals).toBe('open');
    expect(result.durationSeconds).toBeLessThan(10);
    expect(result.attainment).toEqual({ all: 1, ttft: 1, tpot: 1 });
  });

  it('writes a report and a page without scripts', async () => {
    const out = join(root, 'report.json');
    const html = join(root, 'report.html');
    const { code, stdout, stderr } = await run(
      ...[
        '--url',
        url,
        '--concurrency',
        '2',
        '--requests',
        '12',
        '--slo-ttft-ms',
        '5000',
        '--out',
        out,
        '--html',
        html,
      ],
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/12 completed, 0 rejected/);
    expect(stdout).toMatch(/latency +mean +p50 +p90 +p95 +p99 +max/);
    expect(stdout).toMatch(/targets met by 100\.0 %/);
    expect(stderr).toContain(`${html} written`);
    const written = LoadReport.parse(JSON.parse(await readFile(out, 'utf8')));
    expect(written.rows).toHaveLength(12);
    const page = await readFile(html, 'utf8');
    expect(page).toContain("default-src 'none'");
    expect(page).not.toMatch(/<script|NaN|Infinity|undefined/);
    expect(page.match(/<svg/g)!.length).toBeGreaterThanOrEqual(5);
  });

  it('fails when targets are missed', async () => {
    const { code, stderr } = await run(
      ...[
        '--url',
        url,
        '--concurrency',
        '2',
        '--requests',
        '4',
        '--slo-ttft-ms',
        '0.0001',
        '--fail-below',
        '0.5',
      ],
    );
    expect(code).toBe(1);
    expect(stderr).toContain('0.0 % of the requests met the targets');
  });

  it('sends the key of an environment variable', async () => {
    process.env['MOESTACK_TEST_KEY'] = 'secret';
    keys.length = 0;
    const { stdout } = await run(
      '--url',
      url,
      '--concurrency',
      '1',
      '--requests',
      '2',
      '--api-key-env',
      'MOESTACK_TEST_KEY',
    );
    delete process.env['MOESTACK_TEST_KEY'];
    expect(new Set(keys)).toEqual(new Set(['Bearer secret']));
    expect(stdout).not.toContain('secret');
  });

  it('makes the same prompts of the same seed', async () => {
    const prompts = async (seed: string) => {
      bodies.length = 0;
      await report('--concurrency', '1', '--requests', '3', '--seed', seed);
      return bodies.map(({ prompt }) => prompt);
    };
    const first = await prompts('5');
    expect(await prompts('5')).toEqual(first);
    expect(await prompts('6')).not.toEqual(first);
  });

  it.each([
    [['--closed'], 'needs --concurrency'],
    [['--fail-below', '0.9'], 'needs a target'],
    [['--fail-below', '2', '--slo-ttft-ms', '1'], 'from 0 to 1'],
    [['--rate', '0'], 'above 0'],
    [['--trace', '/nowhere/trace.jsonl'], 'cannot read /nowhere/trace.jsonl'],
    [['--api-key-env', 'MOESTACK_NO_SUCH_KEY'], 'MOESTACK_NO_SUCH_KEY is not set'],
    [['--endpoint', 'embeddings'], 'completions, chat'],
    [['--html', '/nowhere/at/all.html'], '/nowhere/at'],
  ])('%j fails before anything is sent', async (args, message) => {
    const { code, stderr } = await run('--url', 'http://127.0.0.1:9', ...args);
    expect(code).toBe(1);
    expect(stderr).toContain(message);
  });

  it('names the line of a broken trace, and an empty one', async () => {
    const file = join(root, 'trace.jsonl');
    await writeFile(file, '{"timestamp":0,"input_length":5,"output_length":1}\n{"timestamp":1}\n');
    expect((await run('--url', url, '--trace', file)).stderr).toContain('line 2 of the trace');
    await writeFile(file, 'arrival_us,input_tokens,output_tokens\n');
    expect((await run('--url', url, '--trace', file)).stderr).toContain('holds no request');
  });

  it('says who does not answer', async () => {
    const { code, stderr } = await run('--url', 'http://127.0.0.1:9', '--requests', '1');
    expect(code).toBe(1);
    expect(stderr).toContain('127.0.0.1:9');
  });
});
