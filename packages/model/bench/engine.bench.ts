import { fileURLToPath } from 'node:url';
import { tinyMoe } from '@moestack/tiny-moe';
import { type BenchCase, type BenchGroup, type BenchRatio, defineBench } from '@moestack/tooling/bench';
import { type ModelRuntime, openRuntime, type StepBatch } from '../src/index.js';
import { CONTEXT, decodeBatch, tokensOf } from './decode-batch.js';
import { openLlama } from './peer/llama.js';
import { recordCalls } from './recorded-calls.js';
import { syntheticConfig, writeSyntheticCheckpoint } from './synthetic-checkpoint.js';

const cache = fileURLToPath(new URL('../../../node_modules/.cache/moestack-bench/', import.meta.url));
const PROMPT = 256;
const LLAMA_DECODE = 16;

interface Subject {
  readonly name: string;
  readonly runtime: ModelRuntime;
  /** Aims for the share of the bound; the small model is reported only. */
  readonly aims: Partial<Record<string, number>>;
}

export default defineBench({
  name: 'engine',
  notes: [
    `decode: one step at ${CONTEXT} tokens of context; prefill: ${PROMPT} tokens from an empty cache; one thread`,
    'bound: the matrix products of the same step, recorded and run again with nothing between; kernels: all its kernel calls likewise',
    'llama.cpp: Q8_0 weights of the same shapes through node-llama-cpp, one thread, native AVX',
  ],
  async groups() {
    const directory = `${cache}synthetic-moe`;
    writeSyntheticCheckpoint(directory);
    const subjects: Subject[] = [
      {
        name: 'synthetic',
        runtime: await open(directory),
        aims: { 'decode 1': 0.65, 'decode 16': 0.6, prefill: 0.6 },
      },
      { name: 'tiny-moe', runtime: await open(fileURLToPath(tinyMoe)), aims: {} },
    ];
    const llama = await openLlama(`${cache}synthetic.gguf`, syntheticConfig, 1024);
    return subjects.flatMap((subject) => groupsOf(subject, subject.name === 'synthetic' ? llama : undefined));
  },
});

function open(directory: string): Promise<ModelRuntime> {
  return openRuntime(directory, {
    blocks: 16 * 16,
    maxBatchTokens: PROMPT,
    maxSequences: 16,
    maxContextTokens: 256,
  });
}

function groupsOf(subject: Subject, llama: Awaited<ReturnType<typeof openLlama>>): BenchGroup[] {
  const prompt = Math.min(PROMPT, subject.runtime.limits.maxContextTokens);
  const decodePeer = llama && {
    name: 'llama.cpp decode 1',
    unit: 'tokens/s',
    work: LLAMA_DECODE,
    run: () => llama.decode(LLAMA_DECODE),
  };
  const prefillPeer = llama && {
    name: 'llama.cpp prefill',
    unit: 'tokens/s',
    work: prompt,
    run: () => llama.prefill(prompt),
  };
  return [
    group(subject, 'decode 1', decodeBatch(subject.runtime, 1), decodePeer),
    group(subject, 'decode 8', decodeBatch(subject.runtime, 8)),
    group(subject, 'decode 16', decodeBatch(subject.runtime, 16)),
    group(subject, 'prefill', prefillBatch(subject.runtime, prompt), prefillPeer),
  ];
}

function group(subject: Subject, what: string, batch: StepBatch, peer?: BenchCase): BenchGroup {
  const { runtime } = subject;
  const name = `${subject.name} ${what}`;
  const work = batch.tokenOffsets[batch.sequences]!;
  const step = (): void => {
    runtime.forward(batch);
  };
  const recorded = recordCalls(runtime.kernels, step);
  const aim = subject.aims[what];
  const ratios: BenchRatio[] = [
    {
      name: `${name}, share of its products`,
      numerator: name,
      denominator: `${name}, products only`,
      ...(aim === undefined ? {} : { aim }),
    },
    {
      name: `${name}, share of its kernel calls`,
      numerator: name,
      denominator: `${name}, kernel calls only`,
    },
  ];
  const isPeered = subject.name === 'synthetic' && (what === 'decode 1' || what === 'prefill');
  if (isPeered)
    ratios.push({
      name: `${name} over llama.cpp`,
      numerator: name,
      denominator: `llama.cpp ${what}`,
      aim: 0.5,
    });
  return {
    name,
    cases: [
      { name, unit: 'tokens/s', work, run: step },
      { name: `${name}, products only`, unit: 'tokens/s', work, run: recorded.products },
      { name: `${name}, kernel calls only`, unit: 'tokens/s', work, run: recorded.all },
      ...(peer === undefined ? [] : [peer]),
    ],
    ratios,
    rounds: 9,
    sampleMilliseconds: 50,
  };
}

function prefillBatch(runtime: ModelRuntime, tokens: number): StepBatch {
  return {
    sequences: 1,
    tokens: tokensOf(tokens, runtime.config.vocab_size),
    tokenOffsets: Int32Array.of(0, tokens),
    contextStarts: Int32Array.of(0),
    blockTables: Int32Array.from({ length: 16 }, (_, i) => i),
    blockTableStride: 16,
  };
}
