import { z } from 'zod';

/** Where and on what a benchmark ran; a figure without it cannot be compared. */
export const BenchmarkMachine = z.strictObject({
  cpu: z.string().describe('CPU model as the operating system reports it'),
  logicalCores: z.int().positive(),
  memoryBytes: z.int().positive(),
  platform: z.string(),
  node: z.string().describe('Node.js version'),
});
export type BenchmarkMachine = z.infer<typeof BenchmarkMachine>;

/** One measured row: the median of interleaved rounds, in `unit`. */
export const BenchmarkRow = z.strictObject({
  name: z.string().min(1),
  unit: z.string().min(1).describe('unit of `median`, for example `GFLOP/s` or `tokens/s`'),
  median: z.number(),
  minimum: z.number(),
  maximum: z.number(),
  rounds: z.int().positive(),
});
export type BenchmarkRow = z.infer<typeof BenchmarkRow>;

/** A ratio between two rows of the same interleaved run. */
export const BenchmarkRatio = z.strictObject({
  name: z.string().min(1),
  numerator: z.string(),
  denominator: z.string(),
  median: z.number().nullable().describe('median of the ratios of each round; null when a side was skipped'),
  aim: z.number().optional().describe('what the ratio is meant to reach; never enforced'),
  skipped: z.string().optional().describe('why the ratio could not be measured'),
});
export type BenchmarkRatio = z.infer<typeof BenchmarkRatio>;

/** What `pnpm bench --json` writes to `bench/results/NAME.json`. */
export const BenchmarkReport = z.strictObject({
  schemaVersion: z.literal(1),
  name: z.string().min(1),
  machine: BenchmarkMachine,
  rows: z.array(BenchmarkRow),
  ratios: z.array(BenchmarkRatio),
  notes: z.array(z.string()),
});
export type BenchmarkReport = z.infer<typeof BenchmarkReport>;
