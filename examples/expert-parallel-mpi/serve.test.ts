import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createEmbeddedBackend } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('serve.js', import.meta.url));
const launchers = ['mpirun.openmpi', 'mpiexec.mpich'].filter(
  (command) => spawnSync(command, ['--version']).status === 0,
);
const isRequired = (process.env['MOESTACK_REQUIRE'] ?? '').split(',').includes('mpi');
const RANKS = 4;
const subjects = ['people', 'King', 'ship', 'house', 'war', 'law', 'river', 'church', 'child', 'city'];
let expected: string[];
/** More than one message holds, and long enough for several steps. */
const prompts = Array.from({ length: 40 }, (_, i) =>
  `In those days the ${subjects[i % subjects.length]} of number ${i} `.repeat(1 + (i % 3)),
);
const few = prompts.slice(0, 8);

let job: ChildProcess | undefined;
afterEach(() => {
  job?.kill('SIGKILL');
  job = undefined;
});

interface Job {
  readonly child: ChildProcess;
  readonly url: string;
  readonly pids: number[];
  /** All that it has printed so far. */
  readonly output: () => string;
}

async function start(command: string, options: readonly string[] = []): Promise<Job> {
  const extra = command.includes('openmpi') ? ['--oversubscribe', '--allow-run-as-root'] : [];
  const ranks = ['-n', String(RANKS), process.execPath, program, '--port', '0'];
  const child = spawn(command, [...extra, ...ranks, ...options], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  job = child;
  let output = '';
  const found = await new Promise<RegExpExecArray>((resolve, reject) => {
    const read = (chunk: unknown) => {
      output += String(chunk);
      const line = /processes ([\d ]+) serve at (http:\S+)/.exec(output);
      if (line !== null) resolve(line);
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    child.once('exit', () => reject(new Error(output)));
  });
  return { child, url: found[2]!, pids: found[1]!.split(' ').map(Number), output: () => output };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function complete(url: string, prompt: string): Promise<string> {
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'moe', prompt, max_tokens: 16, temperature: 0 }),
  });
  const { choices } = (await response.json()) as { choices: { text: string }[] };
  return choices[0]!.text;
}

/** The same requests on ranks in threads. */
async function onThreads(): Promise<string[]> {
  const backend = await createEmbeddedBackend({
    modelDirectory: tinyMoe,
    name: 'moe',
    stages: 'mixed',
    decodeRanks: RANKS,
  });
  const texts = await Promise.all(
    prompts.map(async (text) => {
      let answer = '';
      const request = {
        requestId: 'r',
        model: 'moe',
        prompt: { type: 'text', text } as const,
        maxTokens: 16,
      };
      const events = backend.generate(
        { ...request, sampling: { temperature: 0 }, stop: [] },
        { signal: new AbortController().signal },
      );
      for await (const event of events) if (event.type === 'delta') answer += event.text;
      return answer;
    }),
  );
  await backend.close();
  return texts;
}

describe('the server over MPI', () => {
  if (launchers.length === 0) {
    it('needs mpirun, which is not installed', (context) => {
      if (isRequired) throw new Error('MOESTACK_REQUIRE names mpi, but mpirun is not installed');
      context.skip();
    });
    return;
  }

  beforeAll(async () => {
    expected = await onThreads();
  });

  it.each(launchers)(
    'answers over four processes of %s as over four threads, and ends on SIGTERM',
    async (command) => {
      const { child, url, pids } = await start(command);
      expect(pids).toHaveLength(RANKS);
      expect(await Promise.all(prompts.map((prompt) => complete(url, prompt)))).toEqual(expected);
      expect((await fetch(`${url}/health`)).status).toBe(200);
      child.kill('SIGTERM');
      await once(child, 'exit');
      for (let i = 0; i < 100 && pids.some(isAlive); i++)
        await new Promise((resolve) => setTimeout(resolve, 100));
      expect(pids.filter(isAlive)).toEqual([]);
    },
  );

  it.each([
    { what: 'ranks that share heads', options: ['--tensor', '2'] },
    { what: 'moving experts', options: ['--rebalance-seconds', '0.2'], moves: / experts moved/ },
    { what: 'both', options: ['--tensor', '2', '--rebalance-seconds', '0.2'], moves: / experts moved/ },
  ])('answers the same with $what', async ({ options, moves }) => {
    const { child, url, output } = await start(launchers[0]!, options);
    for (let round = 0; round < 50; round++) {
      const answers = await Promise.all(few.map((prompt) => complete(url, prompt)));
      expect(answers).toEqual(expected.slice(0, few.length));
      if (moves === undefined || (round > 0 && moves.test(output()))) break;
    }
    if (moves !== undefined) expect(output()).toMatch(moves);
    child.kill('SIGTERM');
    await once(child, 'exit');
  });

  it.each(launchers)('ends within seconds when a process of %s dies', async (command) => {
    const { child, url, pids } = await start(command);
    const exited = once(child, 'exit');
    const answers = Promise.allSettled(prompts.map((prompt) => complete(url, prompt)));
    process.kill(pids[2]!, 'SIGKILL');
    const [code] = (await exited) as [number | null];
    expect(code).not.toBe(0);
    for (let i = 0; i < 50 && pids.some(isAlive); i++)
      await new Promise((resolve) => setTimeout(resolve, 100));
    expect(pids.filter(isAlive)).toEqual([]);
    await answers;
  });

  it.each(launchers)('ends every process of %s with code 0 when they are told to', async (command) => {
    const { child, url, pids } = await start(command);
    expect(await complete(url, prompts[0]!)).not.toBe('');
    // As process managers pass it on: to all of them.
    for (const pid of pids) process.kill(pid, 'SIGTERM');
    const [code] = (await once(child, 'exit')) as [number | null];
    expect(code).toBe(0);
    expect(pids.filter(isAlive)).toEqual([]);
  });
});
