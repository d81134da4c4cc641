import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = process.argv[2] ?? fileURLToPath(new URL('run', import.meta.url));
const steps = fileURLToPath(new URL('steps', import.meta.url));
mkdirSync(folder, { recursive: true });

for (const step of readdirSync(steps).sort()) {
  console.log(`${step.replace('.js', '')}`);
  const { status, signal } = spawnSync(process.execPath, [`${steps}/${step}`, folder], { stdio: 'inherit' });
  if (status !== 0) {
    console.error(`${step} ended with ${signal ?? status}`);
    process.exit(1);
  }
}
console.log(`files are in ${folder}`);
