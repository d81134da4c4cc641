import { z } from 'zod';

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 digest as 64 hexadecimal digits');
const Setting = z.union([z.string(), z.number(), z.boolean(), z.null()]);

/** The data that figures were taken on. A digest, not a name, says which data they were. */
export const BenchmarkDataset = z.strictObject({
  name: z.string().min(1),
  sha256: Sha256.describe('digest of the bytes as read'),
  bytes: z.int().nonnegative(),
  documents: z
    .int()
    .positive()
    .optional()
    .describe('texts, passages or samples; each is evaluated by itself'),
  tokens: z.int().nonnegative().optional().describe("tokens of all of it, by the subject's tokenizer"),
  license: z.string().min(1).optional().describe('SPDX identifier where there is one'),
  source: z.string().min(1).optional().describe('where it can be had'),
});
export type BenchmarkDataset = z.infer<typeof BenchmarkDataset>;

/** The part of a data set that one figure is about; what is absent is not restricted. */
export const BenchmarkSlice = z.strictObject({
  split: z.string().min(1).optional().describe('for example `test`'),
  generator: z.string().min(1).optional().describe('who wrote the texts: a model, or `human`'),
  domain: z.string().min(1).optional().describe('kind of text, for example `news`'),
  lengthTokens: z
    .strictObject({ minimum: z.int().nonnegative(), maximum: z.int().nonnegative() })
    .refine(({ minimum, maximum }) => minimum <= maximum, 'expected minimum <= maximum')
    .optional(),
});
export type BenchmarkSlice = z.infer<typeof BenchmarkSlice>;

/** What was evaluated, or what it is compared with: a model, a detector, a number format. */
export const BenchmarkSubject = z.strictObject({
  name: z.string().min(1),
  kind: z.string().min(1).describe('`model`, `detector` ...'),
  sha256: Sha256.optional().describe('digest of its weights or parameters'),
  recipe: z.string().min(1).optional().describe('how it computes, for example `fp8-weights`'),
  settings: z.record(z.string(), Setting).optional(),
});
export type BenchmarkSubject = z.infer<typeof BenchmarkSubject>;

/** How sure a figure is. */
export const BenchmarkInterval = z.strictObject({
  low: z.number(),
  high: z.number(),
  level: z.number().gt(0).lt(1).describe('for example 0.95'),
  method: z.string().min(1).describe('how it was computed, for example `delong` or `batch means`'),
});
export type BenchmarkInterval = z.infer<typeof BenchmarkInterval>;

/** One figure. */
export const BenchmarkFigure = z.strictObject({
  metric: z.string().min(1).describe('kebab case: `perplexity`, `kl-divergence`, `roc-auc`'),
  of: z.enum(['subject', 'baseline', 'comparison']).describe('whose figure it is; `comparison` needs both'),
  value: z.number(),
  unit: z.string().min(1).optional().describe('`nats/token`, `bits/byte`; absent for a plain number'),
  samples: z.int().positive().optional().describe('tokens, texts or pairs that the figure is over'),
  interval: BenchmarkInterval.optional(),
  slice: BenchmarkSlice.optional(),
});
export type BenchmarkFigure = z.infer<typeof BenchmarkFigure>;

/**
 * The result of one evaluation on one data set: every figure with the data, the subject, the settings and the
 * command that gave it. The same inputs give the same record; `createdAt` is there for those who want it.
 */
export const BenchmarkRecord = z
  .strictObject({
    schemaVersion: z.literal(1),
    name: z.string().min(1).describe('kind of evaluation, for example `language-model`'),
    dataset: BenchmarkDataset,
    slice: BenchmarkSlice.optional().describe('of the whole record; a figure may narrow it'),
    subject: BenchmarkSubject,
    baseline: BenchmarkSubject.optional(),
    settings: z.record(z.string(), Setting).describe('of the evaluation: window, stride, seed ...'),
    figures: z.array(BenchmarkFigure).min(1),
    createdWith: z.strictObject({
      command: z.string().min(1).describe('command line, or call, that gives it again'),
      package: z.string().min(1),
      version: z.string().min(1),
      node: z.string().min(1).optional(),
      createdAt: z.iso.datetime().optional(),
    }),
  })
  .refine(
    ({ baseline, figures }) => baseline !== undefined || figures.every(({ of }) => of === 'subject'),
    'expected a baseline for figures of the baseline or of a comparison',
  );
export type BenchmarkRecord = z.infer<typeof BenchmarkRecord>;
