import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The package: benchmarks are bundled into one file in `bench/`. */
const here = new URL('..', import.meta.url);
const portkeyScript = fileURLToPath(
  new URL(
    '../../node_modules/.cache/moestack-bench/node_modules/@portkey-ai/gateway/build/start-server.js',
    here,
  ),
);

const children: ChildProcess[] = [];
process.once('exit', stopAll);

/** Ends all that was started. */
export function stopAll(): void {
  for (const child of children.splice(0)) child.kill();
}

/** A server in a process of its own, so that one's work is not another's. */
export interface ServerProcess {
  readonly url: string;
  /** Sends the headers that make it pass requests on. */
  readonly headers: Readonly<Record<string, string>>;
  /** Resident bytes. */
  memory(): Promise<number>;
}

async function start(code: string, env: Record<string, string> = {}): Promise<ServerProcess> {
  const report = `process.on('message', () => process.send(process.memoryUsage.rss()));`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', `${report}\n${code}`], {
    cwd: here,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  children.push(child);
  const [url] = (await once(createInterface(child.stdout!), 'line')) as [string];
  return {
    url,
    headers: {},
    async memory() {
      const answer = once(child, 'message');
      child.send('memory');
      const [bytes] = (await answer) as [number];
      return bytes;
    },
  };
}

/**
 * A server that answers at once: a body of 300 bytes, or, when asked to stream, an event every `x-interval-ms` with the
 * time at which it was written.
 */
export const startEngine = (): Promise<ServerProcess> =>
  start(`
import { createServer } from 'node:http';
const now = () => performance.timeOrigin + performance.now();
const text = 'x'.repeat(120);
const whole = JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 9, completion_tokens: 30, total_tokens: 39 } });
createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const body = chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks));
    if (body.stream !== true) {
      response.writeHead(200, { 'content-type': 'application/json' });
      return response.end(whole);
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    let left = body.max_tokens;
    const event = (delta, reason) => 'data: ' + JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'm',
      choices: [{ index: 0, delta, finish_reason: reason }] }) + '\\n\\n';
    const flood = body.interval_ms === 0;
    const next = () => {
      if (response.destroyed) return;
      if (left-- === 0) return response.end(event({}, 'stop') + 'data: [DONE]\\n\\n');
      const ready = response.write(event({ content: flood ? text : String(now()) }, null));
      if (flood) ready ? setImmediate(next) : response.once('drain', next);
      else setTimeout(next, body.interval_ms);
    };
    setTimeout(next, flood ? 0 : 20 + Math.random() * body.interval_ms);
  });
}).listen(0, '127.0.0.1', function () { console.log('http://127.0.0.1:' + this.address().port); });
`);

export const startMoestack = (engine: string): Promise<ServerProcess> =>
  start(
    `
import { createGateway, listen, OpenAiBackend } from '@moestack/serving';
const backend = new OpenAiBackend({ name: 'pool', models: ['m'], workers: [{ url: process.env.ENGINE }] });
console.log((await listen(createGateway({ backend }), { port: 0 })).url);
`,
    { ENGINE: engine },
  );

/** Ten lines: what one would write first. */
export const startHono = (engine: string): Promise<ServerProcess> =>
  start(
    `
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
const app = new Hono();
app.post('/v1/*', async (c) => {
  const answer = await fetch(process.env.ENGINE + c.req.path, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: await c.req.text() });
  return new Response(answer.body, { status: answer.status, headers: { 'content-type': answer.headers.get('content-type') } });
});
serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, (info) => console.log('http://127.0.0.1:' + info.port));
`,
    { ENGINE: engine },
  );

/** @portkey-ai/gateway, or undefined where it is not installed or does not come up. */
export async function startPortkey(engine: string): Promise<ServerProcess | undefined> {
  if (!existsSync(portkeyScript)) return undefined;
  const port = 20_000 + (process.pid % 20_000);
  const child = spawn(process.execPath, [portkeyScript, `--port=${port}`, '--headless'], {
    stdio: 'ignore',
    env: { ...process.env, NODE_ENV: 'production', TRUSTED_CUSTOM_HOSTS: '127.0.0.1,localhost' },
  });
  children.push(child);
  const url = `http://127.0.0.1:${port}`;
  for (let wait = 0; ; wait++) {
    const isUp = await fetch(url).then(
      () => true,
      () => false,
    );
    if (isUp) break;
    if (wait === 300 || child.exitCode !== null) return undefined;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return {
    url,
    headers: {
      'x-portkey-provider': 'openai',
      'x-portkey-custom-host': `${engine}/v1`,
      authorization: 'Bearer none',
    },
    memory: () => Promise.reject(new Error('not asked')),
  };
}
