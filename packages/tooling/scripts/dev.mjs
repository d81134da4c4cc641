// `pnpm dev [options of moestack serve]`: rebuilds what changes and restarts the server on what was built.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, watch } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../../..');
const server = join(root, 'packages/moestack/dist/cli.js');
const quietMs = 700;

const builder = spawn(
  'turbo',
  ['watch', 'build:js', '--filter=moestack', '--ui=stream', '--output-logs=errors-only'],
  {
    cwd: root,
    stdio: 'inherit',
  },
);

let child;
let isEnding = false;
let timer;

function start() {
  if (!existsSync(server)) return;
  child = spawn(process.execPath, [server, 'serve', ...process.argv.slice(2)], { stdio: 'inherit' });
}

function restart() {
  if (isEnding) return;
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return start();
  child.once('exit', start);
  child.kill('SIGTERM');
}

/** Builds write many files one after the other: the server starts again once they are quiet. */
function changed() {
  clearTimeout(timer);
  timer = setTimeout(restart, quietMs);
}

for (const name of readdirSync(join(root, 'packages'))) {
  const folder = join(root, 'packages', name, 'dist');
  if (existsSync(folder)) watch(folder, changed);
}
start();

builder.once('exit', (code) => end(code ?? 1));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => end(0));
function end(code) {
  if (isEnding) return;
  isEnding = true;
  clearTimeout(timer);
  builder.kill('SIGTERM');
  process.exitCode = code;
  if (child === undefined || child.exitCode !== null) process.exit();
  child.once('exit', () => process.exit());
  child.kill('SIGTERM');
}
