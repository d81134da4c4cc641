import type { ModelShape } from '../model/model-shape.js';

/** Elements for each token, summed over layers, on one GPU of a tensor-parallel group. */
export interface TokenElements {
  /** Inputs of FP8 GEMMs that are quantised where they are used. */
  readonly quantised: number;
  /** Inputs of all linear layers: what the backward pass keeps. */
  readonly inputs: number;
  /** Outputs of all linear layers: gradients that the backward pass quantises. */
  readonly outputs: number;
}

/** Activations around the linear layers of a model for one token; the token's experts are counted wherever they are. */
export function tokenElements(model: ModelShape, tp: number): TokenElements {
  const { layers, denseLayers, hidden, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } =
    model;
  const { denseIntermediate, expertIntermediate, topK, sharedExperts } = model;
  const heads = model.heads / tp;
  const queryRank = qLoraRank ?? 0;
  const attentionInputs = hidden + queryRank + kvLoraRank + heads * vHeadDim;
  const attentionOutputs =
    queryRank +
    kvLoraRank +
    qkRopeHeadDim +
    heads * (qkNopeHeadDim + qkRopeHeadDim) +
    heads * (qkNopeHeadDim + vHeadDim) +
    hidden;
  const expertWidth = (topK + sharedExperts) * expertIntermediate;
  const moeLayers = layers - denseLayers;
  return {
    // Rows for experts are quantised before they are sent, with or without help.
    quantised:
      layers * attentionInputs + denseLayers * (hidden + denseIntermediate) + moeLayers * expertWidth,
    inputs:
      layers * attentionInputs +
      denseLayers * (hidden + denseIntermediate) +
      moeLayers * ((topK + sharedExperts) * hidden + expertWidth),
    outputs:
      layers * attentionOutputs +
      denseLayers * (2 * denseIntermediate + hidden) +
      moeLayers * (2 * expertWidth + (topK + sharedExperts) * hidden),
  };
}
