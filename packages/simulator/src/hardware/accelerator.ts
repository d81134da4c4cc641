import { z } from 'zod';

const rate = z.number().positive().max(1e18);

/** A link class: a transfer of b bytes takes alphaSeconds + b / bytesPerSecond. One direction, for one GPU. */
export const Link = z.strictObject({
  bytesPerSecond: rate.describe('one direction, for one GPU'),
  alphaSeconds: z.number().min(0).max(1).describe('start-up time of a message'),
});
export type Link = z.infer<typeof Link>;

/** Machines on which kernels were measured; see `kernelTables`. */
export const MeasuredSystem = z.enum(['h100_sxm', 'h200_sxm', 'gb200']);
export type MeasuredSystem = z.infer<typeof MeasuredSystem>;

/** One kind of GPU in its server: peak rates, links, and whose kernel measurements speak for it. */
export const Accelerator = z.strictObject({
  name: z.string().min(1).max(100),
  sms: z.int().min(1).max(4096).describe('streaming multiprocessors'),
  memoryBytes: z.number().positive().max(1e15),
  memoryBytesPerSecond: rate.describe('peak of the device memory'),
  memoryEfficiency: z.number().positive().max(1).describe('share of the peak that streaming kernels reach'),
  flopsPerSecond: z
    .strictObject({ bf16: rate, fp8: rate, fp4: rate.nullable().describe('null: no such tensor cores') })
    .describe('dense tensor-core peaks'),
  gpusPerServer: z.int().min(1).max(256),
  gpusPerNvlinkDomain: z.int().min(1).max(4096).describe('GPUs that reach each other over NVLink'),
  nvlink: Link,
  network: Link.describe('one network card for each GPU'),
  measuredAs: MeasuredSystem.nullable().describe('whose kernel tables apply; null: roofline alone'),
  usdPerGpuHour: z.number().min(0).max(1e6),
  sources: z.array(z.string().min(1)).min(1).describe('where the figures come from'),
});
export type Accelerator = z.infer<typeof Accelerator>;
