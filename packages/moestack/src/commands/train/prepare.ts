import { homedir } from 'node:os';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { CorpusConfig, type CorpusManifest } from '@moestack/schemas';
import { type PrepareProgress, prepareCorpus } from '@moestack/training';
import { ProgressDisplay } from '../../progress-display.js';
import type { Reporter } from '../../reporter.js';
import { textTable } from '../../text-table.js';
import { readJson } from './read-json.js';

/** Options of `moestack train prepare`. */
export interface PrepareCommandOptions {
  readonly config: string;
  readonly directory?: string;
  readonly cache?: string;
  readonly context: number;
}

/** Makes a corpus and its tokenizer. */
export async function prepare(
  options: PrepareCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const { config: file, cache = defaultCache(), context } = options;
  const config = await readJson(file, CorpusConfig);
  const baseDirectory = dirname(resolve(file));
  const directory = options.directory ?? join(dirname(file), basename(file, extname(file)));
  const phases = new Map<PrepareProgress['phase'], ProgressDisplay>();
  const display = (phase: PrepareProgress['phase']): ProgressDisplay => {
    const known = phases.get(phase);
    if (known !== undefined) return known;
    for (const other of phases.values()) other.stop();
    const unit = { reading: 'sources', deduplicating: 'corpora', tokenizer: 'tokens', encoding: 'documents' }[
      phase
    ];
    const fresh = new ProgressDisplay(reporter, {
      label: phase,
      total: (count) => `${count} ${unit}`,
      lines: 4,
    });
    phases.set(phase, fresh);
    return fresh;
  };
  const manifest = await prepareCorpus(config, {
    directory,
    baseDirectory,
    cacheDirectory: cache,
    contextTokens: context,
    signal,
    onProgress: ({ phase, done, total }) => display(phase).update(done, total),
  }).finally(() => {
    for (const shown of phases.values()) shown.stop();
  });
  const { documents, ...summary } = manifest;
  reporter.result(
    {
      event: 'prepared',
      directory,
      name: summary.name,
      documents: documents.length,
      licenses: summary.licenses,
      excludedPassages: summary.excludedPassages,
      nearDuplicates: summary.nearDuplicates,
      tokenizer: summary.tokenizer,
      train: { tokens: summary.train.tokens, bytes: summary.train.bytes },
      heldOut: { tokens: summary.heldOut.tokens, bytes: summary.heldOut.bytes },
    },
    lines(directory, manifest),
  );
}

function lines(directory: string, manifest: CorpusManifest): string[] {
  const { documents, train, heldOut, tokenizer, excludedPassages, nearDuplicates, licenses } = manifest;
  const removed = documents.reduce((sum, { duplicateCharacters }) => sum + duplicateCharacters, 0);
  const row = (name: string, split: CorpusManifest['train']): string[] => [
    name,
    split.tokens.toLocaleString('en'),
    split.bytes.toLocaleString('en'),
    (split.bytes / split.tokens).toFixed(3),
  ];
  return [
    `${directory}: ${documents.length} documents, ${tokenizer.vocabularySize} tokens in the vocabulary`,
    ...textTable(
      ['<split', 'tokens', 'bytes', 'bytes/token'],
      [row('train', train), row('held out', heldOut)],
    ),
    `near-duplicates: ${nearDuplicates.pairs} pairs of windows (${nearDuplicates.ofHeldOut} with held-out text), ${removed} characters removed`,
    `excluded passages: ${excludedPassages.found} of ${excludedPassages.given} found and removed`,
    `licences: ${licenses.join('; ')}`,
  ];
}

function defaultCache(): string {
  const root = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  return join(root, 'moestack', 'packages');
}
