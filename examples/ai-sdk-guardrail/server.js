import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Runs `moestack serve` on a free port; resolves when it listens. */
export async function startServer() {
  const folder = join(createRequire(import.meta.url).resolve('moestack/package.json'), '..');
  const child = spawn(process.execPath, [join(folder, 'dist/cli.js'), 'serve', '--port', '0', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface(child.stdout)) {
    const { event, url } = JSON.parse(line);
    if (event !== 'listening') continue;
    child.stdout.resume();
    const ended = new Promise((resolve) => child.once('exit', resolve));
    return {
      url: `${url}/v1`,
      stop: () => {
        child.kill('SIGTERM');
        return ended;
      },
    };
  }
  throw new Error('the server ended before it listened');
}
