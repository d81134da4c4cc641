import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it } from 'vitest';

let child: ChildProcess | undefined;

afterEach(() => {
  child?.kill('SIGKILL');
});

it('serves completions until it is told to stop', async () => {
  const running = spawn(process.execPath, [fileURLToPath(new URL('main.js', import.meta.url))], {
    env: { ...process.env, NODE_OPTIONS: '', PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child = running;
  const [line] = (await once(createInterface(running.stdout), 'line')) as [string];
  const url = /^listening on (http:\/\/127\.0\.0\.1:\d+)$/.exec(line)?.[1];
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'The people of the United States', max_tokens: 8, temperature: 0 }),
  });
  const answer = (await response.json()) as {
    choices: { text: string }[];
    usage: { completion_tokens: number };
  };
  expect(response.status).toBe(200);
  expect(answer.choices[0]?.text).not.toBe('');
  expect(answer.usage.completion_tokens).toBe(8);
  running.kill('SIGTERM');
  expect(await once(running, 'exit')).toEqual([0, null]);
});
