import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { createGuardrail } from '@moestack/detect/guardrail';
import { ServeConfig } from '@moestack/serving';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { gatewayOptions } from '../src/commands/serve/gateway-options.js';
import { runCli } from '../src/index.js';
import { Reporter } from '../src/reporter.js';

const example = fileURLToPath(new URL('../examples/moestack.yaml', import.meta.url));
let root: string;
let upstream: Server;
let upstreamUrl: string;
let upstreamText = 'hello';
const seen: { authorization: string | undefined; traceparent: string | undefined; body: string }[] = [];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'moestack-serve-'));
  upstream = createServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    if (request.url === '/v1/models') {
      response.end(JSON.stringify({ object: 'list', data: [{ id: 'far-away', object: 'model' }] }));
      return;
    }
    if (request.method !== 'POST') {
      response.end('{}');
      return;
    }
    const { authorization, traceparent } = request.headers;
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      seen.push({ authorization, traceparent: traceparent as string | undefined, body });
      response.end(
        JSON.stringify({
          id: 'x',
          object: 'text_completion',
          choices: [{ index: 0, text: upstreamText, finish_reason: 'stop' }],
          usage: { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 },
        }),
      );
    });
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  upstreamUrl = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
});
afterAll(async () => {
  upstream.closeAllConnections();
  upstream.close();
  await rm(root, { recursive: true, force: true });
});

const digest = (key: string) => createHash('sha256').update(key).digest('hex');
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

const running: { signals: EventEmitter; done: Promise<number> }[] = [];
afterEach(async () => {
  for (const { signals, done } of running.splice(0)) {
    signals.emit('SIGTERM');
    await done;
  }
  delete process.env['MOESTACK_TEST_UPSTREAM'];
});

async function write(name: string, text: string): Promise<string> {
  const file = join(root, name);
  await writeFile(file, text);
  return file;
}

async function run(...args: string[]) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const code = await runCli(['serve', ...args], { stdout, stderr, signals: new EventEmitter() });
  return { code, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') };
}

/** Starts a server and waits until it listens. */
async function start(...args: string[]) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const signals = new EventEmitter();
  let text = '';
  const listening = new Promise<string>((resolve) => {
    stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const url = /"url":"([^"]+)"/.exec(text)?.[1];
      if (url !== undefined) resolve(url);
    });
  });
  const done = runCli(['serve', '--json', '--port', '0', ...args], { stdout, stderr, signals });
  running.push({ signals, done });
  const ended = done.then((code) => {
    throw new Error(`ended with ${code}: ${text}`);
  });
  ended.catch(() => undefined);
  const url = await Promise.race([listening, ended]);
  return {
    url,
    output: () => text,
    stderr: () => String(stderr.read() ?? ''),
    stop: () => signals.emit('SIGTERM'),
    done,
  };
}

const pool = (more = '') => `
schemaVersion: 1
backends:
  - type: openai
    name: far
    workers:
      - url: ${upstreamUrl}
        apiKeyEnv: MOESTACK_TEST_UPSTREAM
    health: false
${more}`;

const ask = (url: string, headers: Record<string, string> = {}, prompt = 'what nobody may read') =>
  fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'far-away', prompt }),
  });

/** The status of a completion that is asked under a name of the server's. */
function statusUnder(host: string, url: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const headers = { host, 'content-type': 'application/json' };
    request(`${url}/v1/completions`, { method: 'POST', headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on('error', reject)
      .end(JSON.stringify({ model: 'far-away', prompt: 'hello' }));
  });
}

