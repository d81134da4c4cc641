import { EventEmitter } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fixturePath } from '@moestack/fixtures';
import { decodeLoad, decodePlan, encodeLoad } from '@moestack/placement';
import { readSglangLocation, readTensorRtLlm, readVllmAscend } from '@moestack/placement/interop';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../src/index.js';

async function run(...args: string[]) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const code = await runCli(['place', ...args], { stdout, stderr, signals: new EventEmitter() });
  return { code, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') };
}

/** The result among the events of a command. */
async function result(...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout } = await run(...args, '--json');
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(code, stdout).toBe(0);
  return events.find(({ event }) => /^(planned|compared|replayed|converted)$/.test(String(event)))!;
}

const stat = fixturePath('placement/interop/sglang_stat_record.pt');
const passes = fixturePath('placement/interop/sglang_per_pass_record.pt');
const mapping = fixturePath('placement/interop/sglang_init_expert_location_mapping.json');
const machine = ['--gpus', '8', '--nodes', '2', '--redundant', '8'];
let root: string;
const file = (name: string) => join(root, name);
const bytes = async (name: string) => new Uint8Array(await readFile(file(name)));

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'moestack-place-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

describe('help', () => {
  it.each(['plan', 'compare', 'replay', 'convert', 'record'])(
    'place %s --help shows an example of it',
    async (command) => {
      const { code, stdout } = await run(command, '--help');
      expect(code).toBe(0);
      expect(stdout).toContain(`$ moestack place ${command}`);
      expect(stdout).toContain('--json');
    },
  );

  it('place --help lists the commands', async () => {
    const { stdout } = await run('--help');
    for (const command of ['plan', 'compare', 'replay', 'convert', 'record'])
      expect(stdout).toContain(`\n  ${command} `);
  });
});

describe('plan', () => {
  it('plans from a dump, shows the figures and a heatmap, and writes a plan that moestack reads', async () => {
    const { code, stdout, stderr } = await run(
      'plan',
      stat,
      ...machine,
      '--out',
      file('plan.json'),
      '--heatmap',
      'both',
    );
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(
      /^SGLang stat, \d steps: 4 layers with tokens \(0 to 3\), 16 experts; 24 replicas on 8 GPUs of 2 nodes\n/,
    );
    expect(stdout).toMatch(/^in force +\d\.\d{4}/m);
    expect(stdout).toMatch(/^optimal +1\.\d{4}/m);
    expect(stdout.match(/layers x GPUs/g)).toHaveLength(2);
    expect(stderr).toContain(`written: ${file('plan.json')}`);
    const plan = decodePlan(await readFile(file('plan.json'), 'utf8'));
    expect(plan).toMatchObject({ layers: 4, deployment: { nodes: 2, gpus: 8, replicas: 24 } });
  });

  it.each(['eplb', 'optimal', 'incremental'] as const)(
    '%s never has a layer above the plan in force',
    async (policy) => {
      const planned = await result('plan', stat, ...machine, '--policy', policy, '--previous', mapping);
      const [before, after] = [planned['before'], planned['after']] as Record<string, number>[];
      expect(after!['highestOverMean']).toBeLessThanOrEqual(before!['highestOverMean']! + 1e-9);
      expect(after!['gap']).toBeGreaterThanOrEqual(0);
    },
  );

  it('starts from a plan in any format, and moves little from it', async () => {
    for (const name of [
      mapping,
      ...['vllm_state.json', 'vllm_ascend_expert_map.json'].map((n) => fixturePath(`placement/interop/${n}`)),
    ]) {
      const planned = await result(
        'plan',
        passes,
        '--gpus',
        '8',
        '--policy',
        'incremental',
        '--previous',
        name,
      );
      expect(planned['deployment']).toMatchObject({ replicas: 24 });
      expect((planned['after'] as Record<string, number>)['movedShare']).toBeLessThan(0.9);
    }
  });

  it('refuses a plan in force of other layers', async () => {
    const counts = new Float64Array(4 * 16).fill(1, 16);
    await writeFile(file('three.json'), encodeLoad({ layers: 4, experts: 16, counts }));
    await result('plan', file('three.json'), ...machine, '--out', file('three-plan.json'));
    await result('plan', file('three.json'), '--gpus', '8', '--previous', file('three-plan.json'));
    await result('plan', file('three.json'), '--gpus', '8', '--previous', mapping);
    const { code, stderr } = await run('plan', stat, '--gpus', '8', '--previous', file('three-plan.json'));
    expect(code).toBe(1);
    expect(stderr).toContain('it has 3 layers from 0 on, the load tokens in 4 layers, 0 to 3');
  });

  it('gives SGLang every layer of the model, other engines their MoE layers', async () => {
    const counts = new Float64Array(5 * 4);
    for (let i = 2 * 4; i < counts.length; i++) counts[i] = 1 + ((i * 7) % 5);
    await writeFile(file('load.json'), encodeLoad({ layers: 5, experts: 4, counts }));
    const to = async (name: string, format: string) => {
      expect(
        (
          await run(
            'plan',
            file('load.json'),
            '--gpus',
            '2',
            '--redundant',
            '2',
            '--out',
            file(name),
            '--format',
            format,
          )
        ).code,
      ).toBe(0);
      return bytes(name);
    };
    const sglang = await readSglangLocation(await to('map.json', 'sglang'));
    expect('slots' in sglang && sglang.slots).toMatchObject({ layers: 5, experts: 4, replicas: 6 });
    expect('slots' in sglang && [...sglang.slots.physicalToLogical.subarray(0, 6)]).toEqual([
      0, 1, 2, 3, 0, 1,
    ]);
    expect(await readSglangLocation(await to('map.pt', 'sglang-pt'))).toEqual(sglang);
    expect(readTensorRtLlm(await to('b.yaml', 'tensorrt-llm')).slots).toMatchObject({
      layers: 3,
      layerIds: [2, 3, 4],
    });
    expect(readVllmAscend(await to('a.json', 'vllm-ascend'))).toMatchObject({
      layers: 3,
      gpus: 2,
      layerIds: [0, 1, 2],
    });
  });
});

