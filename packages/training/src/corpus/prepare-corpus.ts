import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { CorpusConfig, CorpusDocument, CorpusManifest, CorpusSplit } from '@moestack/schemas';
import { TrainingError } from '../errors.js';
import { BpeEncoder } from '../tokenizer/bpe-encoder.js';
import { tokenizerConfigJson, tokenizerJson } from '../tokenizer/tokenizer-json.js';
import { type BpeVocabulary, END_OF_TEXT_ID, trainBpe } from '../tokenizer/train-bpe.js';
import { PassageExclusion } from './exclude-passages.js';
import { readSources, type SourceDocument } from './read-sources.js';
import { type SplitDocument, type SplitResult, splitDocuments } from './split-documents.js';
import { TokenFileWriter } from './token-file.js';

/** Where a preparation stands. */
export interface PrepareProgress {
  readonly phase: 'reading' | 'deduplicating' | 'tokenizer' | 'encoding';
  readonly done: number;
  readonly total: number;
}

/** Options of {@link prepareCorpus}. */
export interface PrepareCorpusOptions {
  /** Where the files go; made if it is not there. */
  readonly directory: string;
  /** Where relative paths of the configuration start. */
  readonly baseDirectory: string;
  /** Where package archives are kept. */
  readonly cacheDirectory: string;
  /** Context that `tokenizer_config.json` names; default 512. */
  readonly contextTokens?: number;
  /** Called as the work proceeds. */
  readonly onProgress?: (progress: PrepareProgress) => void;
  readonly signal?: AbortSignal;
}

/** Files that a preparation writes; the manifest comes last, so that one without it is not taken for complete. */
export const corpusFiles = {
  manifest: 'manifest.json',
  tokenizer: 'tokenizer.json',
  tokenizerConfig: 'tokenizer_config.json',
  train: 'train.tokens',
  heldOut: 'heldout.tokens',
  heldOutText: 'heldout.jsonl',
} as const;

/**
 * Fetches, cleans, splits, deduplicates and tokenizes a corpus, and writes it with its manifest. The same configuration
 * gives the same bytes.
 *
 * @throws TrainingError for sources that cannot be had, or that hold too little text.
 */
export async function prepareCorpus(
  config: CorpusConfig,
  options: PrepareCorpusOptions,
): Promise<CorpusManifest> {
  const { directory, baseDirectory, contextTokens = 512, onProgress, signal } = options;
  const report = (phase: PrepareProgress['phase'], done: number, total: number): void =>
    onProgress?.({ phase, done, total });

  report('reading', 0, 1);
  const passages = await readPassages(config.exclude, baseDirectory);
  const documents = await readSources(config.sources, options);
  report('deduplicating', 0, 1);
  signal?.throwIfAborted();
  const exclusion = new PassageExclusion(passages);
  const split = splitDocuments(documents, config, exclusion);
  signal?.throwIfAborted();
  const vocabulary = trainBpe(trainTexts(documents, split), {
    vocabularySize: config.vocabularySize,
    onProgress: ({ done, total }) => report('tokenizer', done, total),
    ...(signal !== undefined && { signal }),
  });

  await mkdir(directory, { recursive: true });
  const tokenizer = `${JSON.stringify(tokenizerJson(vocabulary))}\n`;
  await writeFile(join(directory, corpusFiles.tokenizer), tokenizer);
  await writeFile(
    join(directory, corpusFiles.tokenizerConfig),
    `${JSON.stringify(tokenizerConfigJson(contextTokens), null, 1)}\n`,
  );
  const encoded = await encodeSplits(documents, split.documents, vocabulary, options);
  const manifest: CorpusManifest = {
    schemaVersion: 1,
    name: config.name,
    config,
    licenses: [...new Set(documents.map(({ license }) => license))].sort(),
    excludedPassages: { given: passages.length, found: exclusion.found },
    nearDuplicates: { pairs: split.pairs, ofHeldOut: split.ofHeldOut },
    tokenizer: {
      file: corpusFiles.tokenizer,
      sha256: sha256(tokenizer),
      vocabularySize: vocabulary.bytes.length,
      endOfTextId: END_OF_TEXT_ID,
    },
    documents: documents.map((document, i) => describe(document, i, split.documents[i]!, encoded)),
    train: encoded.train,
    heldOut: encoded.heldOut,
  };
  const path = join(directory, corpusFiles.manifest);
  await writeFile(`${path}.tmp`, `${JSON.stringify(manifest, null, 1)}\n`);
  await rename(`${path}.tmp`, path);
  return manifest;
}