describe('moestack serve --config', () => {
  it.each([
    [
      'file',
      async () => [
        '--config',
        await write('hosts.yaml', pool('listen: { allowedHosts: [models.example.org] }')),
      ],
    ],
    [
      'command line',
      async () => ['--config', await write('no-hosts.yaml', pool()), '--allowed-host', 'models.example.org'],
    ],
  ])('answers under the names that the %s allows, and no others', async (_, args) => {
    process.env['MOESTACK_TEST_UPSTREAM'] = 'upstream-key';
    const { url } = await start(...(await args()));
    expect(await statusUnder('models.example.org:443', url)).toBe(200);
    expect(await statusUnder('localhost', url)).toBe(200);
    expect(await statusUnder('evil.example', url)).toBe(403);
  });

  it('comes with an example that is right', async () => {
    const config = ServeConfig.parse(parse(await readFile(example, 'utf8')));
    expect(createGuardrail(config.guardrail!).policy.name).toBe('no-secrets');
    const { code, stdout } = await run('--config', example, '--print-config');
    expect(code).toBe(0);
    const shown = parse(stdout) as ServeConfig;
    expect(shown.backends).toHaveLength(4);
    expect(stdout).not.toMatch(/[0-9a-f]{64}/);
  });

  it('shows what the command line makes of it, without secrets', async () => {
    const file = await write(
      'secrets.yaml',
      pool(`  - type: embedded\nobservability:\n  adminKeySha256: ${'a'.repeat(64)}`).replace(
        'apiKeyEnv: MOESTACK_TEST_UPSTREAM',
        'apiKey: sk-very-secret',
      ),
    );
    const { stdout } = await run(
      ...[
        '--config',
        file,
        '--print-config',
        '--json',
        '--port',
        '9',
        '--slo-ttft-ms',
        '500',
        '--max-batch',
        '3',
        '--no-dashboard',
      ],
    );
    const { config } = JSON.parse(stdout) as { config: ServeConfig };
    expect(config.listen).toEqual({ port: 9 });
    expect(config.slo).toEqual({ ttftSeconds: 0.5 });
    expect(config.backends[1]).toEqual({ type: 'embedded', maxBatch: 3 });
    expect(config.observability).toEqual({ adminKeySha256: '[redacted]', dashboard: false });
    expect(config.backends[0]).toMatchObject({ workers: [{ apiKey: '[redacted]' }] });
    expect(stdout).not.toContain('sk-very-secret');
  });

  it('shows the defaults of the command line without a file', async () => {
    const { stdout } = await run('--print-config', '--model', './m', '--prefill-ranks', '2');
    expect(parse(stdout)).toEqual({
      schemaVersion: 1,
      backends: [{ type: 'embedded', model: './m', prefillRanks: 2 }],
    });
  });

  it('hides names and passwords in addresses', async () => {
    const file = await write('url.yaml', pool().replace('http://', 'http://me:hunter2@'));
    expect((await run('--config', file, '--print-config')).stdout).not.toContain('hunter2');
  });

  it.each([
    ['a: [', 'neither YAML nor JSON'],
    ['schemaVersion: 1', 'backends: '],
    ['schemaVersion: 2\nbackends: [{type: embedded}]', 'schemaVersion: '],
    ['schemaVersion: 1\nbackends: [{type: embedded, maxBatch: 0}]', 'backends.0.maxBatch: '],
    [
      'schemaVersion: 1\nbackends: [{type: openai, name: a, workers: [{url: "ftp://x"}]}]',
      'backends.0.workers.0.url: ',
    ],
    ['schemaVersion: 1\nbackends: [{type: embedded}]\nlisten: {prot: 1}', 'prot'],
    [
      'schemaVersion: 1\nbackends: [{type: embedded}]\nauth: {keys: [{id: a, sha256: oops-a-key}]}',
      'auth.keys.0.sha256: ',
    ],
  ])('says what is wrong in %j', async (text, message) => {
    const file = await write('wrong.yaml', text);
    const { code, stderr } = await run('--config', file);
    expect(code).toBe(1);
    expect(stderr).toContain(file);
    expect(stderr).toContain(message);
    expect(stderr).toContain('(cli/bad-config)');
    expect(stderr).not.toContain('oops-a-key');
  });

  it('says what is missing', async () => {
    expect((await run('--config', join(root, 'none.yaml'))).stderr).toContain('cli/cannot-read');
    const file = await write('pool.yaml', pool());
    expect((await run('--config', file, '--max-batch', '4')).stderr).toContain('about the embedded backend');
    expect((await run('--config', file, '--port', '0')).stderr).toContain(
      'MOESTACK_TEST_UPSTREAM holds no key',
    );
    const bomb = `a: &a [1,1]\nb: &b [${Array(20).fill('*a').join()}]\nc: &c [${Array(20).fill('*b').join()}]\nd: [${Array(20).fill('*c').join()}]\n`;
    expect((await run('--config', await write('bomb.yaml', bomb))).stderr).toContain('cli/bad-config');
  });

  it('serves a pool with keys, log, dashboard, guardrail and spans', async () => {
    process.env['MOESTACK_TEST_UPSTREAM'] = 'upstream-key';
    process.env['MOESTACK_TEST_ADMIN'] = 'sesame';
    const log = join(root, 'access.jsonl');
    const file = await write(
      'full.yaml',
      pool(`auth:
  keys: [{ id: team, sha256: ${digest('client-key')} }]
guardrail:
  name: words
  words: { list: [forbidden], mode: block }
observability: { tracing: true }
`),
    );
    const server = await start(
      '--config',
      file,
      '--access-log',
      log,
      '--admin-key-env',
      'MOESTACK_TEST_ADMIN',
    );
    expect(server.output()).toContain(`"dashboard":"${server.url}/"`);
    expect((await ask(server.url)).status).toBe(401);
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const answer = await ask(server.url, { authorization: 'Bearer client-key', traceparent });
    expect(answer.status).toBe(200);
    expect(seen.at(-1)?.authorization).toBe('Bearer upstream-key');
    expect(seen.at(-1)?.traceparent).toContain('4bf92f3577b34da6a3ce929d0e0e4736');
    expect((await fetch(`${server.url}/dashboard/events`)).status).toBe(401);
    const trace = await fetch(`${server.url}/debug/trace`, { headers: { authorization: 'Bearer sesame' } });
    expect(await trace.text()).toContain('/v1/completions');
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expect(metrics).toContain('moestack:backend_requests_total{backend="far"');
    expect(metrics).toContain('vllm:generation_tokens_total{model_name="far-away",engine="gateway"} 1');
    server.stop();
    expect(await server.done).toBe(0);
    const lines = (await readFile(log, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(lines).toHaveLength(2);
    expect(lines[1]).toMatchObject({ key: 'team', status: 200, completionTokens: 1 });
    expect(JSON.stringify(lines)).not.toContain('nobody may read');
    delete process.env['MOESTACK_TEST_ADMIN'];
  });

  it('holds keys and everybody together to the limits of the file', async () => {
    process.env['MOESTACK_TEST_UPSTREAM'] = 'upstream-key';
    const file = await write(
      'limits.yaml',
      pool(`auth:
  keys:
    - { id: small, sha256: ${digest('small')}, limits: { requestsPerMinute: 2 } }
    - { id: other, sha256: ${digest('other')}, models: [another-model] }
    - { id: large, sha256: ${digest('large')}, weight: 3 }
limits: { requestsPerMinute: 5 }
`),
    );
    const { url } = await start('--config', file);
    expect((await ask(url)).status).toBe(401);
    expect((await ask(url, bearer('wrong'))).status).toBe(401);
    expect((await ask(url, bearer('other'))).status).toBe(403);
    const before = seen.length;
    for (let n = 0; n < 2; n++) expect((await ask(url, bearer('small'))).status).toBe(200);
    const limited = await ask(url, bearer('small'));
    expect(limited.status).toBe(429);
    const seconds = Number(limited.headers.get('retry-after'));
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(30);
    expect(await limited.json()).toMatchObject({
      error: { type: 'rate_limit_error', message: expect.stringContaining('the API key small') },
    });
    for (let n = 0; n < 3; n++) expect((await ask(url, bearer('large'))).status).toBe(200);
    const full = await ask(url, bearer('large'));
    expect(full.status).toBe(429);
    expect(Number(full.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await full.json()).toMatchObject({
      error: { message: expect.stringContaining('this server') },
    });
    expect(seen.length - before).toBe(5);
  });

  it('gives the gateway all that a key may do', async () => {
    const key = { id: 'a', sha256: digest('a'), models: ['m'], weight: 3, limits: { tokensPerDay: 9 } };
    const config = ServeConfig.parse({
      schemaVersion: 1,
      backends: [{ type: 'embedded' }],
      auth: { keys: [key] },
      limits: { maxConcurrent: 7 },
    });
    const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
    const { options } = await gatewayOptions(config, new Reporter(streams, true));
    expect(options).toMatchObject({ keys: [key], limits: { maxConcurrent: 7 } });
  });

  it('checks prompts and answers by the policy of the file', async () => {
    process.env['MOESTACK_TEST_UPSTREAM'] = 'upstream-key';
    const file = await write(
      'guardrail.yaml',
      pool(`guardrail:
  name: words
  words: { list: [forbidden], mode: block }
  pii: [{ type: EMAIL, mode: redact }]
  regexes: [{ name: TICKET, pattern: 'T-[0-9]+', mode: annotate }]
  blockedInputMessage: not here
  blockedOutputMessage: nor there
`),
    );
    const { url } = await start('--config', file);
    const text = async (response: Response) =>
      ((await response.json()) as { choices: { text: string; finish_reason: string }[] }).choices[0];
    const before = seen.length;
    const blocked = await ask(url, {}, 'a forbidden word');
    expect(blocked.status).toBe(400);
    expect(await blocked.json()).toMatchObject({
      error: { code: 'content_filter', message: expect.stringContaining('not here') },
    });
    expect(seen.length).toBe(before);

    expect((await ask(url, {}, 'write to ada@example.org')).status).toBe(200);
    expect(seen.at(-1)!.body).not.toContain('ada@example.org');
    expect(seen.at(-1)!.body).toContain('EMAIL');

    expect((await ask(url, {}, 'about T-123')).status).toBe(200);
    expect(seen.at(-1)!.body).toContain('about T-123');

    // What the server says is checked as well.
    upstreamText = 'T-1';
    expect(await text(await ask(url, {}, 'say T-1'))).toMatchObject({ text: 'T-1', finish_reason: 'stop' });
    upstreamText = 'a forbidden answer';
    expect(await text(await ask(url, {}, 'well?'))).toMatchObject({
      text: 'nor there',
      finish_reason: 'content_filter',
    });
    upstreamText = 'write to ada@example.org';
    expect((await text(await ask(url, {}, 'well?')))!.text).toBe('write to {EMAIL}');
    upstreamText = 'hello';
  });

  it.each([
    ['{ name: words, words: { list: 3 } }', 'guardrail.words.list'],
    ['{ name: words, word: { list: [a] } }', '"word"'],
    ['{ name: words, words: { list: [a], mode: deny } }', 'guardrail.words.mode'],
    ['{ name: mail, pii: [{ type: EMIAL }] }', 'EMIAL'],
    ['{ name: broken, regexes: [{ name: x, pattern: "(" }] }', 'guardrail: '],
  ])('does not start with the guardrail %s', async (policy, message) => {
    const file = await write('bad-guardrail.yaml', pool(`guardrail: ${policy}`));
    const { code, stderr } = await run('--config', file, '--port', '0');
    expect(code).toBe(1);
    expect(stderr).toContain(message);
    expect(stderr).toContain('(cli/bad-config)');
  });
});
