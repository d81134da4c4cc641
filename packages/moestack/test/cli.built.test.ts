import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';
import { afterEach, describe, expect, it } from 'vitest';

const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

function start(...args: string[]) {
  const child = spawn(process.execPath, [cli, ...args], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  const stdout: string[] = [];
  const stderr: string[] = [];
  const lines: Interface = createInterface(child.stdout);
  lines.on('line', (line) => stdout.push(line));
  createInterface(child.stderr).on('line', (line) => stderr.push(line));
  const exited = once(child, 'close') as Promise<[number | null, string | null]>;
  const line = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      for (const candidate of stdout) {
        const match = pattern.exec(candidate);
        if (match !== null) return match;
      }
      if (child.exitCode !== null)
        throw new Error(`ended without ${pattern}: ${stdout.concat(stderr).join('\n')}`);
      await Promise.race([once(lines, 'line'), exited]);
    }
  };
  return { child, stdout, stderr, exited, line };
}

async function serve(...args: string[]) {
  const server = start('serve', '--port', '0', ...args);
  const match = await server.line(
    /listening on (http:\/\/127\.0\.0\.1:(\d+))$|"event":"listening","url":"([^"]+)"/,
  );
  const url = match[1] ?? match[3] ?? '';
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
  return { ...server, url, client };
}

