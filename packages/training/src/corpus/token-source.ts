import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CorpusManifest } from '@moestack/schemas';
import { TrainingError } from '../errors.js';
import type { TokenSource } from '../types.js';
import { permutation } from './permutation.js';
import { mix } from './word-stream.js';

/** Options of {@link createTokenSource}; they survive `postMessage`. */
export interface TokenSourceOptions {
  /** Token file of a prepared corpus; `manifest.json` lies beside it. */
  readonly file: string;
  readonly contextTokens: number;
  /** Sequences of a step, over all ranks. */
  readonly batchSequences: number;
  /** Default 1. */
  readonly ranks?: number;
  readonly seed: number;
}

/** A {@link TokenSource} over a file, with what is known of it. */
export interface FileTokenSource extends TokenSource {
  /** Sequences of an epoch. */
  readonly sequences: number;
  /** Size of the vocabulary that the corpus was encoded with. */
  readonly vocabularySize: number;
  /** Closes the file. */
  close(): void;
}

/** A segment, or short ones in a row, that sequences are cut from. */
interface Run {
  /** Where it begins: in the file, or in `packed`. */
  readonly start: number;
  readonly tokens: number;
  readonly packed: boolean;
}

const mostManifestBytes = 256 * 1024 * 1024;

/**
 * Batches of a prepared corpus. Sequences never reach from one document into another, but where documents are shorter
 * than a sequence: these follow each other, parted by the end-of-text token. An epoch holds every sequence once, in an
 * order that seed and epoch fix; each epoch cuts elsewhere. Which sequences a step sees depends on the seed alone, not on
 * how many ranks share them.
 *
 * @throws TrainingError `training/bad-corpus` for files that are missing, damaged or too small.
 */
