import { EventEmitter } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { fixturePath } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import { runCli } from '../src/index.js';

async function run(args: readonly string[], input?: string) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const stdin = input === undefined ? {} : { stdin: Readable.from([input]) };
  const code = await runCli(['fp8', ...args], { stdout, stderr, signals: new EventEmitter(), ...stdin });
  return { code, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') };
}

describe('help', () => {
  it.each(['convert', 'inspect', 'eval', 'encode', 'decode', 'formats', 'matmul-error'])(
    'fp8 %s --help shows an example of it',
    async (command) => {
      const { code, stdout } = await run([command, '--help']);
      expect(code).toBe(0);
      expect(stdout).toContain(`$ moestack fp8 ${command}`);
      expect(stdout).toContain('--json');
    },
  );

  it('fp8 --help lists the commands', async () => {
    const { code, stdout } = await run(['--help']);
    expect(code).toBe(0);
    for (const command of ['convert', 'inspect', 'eval', 'encode', 'decode', 'formats', 'matmul-error']) {
      expect(stdout).toContain(`\n  ${command} `);
    }
  });
});

const bf16 = fixturePath('model/interim-moe');

describe('what cannot be done', () => {
  it.each([
    [['nonsense'], 'unknown command', 'moestack fp8 --help'],
    [['convert', 'a', 'b'], '--target', 'moestack fp8 convert --help'],
    [['convert', 'a', 'b', '--target', 'int4'], 'fp8-block', 'moestack fp8 convert --help'],
    [['convert', '/nowhere', 'b', '-t', 'bf16'], '/nowhere', 'fp8/missing-file'],
    [['convert', bf16, bf16, '-t', 'f32'], 'to and from to differ', 'fp8/same-folder'],
    [['inspect', '/nowhere'], '/nowhere', 'fp8/missing-file'],
    [['inspect', bf16, '--tile', '0x1'], 'rows and columns', 'moestack fp8 inspect --help'],
    [['inspect', bf16, '--format', 'e8m0fnu'], 'e4m3fn', 'moestack fp8 inspect --help'],
    [['inspect', bf16, '--match', 'no such name'], 'no such name', 'cli/no-match'],
    [['inspect', bf16, '--html', '/nowhere/x.html'], 'does not exist', 'cli/bad-output'],
    [['inspect', bf16, '--report', '/'], 'folder', 'cli/bad-output'],
    [['eval', bf16], '--data', 'moestack fp8 eval --help'],
    [['eval', bf16, '--data', '/nowhere'], '/nowhere', 'cli/bad-data'],
    [['eval', '/nowhere', '--data', '/nowhere'], '/nowhere', 'model/missing-file'],
    [['eval', bf16, '--data', 'x', '--context', '1000'], '256', 'cli/bad-options'],
    [['encode', 'e9m9', '1'], 'e4m3fn', 'moestack fp8 encode --help'],
    [['encode', 'e4m3fn'], 'got none', 'cli/no-input'],
    [['encode', 'e4m3fn', 'one'], '"one"', 'cli/bad-number'],
    [['encode', 'e4m3fn', '1', '--preset', 'ml_dtypes', '--rounding', 'up'], 'preset', 'fp8/'],
    [['encode', 'e4m3fn', '1', '--preset', 'nvidia-rz'], 'e8m0fnu', 'fp8/'],
    [['decode', 'e2m1fn', '16'], '0 to 15', 'cli/bad-code'],
    [['decode', 'e4m3fn', '-1'], '"-1"', 'cli/bad-code'],
    [['formats', 'fp8'], 'e4m3fn', 'moestack fp8 formats --help'],
    [['matmul-error', '--k', '0'], 'from 1', 'moestack fp8 matmul-error --help'],
    [['matmul-error', '--architecture', 'volta'], 'blackwell', 'moestack fp8 matmul-error --help'],
    [['matmul-error', '--mean', 'x'], 'a number', 'moestack fp8 matmul-error --help'],
    [['matmul-error', '--k', '16777216', '--size', '4096'], 'size', 'fp8/bad-shape'],
  ])('%j fails with what was wrong and what to do', async (args, message, remedy) => {
    const { code, stdout, stderr } = await run(args, '');
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^error: /);
    expect(stderr).toContain(message);
    expect(stderr).toContain(remedy);
  });

  it('is one JSON object with --json', async () => {
    const { code, stdout, stderr } = await run(['decode', 'e4m3fn', '256', '--json']);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({
      event: 'error',
      code: 'cli/bad-code',
      remedy: expect.any(String),
    });
  });
});

describe('numbers on standard input', () => {
  it('may be parted by anything white, or commas', async () => {
    const { stdout } = await run(['decode', 'e4m3fn', '--json'], '0x38,56\t0b111000\r\n');
    expect(JSON.parse(stdout)).toMatchObject({ results: [{ value: 1 }, { value: 1 }, { value: 1 }] });
  });
});