describe('moestack serve', () => {
  it('says once where it listens, what it serves, and how to try it', async () => {
    const { stdout, client, url, child, exited, line } = await serve();
    await line(/^try: curl/);
    expect(stdout[0]).toBe(`listening on ${url}`);
    expect(stdout[1]).toBe(`dashboard: ${url}/`);
    expect(stdout[2]).toMatch(/^serving tiny-moe: context 512 tokens/);
    expect(stdout[3]).toContain(`${url}/v1/completions`);
    expect(stdout).toHaveLength(4);
    expect((await client.models.list()).data.map((model) => model.id)).toEqual(['tiny-moe']);
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
  });

  it('gives the printed curl line an answer', async () => {
    const { line } = await serve();
    const [, command] = await line(/^try: (curl .*)$/);
    const curl = spawn('sh', ['-c', command ?? ''], { stdio: ['ignore', 'pipe', 'inherit'] });
    let body = '';
    curl.stdout.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    const [code] = (await once(curl, 'close')) as [number];
    // 127: no curl on this machine.
    if (code === 127) return;
    expect(JSON.parse(body)).toMatchObject({
      object: 'text_completion',
      choices: [{ finish_reason: 'length' }],
    });
  });

  it('answers from several ranks what it answers from one, and moves experts meanwhile', async () => {
    const one = await serve();
    const several = await serve(
      ...['--prefill-ranks', '2', '--decode-ranks', '2', '--redundant-experts', '2'],
      ...['--rebalance-seconds', '1'],
    );
    await several.line(/ranks: 2 x prefill and 2 x decode/);
    const ask = async (client: OpenAI, subject: string) => {
      const body = {
        model: 'tiny-moe',
        prompt: `In those days the ${subject}`,
        max_tokens: 24,
        temperature: 0,
      };
      return (await client.completions.create(body)).choices[0]?.text;
    };
    const subjects = ['people', 'King', 'ship', 'law'];
    const expected = await Promise.all(subjects.map((subject) => ask(one.client, subject)));
    const moved = () => several.stdout.concat(several.stderr).some((line) => /moved \d+ experts/.test(line));
    do {
      const answers = await Promise.all(subjects.map((subject) => ask(several.client, subject)));
      expect(answers).toEqual(expected);
    } while (!moved());
    several.child.kill('SIGTERM');
    expect(await several.exited).toEqual([0, null]);
  });

  it('serves several models from one file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'moestack-'));
    const file = join(folder, 'two.yaml');
    await writeFile(
      file,
      'schemaVersion: 1\nbackends: [{type: embedded, name: a}, {type: embedded, name: b}]',
    );
    const { client, child, exited } = await serve('--config', file);
    await rm(folder, { recursive: true });
    expect((await client.models.list()).data.map(({ id }) => id)).toEqual(['a', 'b']);
    for (const model of ['a', 'b']) {
      const { choices } = await client.completions.create({ model, prompt: 'It was', max_tokens: 2 });
      expect(choices[0]!.text).not.toBe('');
    }
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
  });

  it('writes only JSON with --json', async () => {
    const { stdout, child, exited, stderr } = await serve('--json', '--name', 'mine');
    child.kill('SIGINT');
    expect(await exited).toEqual([0, null]);
    const events = stdout.map((text) => JSON.parse(text) as { event: string });
    expect(events.filter((event) => event.event === 'listening')).toHaveLength(1);
    expect(events.at(-1)).toEqual({ event: 'stopped' });
    expect(events.find((event) => event.event === 'serving')).toMatchObject({
      model: 'mine',
      contextTokens: 512,
      ranks: ['prefill', 'decode'],
    });
    expect(stderr).toEqual([]);
  });

  it('finishes the stream in flight before it stops', async () => {
    const { client, child, exited } = await serve();
    const stream = await client.completions.create({
      model: 'tiny-moe',
      prompt: 'The people',
      max_tokens: 200,
      temperature: 0,
      stream: true,
    });
    let reason: string | null = null;
    let chunks = 0;
    for await (const chunk of stream) {
      if (chunks++ === 0) child.kill('SIGTERM');
      reason = chunk.choices[0]?.finish_reason ?? reason;
    }
    expect(reason).toBe('length');
    expect(await exited).toEqual([0, null]);
  });

  it('stops while it loads', async () => {
    const { child, exited, line } = start('serve', '--port', '0', '--json');
    await line(/"event":"loading"/);
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
  });

  it('names a port that is taken, and what to do', async () => {
    const { url } = await serve();
    const port = new URL(url).port;
    const plain = start('serve', '--port', port);
    expect(await plain.exited).toEqual([1, null]);
    expect(plain.stderr.join('\n')).toMatch(
      new RegExp(`port ${port} on 127.0.0.1 is taken\\n.*another port`),
    );
    const json = start('serve', '--port', port, '--json');
    expect(await json.exited).toEqual([1, null]);
    expect(JSON.parse(json.stdout.at(-1) ?? '')).toMatchObject({
      event: 'error',
      code: 'serving/port-taken',
    });
  });

  it('says what is wrong with a model, and what to do', async () => {
    const plain = start('serve', '--port', '0', '--model', '/nowhere');
    expect(await plain.exited).toEqual([1, null]);
    expect(plain.stderr.join('\n')).toMatch(/^error: .*\/nowhere.*\n.*\(model\/missing-file\)$/);
    expect(plain.stdout).toEqual([]);
    const json = start('serve', '--port', '0', '--context', '100000', '--json');
    expect(await json.exited).toEqual([1, null]);
    expect(JSON.parse(json.stdout.at(-1) ?? '')).toMatchObject({
      event: 'error',
      code: 'serving/bad-options',
    });
    expect(json.stderr).toEqual([]);
  });

  it('passes its sizes on', async () => {
    const { client } = await serve('--context', '32', '--max-batch', '2', '--mixed', '--max-waiting', '1');
    const prompt = Array<number>(33).fill(100);
    await expect(client.completions.create({ model: 'tiny-moe', prompt })).rejects.toMatchObject({
      code: 'context_length_exceeded',
    });
  });
});

describe('moestack doctor', () => {
  it('checks the machine', async () => {
    const { stdout, exited } = start('doctor', '--json');
    expect(await exited).toEqual([0, null]);
    const events = stdout.map((text) => JSON.parse(text) as { event: string; status?: string });
    expect(events.at(-1)).toEqual({ event: 'doctor', ok: true });
    expect(events.slice(0, -1).every((event) => event.event === 'check' && event.status !== 'fail')).toBe(
      true,
    );
    expect(events).toHaveLength(7);
  });
});
