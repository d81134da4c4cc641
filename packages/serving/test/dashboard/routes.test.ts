import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { type Peer, requireAdmin } from '../../src/dashboard/access.js';
import { SseParser } from '../../src/dashboard/client/sse-parser.js';
import { Dashboard } from '../../src/dashboard/dashboard.js';
import { EventFeed } from '../../src/dashboard/event-feed.js';
import { addDashboardRoutes, dashboardPaths } from '../../src/dashboard/routes.js';
import { systemClock } from '../../src/index.js';
import { RequestLog } from '../../src/tracing/request-log.js';
import { sampleStats } from './sample-engine.js';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

function setUp() {
  const seconds = { now: 50 };
  const engines = [{ model: 'm', stats: () => sampleStats(seconds.now) }];
  const clock = { nowUs: () => seconds.now * 1e6, unixSeconds: () => seconds.now };
  const dashboard = new Dashboard({
    clock,
    engines,
    describe: async () => ({ model: 'm', models: ['m'], contextTokens: 8, backend: 'embedded' }),
  });
  const requests = new RequestLog();
  const app = new Hono();
  addDashboardRoutes(app, { dashboard, access: {}, engines, requests });
  return { app, dashboard, requests, seconds };
}

describe('the files', () => {
  it('come with a strict policy, compressed when asked for, and once', async () => {
    const { app } = setUp();
    for (const path of dashboardPaths.slice(0, 4)) {
      const response = await app.request(path);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-security-policy')).toContain(
        "default-src 'none'; script-src 'self'; style-src 'self'",
      );
      expect(response.headers.get('x-content-type-options')).toBe('nosniff');
      const text = await response.text();
      const compressed = await app.request(path, { headers: { 'accept-encoding': 'gzip, br' } });
      expect(gunzipSync(new Uint8Array(await compressed.arrayBuffer())).toString()).toBe(text);
      const again = await app.request(path, {
        headers: { 'if-none-match': response.headers.get('etag') ?? '' },
      });
      expect(again.status).toBe(304);
    }
  });

  it('hold no script, style or address within or outside', async () => {
    const { app } = setUp();
    const html = await (await app.request('/')).text();
    expect(html).not.toMatch(
      /<style|style=|<script(?! type="module" src="dashboard\/app\.js"><\/script>)|\son\w+=/,
    );
    for (const path of dashboardPaths.slice(0, 3)) {
      const text = await (await app.request(path)).text();
      expect(text.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:\/\//);
    }
  });
});

describe('the events', () => {
  it('begin with what there is and go on second by second', async () => {
    const { app, dashboard, seconds } = setUp();
    await dashboard.tick();
    const response = await app.request('/dashboard/events');
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    const reader = response.body!.getReader();
    const parser = new SseParser();
    const read = async () => parser.push(new TextDecoder().decode((await reader.read()).value));
    const names = async () => (await read()).map(({ name }) => name);
    expect(await names()).toEqual(['hello', 'experts', 'steps']);
    seconds.now += 1;
    await dashboard.tick();
    expect(await names()).toEqual(['live', 'steps']);
    seconds.now += 1;
    await dashboard.tick();
    expect(await names()).toEqual(['live', 'steps', 'experts']);
    await reader.cancel();
    expect(dashboard.viewers).toBe(0);
  });

  it('keep only the newest of each name for a viewer that does not read', async () => {
    const feed = new EventFeed();
    const response = feed.connect({ hello: 1 });
    for (let i = 0; i < 1000; i++) {
      feed.send('live', i);
      feed.send('steps', i);
    }
    const reader = response.body!.getReader();
    const text = new TextDecoder().decode((await reader.read()).value);
    expect(text).toBe('event: hello\ndata: 1\n\nevent: live\ndata: 999\n\nevent: steps\ndata: 999\n\n');
    feed.close();
    expect((await reader.read()).done).toBe(true);
  });

  it('go to so many viewers and no more', () => {
    const feed = new EventFeed(2);
    feed.connect({ hello: 1 });
    feed.connect({ hello: 1 });
    expect(() => feed.connect({ hello: 1 })).toThrow('2 pages follow the dashboard already');
  });

  it('go on when an engine cannot answer', async () => {
    const dashboard = new Dashboard({
      clock: systemClock,
      engines: [{ model: 'm', stats: () => Promise.reject(new Error('gone')) }],
      describe: async () => ({ model: 'm', models: ['m'], contextTokens: 8, backend: 'embedded' }),
    });
    await dashboard.tick();
    const response = await dashboard.connect();
    const reader = response.body!.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toMatch(/^event: hello\n/);
    await reader.cancel();
  });
});

describe('requireAdmin', () => {
  const check = (headers: Record<string, string>, peer: Peer | undefined, adminKeySha256?: string) => () =>
    requireAdmin(
      new Request('http://x/', { headers }),
      peer,
      adminKeySha256 === undefined ? {} : { adminKeySha256 },
    );

  it.each([
    ['127.0.0.1', '127.0.0.1:8000'],
    ['::1', '[::1]:8000'],
    ['::ffff:127.0.0.1', 'localhost'],
  ])('lets %s under the name %s in', (address, host) => {
    expect(check({ host }, { address })).not.toThrow();
  });

  it.each([
    ['10.0.0.9', { host: 'localhost' }],
    ['127.0.0.1', { host: 'evil.example' }],
    ['127.0.0.1', { host: '127.0.0.1.evil.example' }],
    ['127.0.0.1', { host: 'localhost', 'x-forwarded-for': '1.2.3.4' }],
    ['127.0.0.1', { host: 'localhost', forwarded: 'for=1.2.3.4' }],
    [undefined, { host: 'localhost' }],
  ])('keeps %s with %j out', (address, headers) => {
    expect(check(headers as Record<string, string>, { address })).toThrow(
      expect.objectContaining({ status: 403 }),
    );
  });

  it('wants the key where there is one, from everybody', () => {
    const key = sha256('sesame');
    expect(check({ authorization: 'Bearer sesame' }, { address: '10.0.0.9' }, key)).not.toThrow();
    for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: 'sesame' }]) {
      expect(check(headers as Record<string, string>, { address: '127.0.0.1' }, key)).toThrow(
        expect.objectContaining({ status: 401 }),
      );
    }
  });
});