describe('other sources', () => {
  it('plans from a folder with statistics of TensorRT-LLM, layers by their index in the model', async () => {
    const folder = await mkdtemp(join(root, 'statistics-'));
    await writeFile(join(folder, 'meta_info.json'), '{"num_experts":4,"num_experts_per_token":2}');
    for (const rank of [0, 1]) await writeFile(join(folder, `rank${rank}.safetensors`), statistics(rank));
    const planned = await result(
      'plan',
      folder,
      '--gpus',
      '2',
      '--out',
      file('trt.yaml'),
      '--format',
      'tensorrt-llm',
    );
    expect(planned).toMatchObject({ source: 'TensorRT-LLM, 1 iteration', layers: [3, 4] });
    expect(readTensorRtLlm(await bytes('trt.yaml')).slots.layerIds).toEqual([3, 4]);
  });

  it('records a running SGLang server', async () => {
    const directory = await mkdtemp(join(root, 'records-'));
    const server = createServer(async (request, response) => {
      if (request.url === '/dump_expert_distribution_record') {
        await copyFile(stat, join(directory, 'expert_distribution_recorder_1764000000.5.pt'));
      }
      response
        .writeHead(/^\/(start|stop|dump)_expert_distribution_record$/.test(request.url ?? '') ? 200 : 404)
        .end('ok');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const to = ['--directory', directory, '--seconds', '0.02', '--out', file('recorded.json')];
      const { code, stdout, stderr } = await run('record', `http://127.0.0.1:${port}`, ...to);
      expect(code, stderr).toBe(0);
      expect(stdout).toMatch(/^stat, \d steps: 4 layers, 16 experts, \d+ routed tokens\n/);
      expect(decodeLoad(await readFile(file('recorded.json'), 'utf8'))).toMatchObject({
        layers: 4,
        experts: 16,
      });
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  /** Counts of one iteration of layers 3 and 4. */
  function statistics(rank: number): Uint8Array {
    const tensor = (at: number) => ({ dtype: 'I32', shape: [4], data_offsets: [at, at + 16] });
    const header = JSON.stringify({ '0_3': tensor(0), '0_4': tensor(16) });
    const counts = Int32Array.of(1, 2, 3 + rank, 4, 5, 6, 7 + rank, 8);
    return Buffer.concat([
      new Uint8Array(BigUint64Array.of(BigInt(header.length)).buffer),
      Buffer.from(header),
      new Uint8Array(counts.buffer),
    ]);
  }
});

describe('compare', () => {
  it('has the bound, migration and traffic of every policy, and a page', async () => {
    const compared = await result('compare', stat, ...machine, '--html', file('report.html'));
    const policies = compared['policies'] as Record<string, Record<string, number>>;
    expect(Object.keys(policies)).toEqual(['none', 'eplb', 'optimal', 'incremental']);
    expect(policies['none']!['moved']).toBe(0);
    expect(policies['optimal']!['gap']).toBeLessThanOrEqual(policies['eplb']!['gap']! + 1e-9);
    const page = await readFile(file('report.html'), 'utf8');
    expect(page).toContain('Layers against their bound');
    expect(page).not.toMatch(/NaN|undefined|<script/);
  });

  it('is a table for people', async () => {
    const { stdout } = await run('compare', stat, ...machine, '--policies', 'eplb,optimal');
    expect(stdout).toMatch(/^eplb .*\noptimal /m);
    expect(stdout).not.toContain('\nnone');
  });
});

describe('replay', () => {
  const raw = fixturePath('placement/drift/drift_bursty.counts.bin');
  const ep32 = ['--gpus', '32', '--nodes', '4', '--redundant', '32', '--groups', '8', '--model-layers', '58'];

  it('scores policies on raw counts as the reference does', async () => {
    const replayed = await result('replay', raw, '--shape', '360x4x256', ...ep32, '--policies', 'none,eplb');
    const { none, eplb } = replayed['policies'] as Record<string, Record<string, number>>;
    const { results } = JSON.parse(await readFile(fixturePath('placement/drift/baselines.json'), 'utf8')) as {
      results: Record<string, number | string>[];
    };
    const reference = (policy: string) =>
      results.find(
        (row) =>
          row['trace'] === 'drift_bursty' && row['deployment'] === 'prefill_ep32' && row['policy'] === policy,
      )!;
    for (const [ours, theirs] of [
      [eplb!, reference('eplb_hier_10min_window10')],
      [none!, reference('none')],
    ] as const) {
      expect(ours['efficiency']).toBeCloseTo(theirs['efficiency'] as number, 4);
      expect(ours['migrated']).toBeCloseTo(theirs['migrated_fraction_per_10min'] as number, 4);
      expect(ours['score']).toBeCloseTo(theirs['score'] as number, 4);
      expect(1000 * ours['largestStallSeconds']!).toBeCloseTo(theirs['max_stall_ms_58_layers'] as number, -1);
    }
    expect(none!['score']).toBeLessThan(eplb!['score']!);
  });

  it('takes a load a minute, and leaves dense layers out', async () => {
    const names: string[] = [];
    for (let minute = 0; minute < 12; minute++) {
      const counts = Float64Array.from({ length: 2 * 8 }, (_, i) =>
        i < 8 ? 0 : 10 + ((i * 3 + (minute >> 2)) % 7),
      );
      names.push(file(`minute_${minute}.json`));
      await writeFile(names.at(-1)!, encodeLoad({ layers: 2, experts: 8, counts }));
    }
    const replayed = await result('replay', ...names, '--gpus', '4', '--redundant', '4');
    expect(replayed).toMatchObject({ minutes: 12, layers: 1, experts: 8 });
  });

  it('needs more than ten minutes', async () => {
    const { code, stderr } = await run('replay', passes, '--passes', '1', '--gpus', '8', '--redundant', '8');
    expect(code).toBe(1);
    expect(stderr).toMatch(/more than 10 minutes.*got \d/);
  });
});

describe('convert', () => {
  it.each([
    ['sglang', 'sglang_init_expert_location_mapping.json'],
    ['vllm', 'vllm_state.json'],
    ['vllm-ascend', 'vllm_ascend_expert_map.json'],
  ])('writes %s as the engine does', async (format, golden) => {
    const from = fixturePath('placement/interop/vllm_ascend_expert_map.json');
    await result('convert', from, file('x.json'), '--format', format);
    expect(await readFile(file('x.json'), 'utf8')).toBe(
      (await readFile(fixturePath(`placement/interop/${golden}`), 'utf8')).trimEnd(),
    );
  });

  it('writes the layers of TensorRT-LLM by their index in the model', async () => {
    await result('convert', mapping, file('x.yaml'), '--format', 'tensorrt-llm', '--first-layer', '3');
    const golden = await readFile(fixturePath('placement/interop/trtllm_moe_load_balancer.yaml'), 'utf8');
    expect(await readFile(file('x.yaml'), 'utf8')).toBe(golden);
    await result('convert', file('x.yaml'), file('x.pt'), '--format', 'sglang-pt', '--model-layers', '7');
    const location = await readSglangLocation(await bytes('x.pt'));
    expect('slots' in location && location.slots.layers).toBe(7);
  });

  it('turns a dump into a load', async () => {
    await result('convert', stat, file('load.json'));
    expect(decodeLoad(await readFile(file('load.json'), 'utf8'))).toMatchObject({ layers: 4, experts: 16 });
  });
});

describe('what cannot be done', () => {
  it.each([
    [['nonsense'], 'unknown command', 'moestack place --help'],
    [['plan', 'x'], '--gpus', 'moestack place plan --help'],
    [['plan', '/nowhere', '--gpus', '8'], '/nowhere', 'placement/bad-file'],
    [['plan', mapping, '--gpus', '8'], 'an expert map', 'cli/bad-input'],
    [['plan', stat, '--gpus', '7'], 'multiple of gpus', 'placement/bad-config'],
    [['plan', stat, '--gpus', '8', '--redundant', '8', '--replicas', '24'], 'both', 'cli/bad-options'],
    [['plan', stat, '--gpus', '8', '--redundant', '0', '--previous', mapping], '24 slots', 'cli/bad-input'],
    [['plan', stat, '--gpus', '8', '--policy', 'best'], 'incremental', 'moestack place plan --help'],
    [['plan', stat, '--gpus', '8', '--out', '/nowhere/x'], 'does not exist', 'cli/bad-output'],
    [['compare', stat, passes, '--gpus', '8'], 'all ranks', 'placement/bad-file'],
    [['compare', stat, '--gpus', '8', '--policies', 'x'], 'Expected one of', 'moestack place compare --help'],
    [['replay', stat, '--gpus', '8', '--shape', '1x2'], '360x58x256', 'moestack place replay --help'],
    [['replay', stat, '--gpus', '8', '--shape', '11x4x16'], 'bytes', 'cli/bad-trace'],
    [['replay', stat, '--gpus', '8', '--passes', '2'], 'forward passes', 'cli/bad-trace'],
    [['convert', mapping, '/tmp/x.json'], '--gpus', 'cli/bad-options'],
    [['convert', stat, '/tmp/x.json', '--format', 'vllm'], 'place plan', 'cli/bad-options'],
    [['record', 'http://127.0.0.1:9', '--directory', '/nowhere'], 'folder of dumps', 'placement/bad-config'],
    [['record', 'nonsense', '--directory', '/tmp'], 'http URL', 'placement/bad-config'],
  ])('%j fails with what was wrong and what to do', async (args, message, remedy) => {
    const { code, stdout, stderr } = await run(...args);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/error: /);
    expect(stderr).toContain(message);
    expect(stderr).toContain(remedy);
  });
});
