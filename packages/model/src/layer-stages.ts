import type { Router } from '@moestack/routing';
import type { Attention } from './attention.js';
import type { Dimensions } from './dimensions.js';
import type { DispatchRequest, ReceivedRows } from './expert-exchange.js';
import { gatedActivation } from './mlp.js';
import type { Projector } from './projector.js';
import type { StepState } from './step-state.js';
import type { LayerWeights, MlpWeights, MoeWeights } from './weights.js';

/**
 * One layer as the stages that a schedule can interleave with those of another micro-batch. They run in this order;
 * all work on the activations of the step they are given.
 */
export interface LayerStages {
  readonly kind: 'dense' | 'experts';
  /** Projects queries, and latents into the cache; where ranks share the heads, compresses this rank's rows and sends them to the others. */
  attentionProject(step: StepState): void;
  /** Waits for the compressed rows of the other ranks; nothing where a rank has all heads. */
  attentionGather(step: StepState): void;
  /** Adds attention to the residual stream and normalises what follows; where ranks share the heads, projects queries first and sends each rank the sums for its rows. */
  attentionCore(step: StepState): void;
  /** Waits for the other heads' part of this rank's rows, adds it and normalises; nothing where a rank has all heads. */
  attentionReduce(step: StepState): void;
  /** Chooses the experts of each token. */
  gate(step: StepState): void;
  /** Starts moving tokens to their experts. */
  dispatchSend(step: StepState): void;
  /** Waits for the tokens of this rank's experts. */
  dispatchReceive(step: StepState): void;
  /** Adds the dense or shared MLP, which every token passes, to the residual stream. */
  shared(step: StepState): void;
  /** Runs the experts of this rank. */
  experts(step: StepState): void;
  /** Starts moving results back. */
  combineSend(step: StepState): void;
  /** Waits for the results and adds them to the residual stream. */
  combineReceive(step: StepState): void;
}

export interface LayerStagesOptions {
  readonly dimensions: Dimensions;
  readonly projector: Projector;
  readonly attention: Attention;
  readonly weights: LayerWeights;
  /** The gate; only layers with experts have one. */
  readonly router: Router | undefined;
  /** Row of the placement; -1 for a dense layer. */
  readonly row: number;
  /** Rows that the workspace holds; experts with more of them take turns with it. */
  readonly maxRows: number;
  /** Called with the row and the tokens of each logical expert whenever the gate has chosen. */
  readonly onExpertLoad: ((row: number, counts: Int32Array) => void) | undefined;
}

/** The stages of one layer. */
export function createLayerStages(options: LayerStagesOptions): LayerStages {
  const { weights, router } = options;
  if (weights.moe !== undefined && router !== undefined) return new ExpertLayer(options, weights.moe, router);
  if (weights.mlp !== undefined) return new DenseLayer(options, weights.mlp);
  throw new RangeError('a layer needs experts with a router, or a dense MLP');
}

abstract class BaseLayer {
  protected readonly d: Dimensions;
  protected readonly projector: Projector;
  private readonly selfAttention: Attention;
  private readonly mlpNorm: Float32Array;
  private readonly normOptions: { epsilon: number };

  constructor(options: LayerStagesOptions) {
    this.d = options.dimensions;
    this.projector = options.projector;
    this.selfAttention = options.attention;
    this.mlpNorm = options.weights.mlpNorm;
    this.normOptions = { epsilon: options.dimensions.epsilon };
  }

  attentionProject(step: StepState): void {
    if (step.tokens === 0) return;
    const { tensor, workspace } = step;
    if (step.rows > 0) this.selfAttention.compress(step);
    if (tensor === undefined) this.selfAttention.prepare(step);
    else tensor.sendRows(workspace.queryDown, workspace.latent, step.tokens);
  }

  attentionGather(step: StepState): void {
    const { tensor, workspace, tokens } = step;
    if (tensor === undefined || tokens === 0) return;
    tensor.receiveRows(workspace.queryDown, workspace.latent, tokens);
  }

  attentionCore(step: StepState): void {
    if (step.tokens === 0) return;
    if (step.tensor === undefined) {
      this.selfAttention.finish(step);
      this.normalise(step);
      return;
    }
    this.selfAttention.prepare(step);
    this.selfAttention.finishPartial(step);
    step.tensor.sendPartials(step.workspace.update, step.tokens);
  }

  attentionReduce(step: StepState): void {
    const { tensor, workspace, tokens } = step;
    if (tensor === undefined || tokens === 0) return;
    const { residual, normed, update } = workspace;
    tensor.receivePartials(update, tokens, normed);
    const length = step.rows * this.d.hidden;
    this.projector.round(normed, length);
    this.projector.kernels.add(residual, normed, residual, length);
    this.projector.round(residual, length);
    this.normalise(step);
  }

  /** The norm of the residual stream that gate and MLPs read. */
  private normalise({ workspace, rows }: StepState): void {
    const { residual, normed } = workspace;
    this.projector.kernels.rmsNorm(residual, this.mlpNorm, normed, rows, this.d.hidden, this.normOptions);
    this.projector.round(normed, rows * this.d.hidden);
  }

