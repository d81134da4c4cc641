import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { Context, Env, Hono } from 'hono';
import { askEngines, type EngineSource } from '../metrics/engine-source.js';
import { perfettoTrace } from '../tracing/perfetto.js';
import type { RequestLog } from '../tracing/request-log.js';
import { type AdminAccess, type Peer, requireAdmin } from './access.js';
import { dashboardAssets } from './assets.generated.js';
import type { Dashboard } from './dashboard.js';

/** What the page may load: its own files and nothing else; no scripts or styles within it. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};

interface Asset {
  readonly text: string;
  readonly compressed: Uint8Array<ArrayBuffer>;
  readonly type: string;
  readonly etag: string;
}

/** Paths of the dashboard, for whoever counts requests by route. */
export const dashboardPaths: readonly string[] = [
  '/',
  '/dashboard/app.js',
  '/dashboard/style.css',
  '/dashboard/icon.svg',
  '/dashboard/events',
  '/debug/trace',
];

/** What {@link addDashboardRoutes} serves. */
export interface DashboardRoutes {
  readonly dashboard: Dashboard;
  readonly access: AdminAccess;
  readonly engines: readonly EngineSource[];
  readonly requests: RequestLog;
}

/** Adds the page at `/`, its files and events, and the trace. The page itself is open: it holds no figures. */
export function addDashboardRoutes<E extends Env>(app: Hono<E>, routes: DashboardRoutes): void {
  const { dashboard, access, engines, requests } = routes;
  const assets = new Map<string, Asset>();
  const serve = (name: string) => (c: Context<E>) => assetResponse(c.req.raw, assetOf(assets, name));
  app.get('/', serve('index.html'));
  for (const name of ['app.js', 'style.css', 'icon.svg']) app.get(`/dashboard/${name}`, serve(name));
  app.get('/dashboard/events', (c) => {
    requireAdmin(c.req.raw, peerOf(c), access);
    return dashboard.connect();
  });
  app.get('/debug/trace', async (c) => {
    requireAdmin(c.req.raw, peerOf(c), access);
    const trace = perfettoTrace(await askEngines(engines), requests.requests);
    return new Response(JSON.stringify(trace), {
      headers: {
        'content-type': 'application/json',
        'content-disposition': 'attachment; filename="moestack-trace.json"',
        'cache-control': 'no-store',
      },
    });
  });
}

/** The other end of the connection, where there is one: see `@hono/node-server`. */
function peerOf(c: { env: unknown }): Peer | undefined {
  const env = c.env as { incoming?: { socket?: { remoteAddress?: string } } } | undefined;
  return env?.incoming === undefined ? undefined : { address: env.incoming.socket?.remoteAddress };
}

function assetOf(assets: Map<string, Asset>, name: string): Asset {
  const known = assets.get(name);
  if (known !== undefined) return known;
  const text = dashboardAssets[name] ?? '';
  const asset: Asset = {
    text,
    compressed: new Uint8Array(gzipSync(text)),
    type: types[name.split('.').pop() ?? ''] ?? 'application/octet-stream',
    etag: `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"`,
  };
  assets.set(name, asset);
  return asset;
}

function assetResponse(request: Request, asset: Asset): Response {
  const headers = new Headers({
    'content-type': asset.type,
    etag: asset.etag,
    'cache-control': 'no-cache',
    vary: 'accept-encoding',
    'content-security-policy': contentSecurityPolicy,
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
  });
  if (request.headers.get('if-none-match') === asset.etag)
    return new Response(null, { status: 304, headers });
  if (!/\bgzip\b/.test(request.headers.get('accept-encoding') ?? ''))
    return new Response(asset.text, { headers });
  headers.set('content-encoding', 'gzip');
  return new Response(asset.compressed, { headers });
}