export function createTokenSource(options: TokenSourceOptions): FileTokenSource {
  const { file, contextTokens, batchSequences, ranks = 1, seed } = options;
  if (batchSequences % ranks !== 0) {
    throw new TrainingError({
      code: 'training/bad-config',
      message: `expected a multiple of ${ranks} ranks for batchSequences, got ${batchSequences}`,
      value: batchSequences,
      remedy: 'change batchSequences or ranks',
    });
  }
  const manifest = readManifest(file);
  const split = [manifest.train, manifest.heldOut].find((entry) => file.endsWith(entry.file));
  if (split === undefined) throw badCorpus(`${file} is not in its manifest`, file);
  const descriptor = open(file);
  const length = contextTokens + 1;
  try {
    const { size } = fstatSync(descriptor);
    if (size !== 2 * split.tokens)
      throw badCorpus(`expected ${2 * split.tokens} bytes in ${file}, got ${size}`, size);
    const { runs, packed } = runsOf(split.segments, split.tokens, length, descriptor);
    return new Source(descriptor, runs, packed, {
      contextTokens,
      batchSequences,
      ranks,
      seed,
      vocabularySize: manifest.tokenizer.vocabularySize,
    });
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

class Source implements FileTokenSource {
  readonly sequences: number;
  readonly vocabularySize: number;
  readonly #descriptor: number;
  readonly #runs: readonly Run[];
  readonly #packed: Uint16Array;
  readonly #context: number;
  readonly #perStep: number;
  readonly #perRank: number;
  readonly #seed: number;
  /** Number of the first sequence of each run. */
  readonly #firsts: Uint32Array;
  readonly #bytes: Uint8Array;
  #epoch = -1;
  #order: Uint32Array = new Uint32Array(0);

  constructor(
    descriptor: number,
    runs: readonly Run[],
    packed: Uint16Array,
    sizes: Required<Omit<TokenSourceOptions, 'file'>> & { vocabularySize: number },
  ) {
    this.#descriptor = descriptor;
    this.#runs = runs;
    this.#packed = packed;
    this.#context = sizes.contextTokens;
    this.#perStep = sizes.batchSequences;
    this.#perRank = sizes.batchSequences / sizes.ranks;
    this.#seed = sizes.seed;
    this.vocabularySize = sizes.vocabularySize;
    this.#firsts = new Uint32Array(runs.length);
    let count = 0;
    runs.forEach(({ tokens }, index) => {
      this.#firsts[index] = count;
      count += Math.floor((tokens - 1) / this.#context);
    });
    this.sequences = count;
    this.#bytes = new Uint8Array(2 * (this.#context + 1));
  }

  batch(step: number, rank: number): Int32Array {
    const length = this.#context + 1;
    const out = new Int32Array(this.#perRank * length);
    for (let row = 0; row < this.#perRank; row++) {
      const sample = step * this.#perStep + rank * this.#perRank + row;
      const epoch = Math.floor(sample / this.sequences);
      if (epoch !== this.#epoch) {
        this.#order = permutation(this.sequences, this.#seed, epoch);
        this.#epoch = epoch;
      }
      this.#read(this.#order[sample % this.sequences]!, epoch, out, row * length);
    }
    return out;
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  #read(sequence: number, epoch: number, out: Int32Array, at: number): void {
    const index = lastAtMost(this.#firsts, sequence);
    const run = this.#runs[index]!;
    // What is left over when a run is cut into sequences moves to another end of it each epoch.
    const slack = (run.tokens - 1) % this.#context;
    const phase = mix(mix(this.#seed ^ epoch) ^ index) % (slack + 1);
    const start = run.start + phase + (sequence - this.#firsts[index]!) * this.#context;
    const length = this.#context + 1;
    if (run.packed) {
      for (let i = 0; i < length; i++) out[at + i] = this.#packed[start + i]!;
      return;
    }
    readExactly(this.#descriptor, this.#bytes, 2 * start);
    for (let i = 0; i < length; i++) out[at + i] = this.#bytes[2 * i]! | (this.#bytes[2 * i + 1]! << 8);
  }
}

function runsOf(
  segments: CorpusManifest['train']['segments'],
  tokens: number,
  length: number,
  descriptor: number,
): { runs: Run[]; packed: Uint16Array } {
  const runs: Run[] = [];
  const short: number[] = [];
  let at = 0;
  for (const [, start, count] of segments) {
    if (start !== at) throw badCorpus(`expected a segment at token ${at}, got ${start}`, start);
    at += count;
    if (count >= length) {
      runs.push({ start, tokens: count, packed: false });
      continue;
    }
    const bytes = new Uint8Array(2 * count);
    readExactly(descriptor, bytes, 2 * start);
    for (let i = 0; i < count; i++) short.push(bytes[2 * i]! | (bytes[2 * i + 1]! << 8));
  }
  if (at !== tokens) throw badCorpus(`expected segments of ${tokens} tokens, got ${at}`, at);
  if (short.length >= length) runs.push({ start: 0, tokens: short.length, packed: true });
  if (runs.length === 0) throw badCorpus(`expected at least ${length} tokens, got ${tokens}`, tokens);
  return { runs, packed: Uint16Array.from(short) };
}

/** Reads and checks the manifest beside a token file. */
export function readManifest(file: string): CorpusManifest {
  const path = join(dirname(file), 'manifest.json');
  let json: unknown;
  try {
    const text = readFileSync(path);
    if (text.length > mostManifestBytes) throw badCorpus(`${path} is too large`, text.length);
    json = JSON.parse(text.toString('utf8'));
  } catch (cause) {
    if (TrainingError.isInstance(cause)) throw cause;
    throw badCorpus(`cannot read ${path}`, path, cause);
  }
  const parsed = CorpusManifest.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw badCorpus(`${path} is malformed: ${issue?.path.join('.')}: ${issue?.message}`, path);
}

function open(file: string): number {
  try {
    return openSync(file, 'r');
  } catch (cause) {
    throw badCorpus(`cannot open ${file}`, file, cause);
  }
}

function readExactly(descriptor: number, out: Uint8Array, position: number): void {
  for (let done = 0; done < out.length; ) {
    const count = readSync(descriptor, out, done, out.length - done, position + done);
    if (count === 0) throw badCorpus('the token file ended early', position + done);
    done += count;
  }
}

/** Index of the last entry that is at most `value`. */
function lastAtMost(sorted: Uint32Array, value: number): number {
  let [low, high] = [0, sorted.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (sorted[middle]! <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

function badCorpus(message: string, value: unknown, cause?: unknown): TrainingError {
  return new TrainingError({
    code: 'training/bad-corpus',
    message,
    value,
    remedy: 'prepare the corpus again: moestack train prepare',
    ...(cause === undefined ? {} : { cause }),
  });
}
