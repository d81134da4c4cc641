import { z } from 'zod';

const Count = z.int().nonnegative();

/** Counts of the binades that values fall into: `counts[i]` values with 2^(first + i) <= |x| < 2^(first + i + 1). */
export const BinadeHistogram = z.strictObject({
  first: z.int(),
  counts: z.array(Count),
});
export type BinadeHistogram = z.infer<typeof BinadeHistogram>;

/** What the values of a tensor are, scales applied, as float32. */
export const ValueStatistics = z.strictObject({
  zeros: Count,
  subnormals: Count.describe('of the stored type, before scales'),
  atMaximum: Count.describe('magnitude at the largest finite value of the stored type, before scales'),
  nans: Count,
  infinities: Count,
  largest: z.number().nonnegative().describe('largest finite magnitude'),
  smallest: z.number().positive().nullable().describe('smallest magnitude that is not zero'),
  mean: z.number().describe('of the finite values'),
  rootMeanSquare: z.number().nonnegative().describe('of the finite values'),
  binades: BinadeHistogram,
});
export type ValueStatistics = z.infer<typeof ValueStatistics>;

/** How the codes of a tensor of at most 8 bits an element are distributed. */
export const CodeStatistics = z.strictObject({
  format: z.string(),
  counts: z.array(Count).describe('by code'),
  entropyBits: z.number().nonnegative().describe('information in a code; the rest of its width is unused'),
});
export type CodeStatistics = z.infer<typeof CodeStatistics>;

/** The scales of a tensor: those it has, or those it would get. */
export const ScaleStatistics = z.strictObject({
  count: Count,
  block: z.tuple([z.int().positive(), z.int().positive()]).describe('rows and columns under one scale'),
  smallest: z.number().nullable().describe('smallest magnitude that is not zero'),
  largest: z.number().nonnegative(),
  powersOfTwo: Count,
  invalid: Count.describe('scales that are zero, negative or not finite'),
  binades: BinadeHistogram,
});
export type ScaleStatistics = z.infer<typeof ScaleStatistics>;

/** How far values are from those they stand for, over the elements that are finite in both. */
export const ErrorStatistics = z.strictObject({
  relativeError: z
    .number()
    .nonnegative()
    .describe('Frobenius norm of the difference over that of the original'),
  signalToNoiseDb: z.number().nullable().describe('-20 log10 of it; null where nothing differs'),
  largestError: z.number().nonnegative().describe('largest absolute difference'),
  underflows: Count.describe('elements that are not zero in the original and zero here'),
  saturations: Count.describe('elements that were beyond the largest value and were cut'),
  skipped: Count.describe('elements that are not finite on either side'),
});
export type ErrorStatistics = z.infer<typeof ErrorStatistics>;

/** One tensor of a {@link CheckpointInspection}. */
export const TensorInspection = z.strictObject({
  name: z.string(),
  file: z.string(),
  dtype: z.string(),
  shape: z.array(Count),
  elements: Count,
  bytes: Count,
  values: ValueStatistics.optional().describe('absent for integers, packed types and empty tensors'),
  codes: CodeStatistics.optional().describe('of tensors stored in at most 8 bits an element'),
  scales: ScaleStatistics.extend({ name: z.string(), dtype: z.string() })
    .optional()
    .describe('scales that the checkpoint holds for this tensor'),
  expectedError: z
    .strictObject({ relativeError: z.number().nonnegative(), signalToNoiseDb: z.number().nullable() })
    .optional()
    .describe(
      'of stored codes: rounding error if originals were uniform within the rounding interval of their code',
    ),
  quantized: ErrorStatistics.extend({ subnormals: Count, atMaximum: Count, scales: ScaleStatistics })
    .optional()
    .describe('what quantising this tensor by the scheme of the report would do to it'),
  against: ErrorStatistics.optional().describe('measured against the same tensor of the original checkpoint'),
  note: z.string().optional().describe('why something is absent'),
});
export type TensorInspection = z.infer<typeof TensorInspection>;

/** What `moestack fp8 inspect` writes: numerics of every tensor of a checkpoint. */
export const CheckpointInspection = z.strictObject({
  schemaVersion: z.literal(1),
  source: z.string().describe('the checkpoint, as its caller names it'),
  original: z.string().optional().describe('the checkpoint that `against` compares with'),
  quantization: z.strictObject({
    method: z.string().optional(),
    block: z.tuple([z.int().positive(), z.int().positive()]),
  }),
  scheme: z
    .strictObject({ format: z.string(), tile: z.tuple([z.int(), z.int()]), scale: z.string() })
    .describe('of `quantized`'),
  totals: z.strictObject({
    tensors: Count.describe('scale tensors count with the tensor they belong to'),
    elements: Count,
    bytes: Count,
    bytesByDtype: z.record(z.string(), Count),
  }),
  tensors: z.array(TensorInspection),
});
export type CheckpointInspection = z.infer<typeof CheckpointInspection>;
