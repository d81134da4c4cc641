// A registry on this machine for rehearsals: what is published goes to a temporary folder, everything else is passed on.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from './packages.mjs';

/** Tools that only rehearsals need, so installed on demand beside the workspace; 6.8.0 is the last that runs on Node 20. */
const VERDACCIO = '6.8.0';

/** Installs packages into a cache folder once; returns that folder. */
export function installTool(name, dependencies, overrides = {}) {
  const folder = join(root, 'node_modules/.cache', name);
  const stamp = join(folder, 'package.json');
  const manifest = JSON.stringify({ private: true, dependencies, overrides });
  if (existsSync(join(folder, 'node_modules', Object.keys(dependencies)[0]))) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(stamp, manifest);
  const args = ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  const { status, stderr } = spawnSync('npm', args, { cwd: folder, encoding: 'utf8', timeout: 300_000 });
  if (status !== 0) throw new Error(`could not install ${Object.keys(dependencies)}: ${stderr}`);
  return folder;
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Starts a registry with its files in `work`; ours come from there alone, others from where npm gets them now. */
export async function startRegistry(work) {
  const folder = installTool('moestack-registry', { verdaccio: VERDACCIO }, { 'node-fetch': '2.7.0' });
  const upstream = spawnSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).stdout.trim();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const config = join(work, 'registry.yaml');
  const ours = 'access: $all\n    publish: $authenticated';
  writeFileSync(
    config,
    `storage: ${join(work, 'storage')}
auth:
  htpasswd:
    file: ${join(work, 'htpasswd')}
uplinks:
  upstream:
    url: ${upstream}
    timeout: 60s
    max_fails: 10
packages:
  '@moestack/*':
    ${ours}
  moestack:
    ${ours}
  '**':
    access: $all
    proxy: upstream
log: { type: stdout, level: error }
`,
  );
  const child = spawn(
    process.execPath,
    [
      join(folder, 'node_modules/verdaccio/bin/verdaccio'),
      '--config',
      config,
      '--listen',
      `127.0.0.1:${port}`,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const stop = () => child.kill('SIGKILL');
  process.once('exit', stop);
  for (let attempt = 0; ; attempt++) {
    const isUp = await fetch(`${url}/-/ping`).then(
      (response) => response.ok,
      () => false,
    );
    if (isUp) break;
    if (attempt > 300 || child.exitCode !== null) throw new Error(`the registry did not start: ${output}`);
    await sleep(100);
  }
  const name = 'rehearsal';
  const response = await fetch(`${url}/-/user/org.couchdb.user:${name}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name, password: `${name}-only` }),
  });
  const { token } = await response.json();
  if (token === undefined) throw new Error(`the registry gave no token: ${response.status}`);
  const npmrc = join(work, 'npmrc');
  writeFileSync(npmrc, `registry=${url}/\n//127.0.0.1:${port}/:_authToken=${token}\n`);
  /** Environment in which npm and pnpm use this registry, and no other cache. */
  const env = { ...process.env, npm_config_registry: `${url}/`, npm_config_userconfig: npmrc };
  return { url, env, storage: join(work, 'storage'), stop };
}
