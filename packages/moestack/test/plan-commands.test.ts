import { EventEmitter } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { ServeConfig } from '@moestack/serving';
import { Deployment, deepSeekV3, h800 } from '@moestack/simulator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../src/index.js';

let root: string;
const file = (name: string) => join(root, name);
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'moestack-plan-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function run(...args: string[]) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const code = await runCli(args, { stdout, stderr, signals: new EventEmitter() });
  return { code, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') };
}

async function events(...args: string[]) {
  const { code, stdout } = await run(...args, '--json');
  const lines = stdout.trim().split('\n');
  return { code, events: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

const demand = [
  '--gpus',
  '48',
  '--rate',
  '10',
  '--input',
  '2000',
  '--output',
  '200',
  '--tpot',
  '0.08',
  '--keep',
  '3',
];

describe('moestack plan', () => {
  it('plans, reports and writes all that starts the deployment', async () => {
    const outputs = ['--html', file('plan.html'), '--out', file('plan.json'), '--emit', file('deploy')];
    const { code, stdout, stderr } = await run('plan', ...demand, '--simulate', '0', ...outputs);
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^DeepSeek-V3 on \d+ of 48 H800s: 10 requests\/s \(at most /);
    expect(stdout).toMatch(/^ {8}binds: /m);
    expect(stdout).toMatch(/^searched \d+ layouts, \d+ combinations/m);
    expect(stderr).toMatch(/^written: .*gateway\.json$/m);
    expect(await readFile(file('plan.html'), 'utf8')).toMatch(/^<!doctype html>/);
    const deployment = Deployment.parse(JSON.parse(await readFile(file('plan.json'), 'utf8')));
    const manifests = await readFile(file('deploy/kubernetes.yaml'), 'utf8');
    expect(manifests.match(/^kind: LeaderWorkerSet$/gm)).toHaveLength(deployment.prefill === null ? 1 : 2);
    const scripts =
      deployment.prefill === null ? ['launch-mixed.sh'] : ['launch-prefill.sh', 'launch-decode.sh'];
    for (const script of scripts) expect((await stat(file(`deploy/${script}`))).mode & 0o111).toBe(0o111);
  });

  it('writes a gateway file that the gateway takes', async () => {
    for (const engine of ['sglang', 'vllm']) {
      const folder = file(`deploy-${engine}`);
      const { code, stderr } = await run(
        'plan',
        ...demand,
        '--simulate',
        '0',
        '--emit',
        folder,
        '--engine',
        engine,
      );
      expect(code, stderr).toBe(0);
      const text = await readFile(join(folder, 'gateway.json'), 'utf8');
      expect(ServeConfig.parse(JSON.parse(text)).backends).toHaveLength(1);
    }
  });

  it('gives machines one object, with simulations of the best', async () => {
    const { code, events: lines } = await events('plan', ...demand, '--simulate', '1');
    expect(code).toBe(0);
    const planned = lines.find(({ event }) => event === 'planned') as unknown as {
      candidates: { gpus: number; simulated: { requests: number } | null }[];
      request: { goal: string };
      frontier: unknown[];
      whatIf: { effects: unknown[] };
    };
    expect(planned.request.goal).toBe('demand');
    expect(planned.candidates.length).toBeGreaterThan(0);
    expect(planned.candidates.length).toBeLessThanOrEqual(3);
    expect(planned.candidates.some(({ simulated }) => simulated !== null && simulated.requests >= 1000)).toBe(
      true,
    );
    expect(planned.frontier.length).toBeGreaterThan(0);
    expect(planned.whatIf.effects.length).toBe(7);
    expect(lines.filter(({ event }) => event === 'planning').length).toBeGreaterThan(0);
  });

  it('reads a request from a file', async () => {
    const request = {
      accelerator: h800,
      model: deepSeekV3,
      gpus: 32,
      goal: 'cluster',
      workload: {
        requestsPerSecond: 1,
        inputTokens: { kind: 'fixed', tokens: 1000 },
        outputTokens: { kind: 'fixed', tokens: 100 },
        cachedFraction: 0,
        arrivals: { kind: 'poisson' },
      },
      slo: { ttftSeconds: 5, tpotSeconds: 0.08 },
    };
    await writeFile(file('request.json'), JSON.stringify(request));
    expect(
      (await run('plan', '--request', file('request.json'), '--simulate', '0', '--keep', '1')).code,
    ).toBe(0);
    await writeFile(file('request.json'), JSON.stringify({ ...request, gpus: -3 }));
    const { code, stderr } = await run('plan', '--request', file('request.json'));
    expect(code).toBe(1);
    expect(stderr).toContain('at gpus');
    await writeFile(file('request.json'), JSON.stringify({ ...request, gpu: 3 }));
    const unknown = await run('plan', '--request', file('request.json'));
    expect(unknown.stderr).toContain(`wrong request in ${file('request.json')}: Unrecognized key: "gpu"`);
  });

  it('takes lengths, rate and repeated prefixes from a trace', async () => {
    const lines = Array.from({ length: 40 }, (_, i) =>
      JSON.stringify({ timestamp: i * 100, input_length: 1024, output_length: 50, hash_ids: [1, 2 + i] }),
    );
    await writeFile(file('trace.jsonl'), lines.join('\n'));
    const { events: found } = await events(
      'plan',
      '--gpus',
      '32',
      '--tpot',
      '0.1',
      '--trace',
      file('trace.jsonl'),
      '--simulate',
      '0',
    );
    const { request } = found.find(({ event }) => event === 'planned') as unknown as {
      request: {
        workload: { requestsPerSecond: number; cachedFraction: number; inputTokens: { tokens: number[] } };
      };
    };
    expect(request.workload.requestsPerSecond).toBeCloseTo(10, 6);
    expect(request.workload.cachedFraction).toBeCloseTo((39 * 512) / (40 * 1024), 6);
    expect(request.workload.inputTokens.tokens).toHaveLength(40);
  });

  it.each([
    ['nothing', [], 'expected --gpus or --request'],
    ['an unknown accelerator', ['--gpus', '8', '--accelerator', 'a100'], 'h800, h100, h200, b200, gb200'],
    ['a model that is not there', ['--gpus', '8', '--model', '/nowhere'], 'cannot read'],
    ['a wrong burst', ['--gpus', '8', '--burst', 'often'], '4x30'],
    ['too few GPUs', ['--gpus', '8'], 'use at least 16 GPUs'],
    ['a folder in a file', ['--gpus', '8', '--emit', 'package.json/x'], 'cannot write package.json/x'],
    ['an impossible time', ['--gpus', '32', '--tpot', '0.0001'], 'allow tpotSeconds of'],
  ])('says what is wrong and what would do: %s', async (_, args, message) => {
    const { code, stderr } = await run('plan', ...args);
    expect(code).toBe(1);
    expect(stderr).toContain(message);
  });
});

describe('moestack simulate', () => {
  const traffic = ['--rate', '20', '--input', '1000', '--output', '100', '--requests', '300'];

  it('simulates a published deployment and reports it', async () => {
    const outputs = ['--html', file('sim.html'), '--timeline', file('steps.json'), '--timeline-steps', '50'];
    const { code, stdout, stderr } = await run(
      'simulate',
      'profile',
      ...traffic,
      '--ttft',
      '5',
      '--tpot',
      '0.1',
      ...outputs,
    );
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^DeepSeek-V3 on H800s: profile\n300 requests in /);
    expect(stdout).toMatch(/in time: (keeps|breaks) the SLO/);
    expect(await readFile(file('sim.html'), 'utf8')).toMatch(/^<!doctype html>/);
    const { traceEvents } = JSON.parse(await readFile(file('steps.json'), 'utf8')) as {
      traceEvents: unknown[];
    };
    expect(traceEvents.length).toBeGreaterThan(10);
  });

  it('simulates what was planned, and gives the same figures again', async () => {
    const planned = [
      '--simulate',
      '0',
      '--accelerator',
      'h100',
      '--price',
      '7',
      '--out',
      file('deployment.json'),
    ];
    expect((await run('plan', ...demand, ...planned)).code).toBe(0);
    const { stdout } = await run('simulate', file('deployment.json'), ...traffic);
    expect(stdout).toMatch(/^DeepSeek-V3 on H100s: deployment\.json\n/);
    const once = await events('simulate', file('deployment.json'), ...traffic);
    const again = await events('simulate', file('deployment.json'), ...traffic);
    const of = ({ events: lines }: typeof once) => lines.find(({ event }) => event === 'simulated');
    expect(once.code).toBe(0);
    expect(of(once)).toMatchObject({ arrived: 300, finished: 300 });
    expect(of(once)).toEqual(of(again));
  });

  it('replays a trace', async () => {
    await writeFile(
      file('trace.csv'),
      'arrival_us,input_tokens,output_tokens\n0,500,20\n1000,700,30\n2000,900,10\n',
    );
    const { events: lines } = await events('simulate', 'profile', '--trace', file('trace.csv'));
    expect(lines.find(({ event }) => event === 'simulated')).toMatchObject({
      arrived: 3,
      inputTokens: 2100,
      outputTokens: 60,
    });
  });

  it.each([
    ['a deployment that is none', ['{"schemaVersion":2}'], 'wrong deployment'],
    ['half an SLO', ['profile', '--ttft', '1'], '--ttft and --tpot together'],
    ['a trace that is none', ['profile', '--trace'], 'a header such as TIMESTAMP'],
  ])('refuses %s', async (_, [deployment, ...args], message) => {
    await writeFile(file('bad.json'), deployment!);
    const rest = args.at(-1) === '--trace' ? [...args, file('bad.json')] : args;
    const { code, stderr } = await run(
      'simulate',
      deployment === 'profile' ? deployment : file('bad.json'),
      ...rest,
    );
    expect(code).toBe(1);
    expect(stderr).toContain(message);
  });

  it.each(['', 'arrival_us,input_tokens,output_tokens\n'])(
    'refuses a trace without requests: %j',
    async (text) => {
      await writeFile(file('empty.csv'), text);
      const { code, stderr } = await run('simulate', 'profile', '--trace', file('empty.csv'));
      expect(code).toBe(1);
      expect(stderr).toContain('at least 1 request');
    },
  );
});

it.each(['plan', 'simulate'])('%s --help shows examples', async (command) => {
  const { code, stdout } = await run(command, '--help');
  expect(code).toBe(0);
  expect(stdout).toContain(`$ moestack ${command}`);
  expect(stdout).toContain('--json');
});
