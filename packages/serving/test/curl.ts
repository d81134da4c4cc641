import { spawn, spawnSync } from 'node:child_process';

/** Whether this machine has curl. */
export const hasCurl: boolean = spawnSync('curl', ['--version']).status === 0;

/** Posts JSON, and returns what comes back. */
export function curl(url: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('curl', [
      '-sN',
      '--max-time',
      '20',
      url,
      '-H',
      'content-type: application/json',
      '-d',
      body,
    ]);
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
    });
    child.on('error', reject);
    child.on('close', () => resolve(text));
  });
}
