import type { Accelerator } from './accelerator.js';

const aiconfigurator = 'ai-dynamo/aiconfigurator, systems/*.yaml (Apache-2.0): memory, peaks, links';
const deepEp = 'deepseek-ai/DeepEP docs/legacy.md: bandwidth that its kernels reach';
const assumedPrice = 'price: an assumption of the order of public cloud prices, to be replaced by yours';

/** NVIDIA H100 SXM with 80 GB and one 400 Gb/s card for each GPU. */
export const h100: Accelerator = {
  name: 'H100',
  sms: 132,
  memoryBytes: 85_899_345_920,
  memoryBytesPerSecond: 3.35e12,
  memoryEfficiency: 0.8,
  flopsPerSecond: { bf16: 989e12, fp8: 1978e12, fp4: null },
  gpusPerServer: 8,
  gpusPerNvlinkDomain: 8,
  // 450 GB/s nominal; the measured single-node dispatch moves 330 to 340.
  nvlink: { bytesPerSecond: 340e9, alphaSeconds: 5e-6 },
  network: { bytesPerSecond: 45e9, alphaSeconds: 10e-6 },
  measuredAs: 'h100_sxm',
  usdPerGpuHour: 2.5,
  sources: [aiconfigurator, deepEp, assumedPrice],
};

/**
 * NVIDIA H800 SXM, **derived from the H100**: no kernel tables of its own exist. Compute, memory and network are taken to be
 * the H100's; NVLink is set to the 160 GB/s that the DeepSeek-V3 report gives as its real bandwidth.
 */
export const h800: Accelerator = {
  ...h100,
  name: 'H800',
  nvlink: { bytesPerSecond: 160e9, alphaSeconds: 5e-6 },
  usdPerGpuHour: 2,
  sources: [
    'derived from H100: compute, memory, network and kernel tables',
    'DeepSeek-V3 technical report, section 3.4: NVLink 160 GB/s',
    'deepseek-ai/open-infra-index day 6: 2 USD a GPU hour',
    deepEp,
  ],
};

/** NVIDIA H200 SXM: the H100's compute with 141 GB of faster memory. */
export const h200: Accelerator = {
  ...h100,
  name: 'H200',
  memoryBytes: 151_397_597_184,
  memoryBytesPerSecond: 4.8e12,
  measuredAs: 'h200_sxm',
  usdPerGpuHour: 3.5,
};

/** NVIDIA B200 SXM in servers of eight; kernels scaled from measurements on GB200. */
export const b200: Accelerator = {
  name: 'B200',
  sms: 148,
  memoryBytes: 192e9,
  memoryBytesPerSecond: 8e12,
  memoryEfficiency: 0.8,
  flopsPerSecond: { bf16: 2250e12, fp8: 4500e12, fp4: 9000e12 },
  gpusPerServer: 8,
  gpusPerNvlinkDomain: 8,
  nvlink: { bytesPerSecond: 680e9, alphaSeconds: 5e-6 },
  network: { bytesPerSecond: 45e9, alphaSeconds: 10e-6 },
  measuredAs: 'gb200',
  usdPerGpuHour: 5,
  sources: ['NVIDIA DGX B200 datasheet', 'derived from GB200: kernel tables', assumedPrice],
};

/** NVIDIA GB200 NVL72: 72 GPUs in one NVLink domain, four in a tray. */
export const gb200Nvl72: Accelerator = {
  ...b200,
  name: 'GB200 NVL72',
  memoryBytes: 198_674_743_296,
  flopsPerSecond: { bf16: 2500e12, fp8: 5000e12, fp4: 10_000e12 },
  gpusPerServer: 4,
  gpusPerNvlinkDomain: 72,
  usdPerGpuHour: 6,
  sources: [aiconfigurator, assumedPrice],
};

/** All presets by name. */
export const accelerators: Readonly<Record<'h800' | 'h100' | 'h200' | 'b200' | 'gb200', Accelerator>> = {
  h800,
  h100,
  h200,
  b200,
  gb200: gb200Nvl72,
};
