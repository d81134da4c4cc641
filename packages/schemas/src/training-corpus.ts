import { z } from 'zod';

const Count = z.int().nonnegative();
const Path = z.string().min(1).max(4096);
const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** Where documents come from; paths of files start at the configuration file. */
export const CorpusSource = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('npm'),
    package: z.string().min(1).max(214),
    version: z.string().min(1).max(64),
    integrity: z.string().regex(/^sha512-[A-Za-z0-9+/]{86}==$/),
    match: z.string().min(1).max(200).describe('regular expression on paths below the package folder'),
    license: z.string().min(1).max(200),
    format: z
      .enum(['plain', 'gutenberg'])
      .default('plain')
      .describe('gutenberg: title line and licence text are cut'),
  }),
  z.strictObject({
    type: z.literal('files'),
    paths: z.array(Path).min(1).max(10_000),
    license: z.string().min(1).max(200),
    format: z.enum(['plain', 'gutenberg']).default('plain'),
  }),
]);
export type CorpusSource = z.infer<typeof CorpusSource>;

/** What `moestack train prepare` reads. */
export const CorpusConfig = z.strictObject({
  schemaVersion: z.literal(1),
  name: z.string().min(1).max(200),
  sources: z.array(CorpusSource).min(1).max(100),
  exclude: z
    .array(Path)
    .max(100)
    .default([])
    .describe('JSON lines files with a "text" on each line, which must not be trained on'),
  heldOutFraction: z.number().min(0).max(0.5).default(0.02).describe('end of every document'),
  nearDuplicates: z
    .strictObject({
      windowWords: z.int().min(8).max(4096).default(64),
      strideWords: z.int().min(1).max(4096).default(32),
      shingleWords: z.int().min(1).max(64).default(5),
      threshold: z.number().gt(0).max(1).default(0.5).describe('Jaccard similarity of shingle sets'),
    })
    .prefault({}),
  vocabularySize: z.int().min(257).max(65_536),
});
export type CorpusConfig = z.infer<typeof CorpusConfig>;

/** A document of a prepared corpus. */
export const CorpusDocument = z.strictObject({
  id: z.string(),
  title: z.string(),
  source: z.string().describe('package@version, or files'),
  license: z.string(),
  sha256: Sha256.describe('of the cleaned text, UTF-8'),
  characters: Count.describe('UTF-16 units of the cleaned text'),
  heldOutCharacters: Count,
  excludedCharacters: Count.describe('of passages that must not be trained on'),
  duplicateCharacters: Count.describe('near-duplicates of held-out text or of earlier documents'),
  trainTokens: Count,
  heldOutTokens: Count,
});
export type CorpusDocument = z.infer<typeof CorpusDocument>;

/** A file of token ids, little-endian uint16: segments of running text, each with an end-of-text token behind it. */
export const CorpusSplit = z.strictObject({
  file: z.string(),
  sha256: Sha256,
  tokens: Count.describe('with the end-of-text tokens'),
  bytes: Count.describe('UTF-8 bytes of the text, for bits per byte'),
  segments: z
    .array(z.tuple([Count, Count, Count]))
    .describe('[document, first token, tokens], in the order of the file, which they fill'),
});
export type CorpusSplit = z.infer<typeof CorpusSplit>;

/** What `moestack train prepare` writes beside the token files. */
export const CorpusManifest = z.strictObject({
  schemaVersion: z.literal(1),
  name: z.string(),
  config: CorpusConfig,
  licenses: z.array(z.string()),
  excludedPassages: z.strictObject({ given: Count, found: Count }),
  nearDuplicates: z.strictObject({
    pairs: Count,
    ofHeldOut: Count.describe('pairs of a training window and a held-out one'),
  }),
  tokenizer: z.strictObject({
    file: z.string(),
    sha256: Sha256,
    vocabularySize: Count,
    endOfTextId: Count,
  }),
  documents: z.array(CorpusDocument),
  train: CorpusSplit,
  heldOut: CorpusSplit,
});
export type CorpusManifest = z.infer<typeof CorpusManifest>;
