import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fixturePath } from '@moestack/fixtures';
import { BenchmarkRecord, CheckpointInspection } from '@moestack/schemas';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const golden = fixturePath('fp8/checkpoint');
const model = fixturePath('model/interim-moe/fp8');
let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'moestack-fp8-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(
  args: readonly string[],
  input?: string,
  onStderr?: (kill: () => void) => void,
): Promise<Outcome> {
  const child = spawn(process.execPath, [cli, 'fp8', ...args], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout!.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr!.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
    onStderr?.(() => child.kill('SIGINT'));
  });
  child.stdin?.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

function events(stdout: string): Record<string, unknown>[] {
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Some hundred milliseconds of work: zeros that take no room on the disk. */
async function sparseModel(path: string): Promise<string> {
  const bytes = 2 ** 26;
  const header = JSON.stringify({ x: { dtype: 'BF16', shape: [bytes / 2], data_offsets: [0, bytes] } });
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.length));
  await writeFile(path, Buffer.concat([prefix, Buffer.from(header)]));
  await truncate(path, 8 + header.length + bytes);
  return path;
}

describe('moestack fp8 convert', () => {
  it('converts, says what it wrote, and finds it again', async () => {
    const to = join(root, 'bf16');
    const first = await run(['convert', golden, to, '--target', 'bf16']);
    expect(first).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/bf16: 5 tensors as bf16, 0\.2 MB written\n$/),
    });
    expect(first.stderr).toMatch(/^converting: \d+% of 0\.2 MB\n/);
    expect(first.stderr).toMatch(/converting: 100% of 0\.2 MB\n$/);
    expect(await readdir(to)).toContain('model.safetensors.index.json');
    const again = await run(['convert', golden, to, '--target', 'bf16', '--json']);
    expect(events(again.stdout).at(-1)).toMatchObject({ event: 'converted', tensors: 5, bytesWritten: 0 });
    expect(again.stderr).toBe('');
  });

  it('an interruption ends it with 130 and the advice to run it again, which completes it', async () => {
    const to = join(root, 'interrupted');
    const args = ['convert', await sparseModel(join(root, 'sparse.safetensors')), to, '--target', 'f32'];
    let told = false;
    const stopped = await run(args, undefined, (kill) => {
      if (!told) kill();
      told = true;
    });
    expect(stopped).toMatchObject({ code: 130, stdout: '' });
    expect(stopped.stderr).toMatch(
      /error: interrupted before the end\nrun the same command again.*\(cli\/interrupted\)\n$/,
    );
    expect(await run(args)).toMatchObject({ code: 0 });
    expect((await readdir(to)).some((name) => name.endsWith('.partial'))).toBe(false);
  });
});

describe('moestack fp8 inspect', () => {
  it('prints a table and writes a report and a page', async () => {
    const [report, html] = [join(root, 'report.json'), join(root, 'report.html')];
    const { code, stdout, stderr } = await run([
      'inspect',
      model,
      '--rows',
      '3',
      '--report',
      report,
      '--html',
      html,
    ]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^201 tensors/);
    expect(stderr).toContain(`written: ${html}`);
    const inspection = CheckpointInspection.parse(JSON.parse(await readFile(report, 'utf8')));
    expect(inspection).toMatchObject({ source: model, scheme: { format: 'e4m3fn', tile: [128, 128] } });
    expect(await readFile(html, 'utf8')).toContain('<svg');
  });

  it('measures against an original, of some tensors, in another scheme', async () => {
    const args = [
      'inspect',
      model,
      '--against',
      fixturePath('model/interim-moe'),
      '--match',
      'experts.1.',
      '--json',
    ];
    const { code, stdout } = await run([
      ...args,
      '--format',
      'e5m2',
      '--tile',
      '1x64',
      '--scale',
      'powerOfTwo',
    ]);
    expect(code).toBe(0);
    const last = events(stdout).at(-1) as { event: string; inspection: CheckpointInspection };
    expect(last.inspection.scheme).toEqual({ format: 'e5m2', tile: [1, 64], scale: 'powerOfTwo' });
    expect(last.inspection.tensors).toHaveLength(9);
    expect(last.inspection.tensors.every(({ against }) => against!.relativeError > 0.02)).toBe(true);
  });
});