interface EncodedSplits {
  readonly train: CorpusSplit;
  readonly heldOut: CorpusSplit;
}

async function encodeSplits(
  documents: readonly SourceDocument[],
  split: readonly SplitDocument[],
  vocabulary: BpeVocabulary,
  { directory, onProgress, signal }: PrepareCorpusOptions,
): Promise<EncodedSplits> {
  const encoder = new BpeEncoder(vocabulary);
  const train = await TokenFileWriter.create(join(directory, corpusFiles.train), corpusFiles.train);
  const heldOut = await TokenFileWriter.create(join(directory, corpusFiles.heldOut), corpusFiles.heldOut);
  const held: string[] = [];
  try {
    for (const [i, { text, id }] of documents.entries()) {
      signal?.throwIfAborted();
      onProgress?.({ phase: 'encoding', done: i, total: documents.length });
      for (const { start, end } of split[i]!.train) {
        const part = text.slice(start, end);
        if (part.trim() !== '') await train.add(i, encoder.encode(part), Buffer.byteLength(part));
      }
      const { start, end } = split[i]!.heldOut;
      const rest = text.slice(start, end);
      if (rest === '') continue;
      await heldOut.add(i, encoder.encode(rest), Buffer.byteLength(rest));
      held.push(`${JSON.stringify({ id, text: rest })}\n`);
    }
    await writeFile(join(directory, corpusFiles.heldOutText), held.join(''));
    return { train: await train.finish(), heldOut: await heldOut.finish() };
  } catch (error) {
    await Promise.all([train.abandon(), heldOut.abandon()]);
    throw error;
  }
}

function describe(
  { id, title, source, license, text }: SourceDocument,
  index: number,
  { heldOut, excludedCharacters, duplicateCharacters }: SplitDocument,
  encoded: EncodedSplits,
): CorpusDocument {
  const tokens = ({ segments }: CorpusSplit): number =>
    segments.reduce((sum, [document, , count]) => sum + (document === index ? count : 0), 0);
  return {
    id,
    title,
    source,
    license,
    sha256: sha256(text),
    characters: text.length,
    heldOutCharacters: heldOut.end - heldOut.start,
    excludedCharacters,
    duplicateCharacters,
    trainTokens: tokens(encoded.train),
    heldOutTokens: tokens(encoded.heldOut),
  };
}

function* trainTexts(
  documents: readonly SourceDocument[],
  { documents: split }: SplitResult,
): Generator<string> {
  for (const [i, { text }] of documents.entries())
    for (const { start, end } of split[i]!.train) yield text.slice(start, end);
}

async function readPassages(paths: readonly string[], baseDirectory: string): Promise<string[]> {
  const passages: string[] = [];
  for (const path of paths) {
    const file = resolve(baseDirectory, path);
    let line = 0;
    try {
      for (const row of (await readFile(file, 'utf8')).split('\n')) {
        line++;
        if (row.trim() === '') continue;
        const { text } = JSON.parse(row) as { text?: unknown };
        if (typeof text !== 'string') throw new TypeError('no "text"');
        passages.push(text);
      }
    } catch (cause) {
      throw new TrainingError({
        code: 'training/bad-corpus',
        message: `cannot read the passages to exclude: ${file}, line ${line}`,
        value: path,
        remedy: 'name a .jsonl file with a "text" on each line',
        cause,
      });
    }
  }
  return passages;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
