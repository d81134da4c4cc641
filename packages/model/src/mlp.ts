import type { ProjectionKind, Projector } from './projector.js';
import type { MlpWeights } from './weights.js';
import type { Workspace } from './workspace.js';

/** `silu(gate(x)) * up(x)` of `rows` rows, left in `workspace.gate`. */
export function gatedActivation(
  projector: Projector,
  kind: ProjectionKind,
  weights: MlpWeights,
  x: Float32Array,
  rows: number,
  workspace: Workspace,
): Float32Array {
  const { gate, up } = workspace;
  projector.project(kind, weights.gate, x, gate, rows);
  projector.project(kind, weights.up, x, up, rows);
  const length = rows * weights.gate.rows;
  projector.kernels.siluMul(gate, up, gate, length);
  projector.round(gate, length);
  return gate;
}
