import { EventEmitter } from 'node:events';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { loadModel, loadTokenizer } from '@moestack/model';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../src/index.js';

let folder: string;
const signals = new EventEmitter();

async function run(...args: string[]) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const code = await runCli(['train', ...args], { stdout, stderr, signals });
  return { code, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') };
}

const path = (...names: string[]): string => join(folder, ...names);
const write = (name: string, value: unknown): string => {
  writeFileSync(path(name), typeof value === 'string' ? value : JSON.stringify(value));
  return path(name);
};
const configOf = (name: string, change: Record<string, unknown> = {}) => ({
  schemaVersion: 1,
  name,
  model: {
    vocabularySize: 300,
    hiddenSize: 32,
    layers: 2,
    heads: 2,
    keyValueRank: 16,
    nopeDims: 8,
    ropeDims: 4,
    valueDims: 8,
    denseWidth: 64,
    experts: 4,
    topK: 2,
    expertWidth: 32,
  },
  recipe: { name: 'deepseek-v3' },
  steps: 8,
  batchSequences: 2,
  contextTokens: 16,
  seeds: { weights: 1, data: 1 },
  data: { tokenizer: 'corpus/tokenizer.json', train: 'corpus/train.tokens' },
  checkpoint: { everySteps: 2 },
  ...change,
});
/** Records of steps without what a clock measured. */
const stepsOf = (name: string): string[] => {
  const steps = new Map<number, string>();
  for (const line of readFileSync(path('runs', name, 'log.jsonl'), 'utf8')
    .trim()
    .split('\n')) {
    const { seconds: _, tokensPerSecond: __, ...event } = JSON.parse(line);
    if (event.type === 'step') steps.set(event.step, JSON.stringify(event));
  }
  return [...steps.values()];
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'train-commands-'));
  const sentences = Array.from({ length: 500 }, (_, i) => `Boat ${i % 37} met boat ${(i * i) % 41} at noon.`);
  write('text.txt', sentences.join('\n'));
  write('corpus.json', {
    schemaVersion: 1,
    name: 'boats',
    sources: [{ type: 'files', paths: ['text.txt'], license: 'MIT' }],
    vocabularySize: 300,
  });
  const { code, stderr, stdout } = await run(
    'prepare',
    '--config',
    path('corpus.json'),
    '--cache',
    path('cache'),
  );
  expect([code, stderr.includes('encoding')]).toEqual([0, false]);
  expect(stdout).toContain('licences: MIT');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('help', () => {
  it.each([
    [['--help'], '$ moestack train --config'],
    [['prepare', '--help'], '$ moestack train prepare'],
    [['export', '--help'], '$ moestack train export'],
    [['plot', '--help'], '$ moestack train plot'],
  ])('%j shows an example', async (args, example) => {
    const { code, stdout } = await run(...args);
    expect(code).toBe(0);
    expect(stdout).toContain(example);
    expect(stdout).toContain('--json');
  });
});