describe('moestack fp8 eval', () => {
  it('compares two models on a text and writes the record, which names data and command', async () => {
    const data = join(root, 'two words.txt');
    await writeFile(
      data,
      'The people of the United States have reason to be proud of what they have done. '.repeat(5),
    );
    const out = join(root, 'record.json');
    const args = ['eval', model, '--baseline', fixturePath('model/interim-moe'), '--data', data];
    const { code, stdout, stderr } = await run([
      ...args,
      '--license',
      'CC0-1.0',
      '--context',
      '64',
      '--out',
      out,
    ]);
    expect({ code, stderr: stderr.includes('scoring: 100%') }).toEqual({ code: 0, stderr: true });
    expect(stdout).toMatch(/kl-divergence +0\.\d+ +nats\/token/);
    const record = BenchmarkRecord.parse(JSON.parse(await readFile(out, 'utf8')));
    expect(record.dataset).toMatchObject({ name: 'two words.txt', license: 'CC0-1.0', documents: 1 });
    expect(record.settings).toEqual({ contextTokens: 64, strideTokens: 32, maxTokens: null });
    expect(record.createdWith.command).toContain(`--data '${data}' --context 64 --license CC0-1.0`);
  });
});

describe('moestack fp8 encode and decode', () => {
  it('take numbers from the command line, negative ones too', async () => {
    const { code, stdout } = await run(['encode', 'e4m3fn', '0.1', '-448', '1e9']);
    expect(code).toBe(0);
    expect(
      stdout
        .split('\n')
        .slice(2, 5)
        .map((line) => line.trim().split(/ +/)),
    ).toEqual([
      ['0.1', '0x1d', '0.1015625', '1.56e-3'],
      ['-448', '0xfe', '-448', '0'],
      ['1000000000', '0x7e', '448', '-1.00e+9'],
    ]);
  });

  it('take them from standard input, and write JSON that has no NaN', async () => {
    const { stdout } = await run(
      ['encode', 'e5m2', '--overflow', 'nonSaturating', '--json'],
      '1e9, -inf\nnan -0\n',
    );
    expect(events(stdout)).toEqual([
      {
        event: 'encoded',
        format: 'e5m2',
        results: [
          { input: 1e9, code: 0x7c, hex: '0x7c', value: 'Infinity' },
          { input: '-Infinity', code: 0xfc, hex: '0xfc', value: '-Infinity' },
          { input: 'NaN', code: 0x7e, hex: '0x7e', value: 'NaN' },
          { input: '-0', code: 0x80, hex: '0x80', value: '-0' },
        ],
      },
    ]);
  });

  it('round by preset, mode and seed', async () => {
    const preset = await run(['encode', 'e4m3fn', '500', '--preset', 'ml_dtypes', '--json']);
    expect(events(preset.stdout)[0]).toMatchObject({ results: [{ code: 0x7f, value: 'NaN' }] });
    const up = await run(['encode', 'e4m3fn', '0.1001', '--rounding', 'up', '--json']);
    expect(events(up.stdout)[0]).toMatchObject({ results: [{ value: 0.1015625 }] });
    const stochastic = [
      'encode',
      'e4m3fn',
      ...Array<string>(40).fill('1.05'),
      '--rounding',
      'stochastic',
      '--json',
    ];
    const [a, b, c] = await Promise.all(['1', '1', '2'].map((seed) => run([...stochastic, '--seed', seed])));
    expect(a!.stdout).toBe(b!.stdout);
    expect(a!.stdout).not.toBe(c!.stdout);
    expect(a!.stdout).toContain('"value":1.125');
  });

  it('shows the fields of codes', async () => {
    const { stdout } = await run(['decode', 'e4m3fn', '0x7e', '0b1', '255', '--json']);
    expect(events(stdout)[0]).toMatchObject({
      results: [
        { code: 126, fields: '0 1111 110', value: 448, class: 'normal' },
        { code: 1, fields: '0 0000 001', value: 2 ** -9, class: 'subnormal' },
        { code: 255, fields: '1 1111 111', value: 'NaN', class: 'NaN' },
      ],
    });
  });
});

describe('moestack fp8 formats and matmul-error', () => {
  it('formats lists all, or the codes of one', async () => {
    const all = await run(['formats']);
    expect(all.stdout).toMatch(/^e5m6 +12 +1-5-6 +15 +65024 +2\^-14 +2\^-20 /m);
    expect(all.stdout.trim().split('\n')).toHaveLength(2 + 14);
    const one = events((await run(['formats', 'e2m1fn', '--json'])).stdout)[0] as { codes: unknown[] };
    expect(one.codes).toHaveLength(16);
  });

  it('matmul-error has a row for each combination', async () => {
    const lists = ['--k', '256,512', '--promote', '0,128', '--distribution', 'normal,uniform', '--size', '8'];
    const { code, stdout } = await run(['matmul-error', ...lists, '--json']);
    expect(code).toBe(0);
    const { results } = events(stdout).at(-1) as { results: Record<string, unknown>[] };
    expect(results).toHaveLength(8);
    expect(results[0]).toMatchObject({
      distribution: 'normal',
      accumulate: 'hopper',
      promoteEvery: null,
      k: 256,
    });
    const text = await run(['matmul-error', '--k', '256', '--mean', '0.5', '--architecture', 'ada,f32']);
    expect(text.stdout).toMatch(/^normal, mean 0\.5 +ada +none +256 /m);
  });
});
