import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { createInterface } from 'node:readline';
import { type BenchCase, defineBench } from '@moestack/tooling/bench';

const newTokens = 64;
const streams = [1, 8, 32];
const body = JSON.stringify({
  prompt: 'The people of the United States',
  max_tokens: newTokens,
  temperature: 0,
  stream: true,
});

/** The server as a process of its own, so that the client's work is not counted as the server's. */
const server = `
import { createGateway, listen } from '@moestack/serving';
import { createEmbeddedBackend } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
const backend = await createEmbeddedBackend({ modelDirectory: tinyMoe });
console.log((await listen(createGateway({ backend }), { port: 0 })).url);
`;

async function start(): Promise<string> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', server], {
    cwd: new URL('..', import.meta.url),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [url] = (await once(createInterface(child.stdout), 'line')) as [string];
  process.once('exit', () => child.kill());
  child.unref();
  child.stdout.destroy();
  return url;
}

export default defineBench({
  name: 'serving',
  notes: [
    `Tokens per second of that many concurrent HTTP streams of ${newTokens} tokens after a prompt of 6, default model, greedy.`,
    'One prefill and one decode thread beside the thread of gateway and controller; the client is another process on the same cores.',
  ],
  async groups() {
    const url = await start();
    const agent = new Agent({ keepAlive: true });
    const stream = () =>
      new Promise<void>((resolve, reject) => {
        const headers = { 'content-type': 'application/json' };
        request(`${url}/v1/completions`, { method: 'POST', agent, headers }, (response) => {
          response.resume();
          response.on('end', resolve);
        })
          .on('error', reject)
          .end(body);
      });
    const cases = streams.map(
      (count): BenchCase => ({
        name: `${count} streams`,
        unit: 'tokens/s',
        work: count * newTokens,
        run: () => Promise.all(Array.from({ length: count }, stream)),
      }),
    );
    return [
      {
        name: 'concurrent streams',
        rounds: 7,
        cases,
        ratios: streams.slice(1).map((count) => ({
          name: `${count} streams / 1 stream`,
          numerator: `${count} streams`,
          denominator: '1 streams',
        })),
      },
    ];
  },
});
