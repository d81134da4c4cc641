import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { runCli } from '../src/index.js';

async function run(...args: string[]) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const code = await runCli(args, { stdout, stderr, signals: new EventEmitter() });
  return { code, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') };
}

describe('help', () => {
  it.each([
    [['--help'], 'moestack serve'],
    [['serve', '--help'], 'moestack serve --port 0 --json'],
    [['doctor', '--help'], 'moestack doctor --json'],
  ])('%j shows an example', async (args, example) => {
    const { code, stdout } = await run(...args);
    expect(code).toBe(0);
    expect(stdout).toContain('Examples:');
    expect(stdout).toContain(example);
  });
});

describe('bad command lines', () => {
  it.each([
    [['serve', '--port', '70000'], '0 to 65535'],
    [['serve', '--port', 'x'], '0 to 65535'],
    [['serve', '--port', '-1'], '0 to 65535'],
    [['serve', '--max-batch', '1.5'], '1 to 4096'],
    [['serve', '--precision', 'int4'], 'fp8-weights'],
    [['serve', '--drain-seconds', 'NaN'], 'number of seconds'],
    [['serve', '--what'], 'unknown option'],
    [['serve', 'extra'], 'too many arguments'],
    [['server'], 'unknown command'],
  ])('%j fails with what was wrong and where to look', async (args, message) => {
    const { code, stdout, stderr } = await run(...args);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain(message);
    expect(stderr).toContain('--help');
  });

  it('are one JSON object with --json', async () => {
    const { code, stdout, stderr } = await run('serve', '--port', '70000', '--json');
    expect(code).toBe(1);
    expect(stderr).toBe('');
    expect(stdout.trim().split('\n')).toHaveLength(1);
    expect(JSON.parse(stdout)).toMatchObject({
      event: 'error',
      code: 'cli/invalidArgument',
      remedy: expect.any(String),
    });
  });
});

describe('a model that cannot be loaded', () => {
  it('is an error with a remedy', async () => {
    const { code, stderr } = await run('serve', '--model', '/nowhere/at/all', '--port', '0');
    expect(code).toBe(1);
    expect(stderr).toContain('/nowhere/at/all');
    expect(stderr).toMatch(/\(model\/missing-file\)/);
  });
});
