/** Hardware that section 3.5 of the DeepSeek-V3 report asks for, one switch each. */
export type HardwareProposal =
  | 'accumulationPrecision'
  | 'scalingInMma'
  | 'castInCopy'
  | 'transposedReads'
  | 'unifiedFabric';

/** A proposal in words. */
export interface ProposalDescription {
  readonly title: string;
  /** What the hardware would do. */
  readonly does: string;
  /** What it saves, and how that is computed. */
  readonly model: string;
}

/** All proposals, in the order of the report. */
export const hardwareProposals: Readonly<Record<HardwareProposal, ProposalDescription>> = {
  unifiedFabric: {
    title: 'One fabric, communication offloaded',
    does: 'A co-processor forwards between the two networks, reduces in combine and manages buffers; kernels issue reads, writes and reductions to one address space.',
    model:
      'The SMs that communicate compute instead, and received rows are not staged in memory (one write and one read of every byte that is exchanged).',
  },
  accumulationPrecision: {
    title: 'Full accumulation precision',
    does: 'FP8 products are added in FP32 instead of about 14 bits, so that partial sums stay in the tensor core.',
    model:
      'Promoting partial sums every 128 products takes one FMA of the CUDA cores for each output. Block scales need that FMA too: without scaling inside the MMA nothing is saved but accuracy is gained.',
  },
  scalingInMma: {
    title: 'Block scales inside the MMA',
    does: 'Tensor cores take the scales of 1 x 128 and 128 x 128 blocks and apply them to partial sums.',
    model:
      'The same FMA of the CUDA cores: it falls away only together with full accumulation precision. Together they save up to 128 / 4096 of a cycle in four: a fifth of the time of an arithmetic-bound FP8 GEMM whose promotion nothing hides, nothing where a second warpgroup hides all of it.',
  },
  castInCopy: {
    title: 'FP8 cast in the copy engine',
    does: 'Activations are quantised while TMA moves them from global to shared memory.',
    model:
      'Saves writing and reading the FP8 copy: 2 of 4 bytes for every quantised GEMM input; inputs that are sent to other GPUs are quantised anyway.',
  },
  transposedReads: {
    title: 'Transposed reads',
    does: 'Matrices are read transposed from shared memory, so that the backward pass needs no second FP8 copy.',
    model:
      'Training only: saves reading and writing every saved activation once more (2 bytes), and the second copy of every output gradient (1 byte).',
  },
};
