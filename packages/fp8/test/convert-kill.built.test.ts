import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixturePath } from '@moestack/fixtures';
import { convertCheckpoint } from '@moestack/fp8/node';
import { afterEach, beforeEach, expect, test } from 'vitest';

const from = fixturePath('fp8/checkpoint');
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'fp8-kill-'));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

/** Converts in a process that kills itself once more than `share` of the result is written. */
async function convertAndDie(to: string, share: number): Promise<string | null> {
  const script = `
    import { convertCheckpoint } from '@moestack/fp8/node';
    const [from, to, share] = process.argv.slice(1);
    const onProgress = ({ doneBytes, totalBytes }) => {
      if (doneBytes > Number(share) * totalBytes) process.kill(process.pid, 'SIGKILL');
    };
    await convertCheckpoint({ from, to, target: 'bf16', onProgress });`;
  const args = ['--input-type=module', '-e', script, from, to, String(share)];
  const child = spawn(process.execPath, args, { cwd: import.meta.dirname, stdio: 'inherit' });
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
  return signal;
}

async function filesOf(path: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const name of (await readdir(path)).sort()) {
    files[name] = (await readFile(join(path, name))).toString('base64');
  }
  return files;
}

test.each([0, 0.3, 0.7, 0.99])('a conversion killed at %d of its bytes is taken up again', async (share) => {
  const [whole, killed] = [join(root, 'whole'), join(root, 'killed')];
  await convertCheckpoint({ from, to: whole, target: 'bf16' });
  expect(await convertAndDie(killed, share)).toBe('SIGKILL');
  expect((await readdir(killed)).some((name) => name.endsWith('.partial'))).toBe(true);
  await convertCheckpoint({ from, to: killed, target: 'bf16' });
  expect(await filesOf(killed)).toEqual(await filesOf(whole));
});
