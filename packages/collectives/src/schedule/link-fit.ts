/** Time model of one link class: a message of b bytes takes alphaSeconds + b / bytesPerSecond. */
export interface LinkModel {
  readonly alphaSeconds: number;
  readonly bytesPerSecond: number;
}

/** What messages and reductions cost, measured or assumed; plain data that survives JSON. */
export interface LinkFit {
  readonly schemaVersion: 1;
  readonly intra: LinkModel;
  readonly inter: LinkModel;
  /** Output bytes of local reduction per second. */
  readonly reduceBytesPerSecond: number;
}

/** Assumed where nothing was measured: threads of one node, and an RDMA network of 50 GB/s between nodes. */
export const defaultLinkFit: LinkFit = {
  schemaVersion: 1,
  intra: { alphaSeconds: 1e-6, bytesPerSecond: 10e9 },
  inter: { alphaSeconds: 5e-6, bytesPerSecond: 50e9 },
  reduceBytesPerSecond: 5e9,
};
