import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { createInterface } from 'node:readline';
import type { EmbeddedBackend } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
import { type BenchCase, type BenchGroup, defineBench } from '@moestack/tooling/bench';
import { decodeBatch } from '../../model/bench/decode-batch.js';
import { recordCalls } from '../../model/bench/recorded-calls.js';
import { generate, openAlone, openBackend, schedulerStep, syntheticModel } from './serving/embedded.js';

const newTokens = 64;
const streams = [1, 8, 32];
const batch = 16;
const sequences = 64;
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

const backends: EmbeddedBackend[] = [];

export default defineBench({
  name: 'serving',
  notes: [
    `Streams: tokens per second of that many concurrent HTTP streams of ${newTokens} tokens after a prompt of 6, default model, greedy; one prefill and one decode thread beside the thread of gateway and controller; the client is another process on the same cores.`,
    'Sequences: the embedded engine with one rank, called without HTTP, 32 tokens after prompts of 4; synthetic: 324 M parameters in FP8, 115 M active per token.',
    'Products: the matrix products of one decode step of so many rows, recorded and run again on this thread with nothing between: the GEMV bound of 1 row, the grouped-GEMM bound of 16.',
    `Scheduler: one plan and its completion while ${sequences} requests decode, with prefix cache and fairness; a step: the default model's wall time for a token of all ${sequences}, plans, messages and answers included; the model alone: one step at 128 tokens of context.`,
  ],
  async *groups() {
    yield await httpStreams();
    yield await batching();
    yield await stepCost();
  },
  async close() {
    for (const backend of backends) await backend.close();
  },
});

async function httpStreams(): Promise<BenchGroup> {
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
  return {
    name: 'concurrent streams',
    rounds: 7,
    cases: streams.map(
      (count): BenchCase => ({
        name: `${count} streams`,
        unit: 'tokens/s',
        work: count * newTokens,
        run: () => Promise.all(Array.from({ length: count }, stream)),
      }),
    ),
    ratios: streams.slice(1).map((count) => ({
      name: `${count} streams / 1 stream`,
      numerator: `${count} streams`,
      denominator: '1 streams',
    })),
  };
}

/** What a batch of 16 gains over a single sequence, and how near both come to their products alone. */
async function batching(): Promise<BenchGroup> {
  const tokens = 32;
  const directory = syntheticModel();
  const backend = await openBackend(directory, batch);
  backends.push(backend);
  const alone = await openAlone(directory, batch);
  const engine = (count: number): BenchCase => ({
    name: `synthetic, ${count} sequences`,
    unit: 'tokens/s',
    work: count * tokens,
    run: () => generate(backend, count, tokens),
  });
  const products = (count: number): BenchCase => {
    const step = decodeBatch(alone, count);
    const recorded = recordCalls(alone.kernels, () => void alone.forward(step));
    return {
      name: `synthetic, products of ${count} rows`,
      unit: 'tokens/s',
      work: count,
      run: recorded.products,
    };
  };
  const share = (count: number, aim: number) => ({
    name: `${count} sequences, share of the bound`,
    numerator: `synthetic, ${count} sequences`,
    denominator: `synthetic, products of ${count} rows`,
    aim,
  });
  return {
    name: 'batches of the synthetic model',
    rounds: 5,
    sampleMilliseconds: 200,
    cases: [engine(1), engine(batch), products(1), products(batch)],
    ratios: [
      {
        name: `${batch} sequences / 1 sequence`,
        numerator: `synthetic, ${batch} sequences`,
        denominator: 'synthetic, 1 sequences',
        aim: 2.5,
      },
      share(1, 0.65),
      share(batch, 0.6),
    ],
  };
}

/** What scheduling costs of a step in which 64 sequences decode, and what all but the model does. */
async function stepCost(): Promise<BenchGroup> {
  const tokens = 64;
  const backend = await openBackend(tinyMoe, sequences);
  backends.push(backend);
  const alone = await openAlone(tinyMoe, sequences);
  const step = decodeBatch(alone, sequences);
  return {
    name: `a step of ${sequences} sequences`,
    rounds: 7,
    cases: [
      { name: 'scheduler', unit: 'us', run: schedulerStep(sequences) },
      {
        name: 'engine, a step',
        unit: 'us',
        // A prompt's step, which gives each its first token, costs about as much as a step after it.
        measure: async () => {
          const from = performance.now();
          await generate(backend, sequences, tokens);
          return (performance.now() - from) / 1e3 / tokens;
        },
      },
      { name: 'model alone, a step', unit: 'us', run: () => alone.forward(step) },
    ],
    ratios: [
      {
        name: 'scheduler, share of a step',
        numerator: 'scheduler',
        denominator: 'engine, a step',
        aim: 0.02,
      },
      {
        name: 'engine, a step / model alone, a step',
        numerator: 'engine, a step',
        denominator: 'model alone, a step',
      },
    ],
  };
}
