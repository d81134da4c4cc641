import type { LinearRole } from '@moestack/fp8';
import { exactly, LinearLayer, SavedInput, SavedRows } from '../linear-layer.js';
import type { Runtime } from '../runtime.js';

/** Room that the MLPs of a network share: nothing of it outlives a call. */
export interface MlpScratch {
  readonly gate: Float32Array;
  readonly up: Float32Array;
  readonly hidden: Float32Array;
}

/** Roles of the two halves. */
export interface MlpRoles {
  readonly up: LinearRole;
  readonly down: LinearRole;
}

/** Rooms for what the MLPs of one layer keep. */
export interface MlpRooms {
  readonly input: SavedRows;
  readonly activation: SavedRows;
}

/** Rooms for `rows` rows of MLPs of `width`. */
export function mlpRooms(runtime: Runtime, roles: MlpRoles, rows: number, width: number): MlpRooms {
  const { recipes, config } = runtime;
  return {
    input: new SavedRows(runtime, recipes[roles.up], rows, config.model.hiddenSize),
    activation: new SavedRows(runtime, recipes[roles.down], rows, width),
  };
}

/**
 * down(silu(gate x) * up x), with an optional weight per row on the activation: an expert's routing weight is applied
 * before the down projection, which gives the same sum as applying it after and lets its gradient come from rows that
 * backward has anyway. Keeps the inputs of its products; gate and up are computed anew in backward.
 */
export class GatedMlp {
  readonly width: number;
  readonly input: SavedInput;
  readonly activation: SavedInput;
  readonly #runtime: Runtime;
  readonly #gate: LinearLayer;
  readonly #up: LinearLayer;
  readonly #down: LinearLayer;
  readonly #scratch: MlpScratch;

  constructor(runtime: Runtime, prefix: string, rooms: MlpRooms, scratch: MlpScratch) {
    const [upRecipe, downRecipe] = [rooms.input.recipe, rooms.activation.recipe];
    this.#runtime = runtime;
    this.#gate = new LinearLayer(runtime, `${prefix}.gate_proj.weight`, upRecipe);
    this.#up = new LinearLayer(runtime, `${prefix}.up_proj.weight`, upRecipe);
    this.#down = new LinearLayer(runtime, `${prefix}.down_proj.weight`, downRecipe);
    this.width = this.#gate.rows;
    this.input = new SavedInput(runtime, rooms.input, true);
    this.activation = new SavedInput(runtime, rooms.activation, false);
    this.#scratch = scratch;
  }

  /**
   * y of x, both `[rows, hidden]`.
   *
   * @param first - row of the rooms from which on inputs are kept.
   */
  forward(
    x: Float32Array,
    y: Float32Array,
    rows: number,
    first: number,
    weights: Float32Array | undefined,
  ): void {
    const { gate, up, hidden } = this.#scratch;
    const { kernels } = this.#runtime;
    this.input.save(x, rows, first);
    this.#gate.forward(this.input, gate);
    this.#up.forward(this.input, up);
    kernels.siluMul(gate, up, hidden, rows * this.width);
    if (weights !== undefined) kernels.scaleRows(hidden, weights, rows, this.width);
    this.activation.save(hidden, rows, first);
    this.#down.forward(this.activation, y);
    this.activation.release();
  }

  /**
   * Sets or adds to dx.
   *
   * @param weights - as in forward; `weightGradients` receives theirs.
   */
  backward(
    dy: Float32Array,
    dx: Float32Array,
    accumulate: boolean,
    weights: Float32Array | undefined,
    weightGradients: Float32Array | undefined,
  ): void {
    const { gate, up, hidden } = this.#scratch;
    const { kernels } = this.#runtime;
    const { rows } = this.input;
    const size = rows * this.width;
    const gradient = exactly(hidden, size);
    this.#down.backward(this.activation, dy, gradient, false);
    const before = this.#runtime.macs;
    this.#gate.forward(this.input, gate);
    this.#up.forward(this.input, up);
    this.#runtime.countRepeated(before);
    if (weights !== undefined && weightGradients !== undefined) {
      // The unweighted activation, in the room of a product operand that is free now.
      const { operand } = this.#runtime;
      kernels.siluMul(gate, up, operand, size);
      kernels.rowDots(operand, gradient, weightGradients, rows, this.width);
      kernels.scaleRows(gradient, weights, rows, this.width);
    }
    kernels.siluMulBackward(gate, up, gradient, size);
    this.#gate.backward(this.input, gate, dx, accumulate);
    this.#up.backward(this.input, up, dx, true);
  }

  /** Bytes kept for backward, and elements kept. */
  get savedBytes(): number {
    return this.input.bytes + this.activation.bytes;
  }

  get savedElements(): number {
    return this.input.rows * this.input.cols + this.activation.rows * this.width;
  }
}