describe('train', () => {
  const directory = () => path('runs');

  it('trains, logs, draws, and does a list of runs that goes on where it ended', async () => {
    const configs = ['a', 'b'].map((name) => write(`${name}.json`, configOf(name)));
    const first = await run('--config', configs[0]!, '--directory', directory());
    expect(first.code).toBe(0);
    expect(first.stdout).toMatch(/^a: 8 steps, 256 tokens, loss \d/);
    expect(first.stderr).toMatch(/a 8\/8: loss .* tokens\/s, norm .*, MaxVio/);
    expect(readFileSync(path('runs', 'a', 'plot.html'), 'utf8')).toContain('<svg');

    const again = await run('--config', ...configs, '--directory', directory());
    expect(again.code).toBe(1);
    expect(again.stderr).toContain('cli/run-exists');
    expect(existsSync(path('runs', 'b'))).toBe(false);

    const both = await run('--config', ...configs, '--directory', directory(), '--resume', '--json');
    const events = both.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(both.code).toBe(0);
    expect(events[0]).toMatchObject({ event: 'complete-already', run: 'a' });
    expect(events.filter(({ record }) => record?.type === 'step')).toHaveLength(8);
    expect(events.at(-1)).toMatchObject({ event: 'plotted', runs: ['a', 'b'] });
    expect(stepsOf('b')).toEqual(stepsOf('a'));
  });

  it('ends with a checkpoint at a signal, and goes on bit for bit, also after half a line', async () => {
    const config = write('c.json', configOf('c', { steps: 2000 }));
    const running = run('--config', config, '--directory', directory());
    const isUnderWay = () => existsSync(path('runs', 'c', 'log.jsonl')) && stepCount('c') >= 3;
    while (!isUnderWay()) await new Promise((resolve) => setTimeout(resolve, 5));
    signals.emit('SIGTERM');
    const { code, stderr } = await running;
    expect(code).toBe(130);
    expect(stderr).toMatch(/c: stopped after step \d+ of 2000, checkpoint written/);
    expect(stderr).toMatch(
      /a checkpoint is written: run the same command with --resume.*\(cli\/interrupted\)/,
    );
    expect(stderr).not.toContain('conversion');

    const stopped = stepCount('c');
    appendFileSync(path('runs', 'c', 'log.jsonl'), '{"type":"step","st');
    const next = run('--config', config, '--directory', directory(), '--resume');
    while (stepCount('c') < stopped + 5) await new Promise((resolve) => setTimeout(resolve, 5));
    signals.emit('SIGINT');
    expect((await next).code).toBe(130);

    const whole = run(
      '--config',
      write('w.json', configOf('w', { steps: 2000 })),
      '--directory',
      directory(),
    );
    while (!existsSync(path('runs', 'w', 'log.jsonl')) || stepCount('w') < stopped + 5)
      await new Promise((resolve) => setTimeout(resolve, 5));
    signals.emit('SIGTERM');
    await whole;
    expect(stepsOf('c').slice(0, stopped + 5)).toEqual(stepsOf('w').slice(0, stopped + 5));
  });

  const stepCount = (name: string): number =>
    readFileSync(path('runs', name, 'log.jsonl'), 'utf8').split('"type":"step"').length - 1;

  it('writes a model that the model package runs', async () => {
    await run('--config', write('d.json', configOf('d')), '--directory', directory());
    const { code, stdout } = await run('export', path('runs', 'd'), path('model'));
    expect([code, stdout]).toEqual([0, `${path('model')}: d after 8 steps, as fp8\n`]);
    const tokenizer = await loadTokenizer(path('model'));
    const model = await loadModel(path('model'));
    const tokens = await model.generate(tokenizer.encode('Boat 1'), { maxTokens: 4 });
    expect(tokens.length).toBeGreaterThan(0);
    await model.close();
  });

  it('draws runs over each other and compares them', async () => {
    const names = ['bf16', 'deepseek-v3'];
    const files = names.map((name) => write(`${name}.json`, configOf(name, { recipe: { name } })));
    await run('--config', ...files, '--directory', path('experiment'));
    const { code, stdout } = await run(
      'plot',
      path('experiment'),
      '--out',
      path('plot.html'),
      '--last',
      '0.5',
    );
    expect(code).toBe(0);
    expect(stdout).toContain('last 50 % of the steps against bf16');
    expect(stdout).toMatch(/deepseek-v3 +1\/1 .* -?0\.\d+ %/);
    expect(readFileSync(path('plot.html'), 'utf8')).toContain('Loss against bf16');
  });

  it.each([
    [[], 'cli/missing-config'],
    [['--config', '/nowhere.json'], 'cli/bad-config'],
    [['prepare'], '--config'],
    [['plot', '/nowhere'], 'cli/no-run'],
    [['export', '/nowhere', '/x'], 'cli/bad-config'],
    [['plot', 'x', '--last', '2'], 'at most 1'],
  ])('%j fails with what was wrong', async (args, message) => {
    const { code, stdout, stderr } = await run(...args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(message);
  });

  it.each([
    [{ steps: 0 }, 'steps'],
    [{ data: undefined }, 'names no data'],
    [{ data: { tokenizer: 'x', train: 'nowhere/train.tokens' } }, 'moestack train prepare'],
    [{ name: '../up' }, 'letters, digits'],
    [{ model: { ...configOf('x').model, vocabularySize: 200 } }, 'at least 300'],
  ])('refuses a configuration with %j before anything is written', async (change, message) => {
    const { code, stderr } = await run(
      '--config',
      write('bad.json', configOf('bad', change)),
      '--directory',
      path('untouched'),
    );
    expect(code).toBe(1);
    expect(stderr).toContain(message);
    expect(existsSync(path('untouched'))).toBe(false);
  });
});