  /** Adds an MLP that every token passes. */
  protected addMlp(kind: 'dense' | 'shared', weights: MlpWeights, step: StepState): void {
    const { workspace, rows } = step;
    if (rows === 0) return;
    const activation = gatedActivation(this.projector, kind, weights, workspace.normed, rows, workspace);
    this.projector.addProjected(kind, weights.down, activation, workspace.residual, rows, workspace.update);
  }
}

class DenseLayer extends BaseLayer implements LayerStages {
  readonly kind = 'dense';
  private readonly mlp: MlpWeights;

  constructor(options: LayerStagesOptions, mlp: MlpWeights) {
    super(options);
    this.mlp = mlp;
  }

  gate(): void {}
  dispatchSend(): void {}
  dispatchReceive(): void {}

  shared(step: StepState): void {
    this.addMlp('dense', this.mlp, step);
  }

  experts(): void {}
  combineSend(): void {}
  combineReceive(): void {}
}

class ExpertLayer extends BaseLayer implements LayerStages {
  readonly kind = 'experts';
  private readonly moe: MoeWeights;
  private readonly router: Router;
  private readonly row: number;
  private readonly maxRows: number;
  private readonly onExpertLoad: ((row: number, counts: Int32Array) => void) | undefined;
  private readonly requests: WeakMap<StepState, DispatchRequest> = new WeakMap();
  private readonly received: WeakMap<StepState, ReceivedRows> = new WeakMap();
  private readonly routing: WeakMap<StepState, RoutingBuffers> = new WeakMap();

  constructor(options: LayerStagesOptions, moe: MoeWeights, router: Router) {
    super(options);
    this.moe = moe;
    this.router = router;
    this.row = options.row;
    this.maxRows = options.maxRows;
    this.onExpertLoad = options.onExpertLoad;
  }

  gate(step: StepState): void {
    const { normed, routerLogits, expertCounts } = step.workspace;
    if (step.rows === 0) {
      expertCounts.fill(0);
      return;
    }
    // The router always runs in float32, also where activations are rounded or quantised: its margins are small.
    this.projector.kernels.linear(this.moe.router, normed, routerLogits, step.rows);
    this.router.routeInto(routerLogits, step.rows, this.buffers(step));
    this.onExpertLoad?.(this.row, expertCounts);
  }

  dispatchSend(step: StepState): void {
    let request = this.requests.get(step);
    if (request === undefined) {
      const { normed, expertIds, expertWeights, expertCounts } = step.workspace;
      request = { layer: this.row, hidden: normed, tokens: 0, expertIds, expertWeights, expertCounts };
      this.requests.set(step, request);
    }
    request.tokens = step.rows;
    step.exchange.dispatchSend(request);
  }

  dispatchReceive(step: StepState): void {
    const rows = step.exchange.dispatchReceive();
    if (this.received.get(step) !== rows) this.received.set(step, rows);
  }

  shared(step: StepState): void {
    if (this.moe.shared !== undefined) this.addMlp('shared', this.moe.shared, step);
  }

  experts(step: StepState): void {
    const rows = this.received.get(step);
    if (rows === undefined) return;
    const { offsets } = rows;
    for (let expert = 0; expert < rows.experts; expert++) {
      const first = offsets[expert]!;
      const count = offsets[expert + 1]! - first;
      for (let done = 0; done < count; done += this.maxRows) {
        this.runExpert(
          this.moe.experts[expert]!,
          rows,
          first + done,
          Math.min(this.maxRows, count - done),
          step,
        );
      }
    }
  }

  private runExpert(
    weights: MlpWeights,
    rows: ReceivedRows,
    first: number,
    count: number,
    { workspace }: StepState,
  ): void {
    const input = rows.inputs.from(first);
    const activation = gatedActivation(this.projector, 'expert', weights, input, count, workspace);
    this.projector.project('expert', weights.down, activation, rows.outputs.from(first), count);
  }

  combineSend(step: StepState): void {
    step.exchange.combineSend();
  }

  combineReceive(step: StepState): void {
    const { residual } = step.workspace;
    step.exchange.combineReceive(residual);
    this.projector.round(residual, step.rows * this.d.hidden);
  }

  private buffers(step: StepState): RoutingBuffers {
    let buffers = this.routing.get(step);
    if (buffers === undefined) {
      const { expertIds, expertWeights, expertCounts } = step.workspace;
      const bias = this.moe.bias;
      const common = { indices: expertIds, weights: expertWeights, counts: expertCounts };
      buffers = bias === undefined ? common : { ...common, bias };
      this.routing.set(step, buffers);
    }
    return buffers;
  }
}

interface RoutingBuffers {
  readonly bias?: Float32Array;
  readonly indices: Int32Array;
  readonly weights: Float32Array;
  readonly counts: Int32Array;
}
