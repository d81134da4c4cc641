import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { runCli } from '../src/index.js';

async function help(path: readonly string[]): Promise<string> {
  const stdout = new PassThrough();
  const code = await runCli([...path, '--help'], {
    stdout,
    stderr: new PassThrough(),
    signals: new EventEmitter(),
  });
  expect(code).toBe(0);
  return String(stdout.read() ?? '');
}

/** The commands below this one, as its help lists them. */
function subcommands(text: string): string[] {
  const block = /^Commands:\n((?: .*\n?)+)/m.exec(text)?.[1] ?? '';
  return [...block.matchAll(/^ {2}([a-z][a-z0-9-]*)/gm)]
    .map((match) => match[1]!)
    .filter((name) => name !== 'help');
}

/** Every command with its help. */
async function walk(path: readonly string[] = []): Promise<[path: string, text: string][]> {
  const text = await help(path);
  const below: [string, string][] = [];
  for (const name of subcommands(text)) below.push(...(await walk([...path, name])));
  return [[path.join(' '), text], ...below];
}

const commands = await walk();

/** A command that only holds others runs nothing itself. */
const running = commands.filter(([path, text]) => path !== '' && !/^Usage: .* \[command\]/m.test(text));

it.each([[], ['fp8'], ['place']])(
  'is shown where a command is missing: moestack %s',
  async (...path: string[]) => {
    const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
    expect(await runCli(path, { ...streams, signals: new EventEmitter() })).toBe(1);
    const text = String(streams.stderr.read());
    expect(text).toContain(await help(path));
    expect(text).toMatch(/\nerror: expected a command after moestack.*\n.*cli\/no-command/);
  },
);

describe('the help of every command', () => {
  it('is reached from that of the program', () => {
    const paths = commands.map(([path]) => path);
    for (const path of [
      'serve',
      'bench',
      'plan',
      'simulate',
      'doctor',
      'fp8 convert',
      'place replay',
      'train export',
      'detect audit',
    ])
      expect(paths).toContain(path);
  });

  it.each(commands)('moestack %s shows an example of it', (path, text) => {
    const examples = /\nExamples:\n((?: .*\n?)+)/.exec(text)?.[1] ?? '';
    expect(examples).toContain(`moestack ${path}`.trimEnd());
  });

  it.each(running)('moestack %s takes --json', (_, text) => {
    expect(text).toMatch(/^ {2}--json /m);
  });
});
