import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isHostAllowed, isLoopback } from '../src/http/host-check.js';
import { createGateway, type Listening, listen } from '../src/index.js';
import { EchoBackend } from './echo-backend.js';

let server: Listening;
beforeAll(async () => {
  server = await listen(createGateway({ backend: new EchoBackend() }), {
    port: 0,
    allowedHosts: ['models.example.org'],
  });
});
afterAll(() => server.close({ drainSeconds: 1 }));

function get(host: string): Promise<{ status: number | undefined; body: string; nosniff: unknown }> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port: server.port, path: '/v1/models', headers: { host } }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode, body, nosniff: response.headers['x-content-type-options'] }),
      );
    })
      .on('error', reject)
      .end();
  });
}

describe('a server on a loopback address', () => {
  it.each([
    'localhost',
    'LOCALHOST:8000',
    '127.0.0.1',
    '127.0.0.53:80',
    '[::1]:8000',
    'a.localhost',
    'models.example.org:443',
  ])('answers requests to %s', async (host) => {
    expect(await get(host)).toMatchObject({ status: 200, nosniff: 'nosniff' });
  });

  it.each([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example:8000',
    'models.example.org.evil',
  ])('refuses requests to %s, as a page with a name of its own sends them', async (host) => {
    const { status, body } = await get(host);
    expect(status).toBe(403);
    expect(JSON.parse(body)).toMatchObject({
      error: { code: 'host_not_allowed', type: 'invalid_request_error' },
    });
  });
});

describe('a refused request', () => {
  it('is counted like those that were answered', async () => {
    await get('evil.example');
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expect(metrics).toMatch(/^moestack:http_responses_total\{route="\/v1\/models",status="403"\} \d+$/m);
  });
});

describe('a request without a URL', () => {
  it.each([
    ['OPTIONS * HTTP/1.1', 'localhost'],
    ['GET http://[ HTTP/1.1', 'localhost'],
    ['GET /v1/models HTTP/1.1', 'localhost:99999'],
  ])('is refused as the API refuses: %s, Host %s', async (line, host) => {
    const socket = connect(server.port, '127.0.0.1');
    let answer = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      answer += text;
    });
    socket.write(`${line}\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
    await once(socket, 'close');
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('"code":"serving/bad-target"');
  });
});

describe('a server with limits that are none', () => {
  it.each([
    { headSeconds: Number.NaN },
    { requestSeconds: 0 },
    { keepAliveSeconds: -1 },
    { maxConnections: Infinity },
  ])('is not started: %o', async (options) => {
    await expect(
      listen(createGateway({ backend: new EchoBackend() }), { port: 0, ...options }),
    ).rejects.toMatchObject({
      code: 'serving/bad-options',
      message: expect.stringContaining(Object.keys(options)[0]!),
    });
  });
});

describe('a server with a limit of connections', () => {
  it('closes further ones at once', async () => {
    const small = await listen(createGateway({ backend: new EchoBackend() }), { port: 0, maxConnections: 1 });
    const first = connect(small.port, '127.0.0.1');
    await once(first, 'connect');
    const second = connect(small.port, '127.0.0.1');
    second.on('error', () => undefined);
    await once(second, 'close');
    first.destroy();
    await small.close({ drainSeconds: 1 });
  });
});

describe('isHostAllowed', () => {
  it('lets no name through that only contains a loopback one', () => {
    fc.assert(
      fc.property(fc.domain(), (name) => {
        fc.pre(!name.endsWith('localhost'));
        for (const host of [name, `localhost.${name}`, `127.0.0.1.${name}:80`])
          expect(isHostAllowed(host, new Set())).toBe(false);
      }),
      { seed: 1 },
    );
  });

  it('knows loopback addresses', () => {
    expect(['127.0.0.1', '::1', 'localhost', '127.1.2.3'].every(isLoopback)).toBe(true);
    expect(['0.0.0.0', '::', '10.0.0.1', 'example.org'].some(isLoopback)).toBe(false);
  });
});
