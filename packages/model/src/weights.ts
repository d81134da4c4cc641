import { type Checkpoint, quantize } from '@moestack/fp8';
import type { Kernels, Weight, WeightData, WeightFormat } from '@moestack/kernels';
import { AbortedError } from '@moestack/schemas/errors';
import type { DeepseekConfig } from './config.js';
import { dimensionsOf, isMoeLayer } from './dimensions.js';
import { Embedding } from './embedding.js';
import { type Precision, residentFormat } from './precision.js';
import type { TensorSpec } from './tensor-plan.js';
import { sliceWeight } from './weight-slices.js';

/** A gated MLP: `down(silu(gate(x)) * up(x))`. */
export interface MlpWeights {
  readonly gate: Weight;
  readonly up: Weight;
  readonly down: Weight;
}

/** A matrix, or a piece of one: `offset` is its first output (of pieces by rows) or input (by columns). */
export interface WeightPiece {
  readonly weight: Weight;
  readonly offset: number;
}

/** Multi-head latent attention of one layer, with the heads of this rank. */
export interface AttentionWeights {
  readonly inputNorm: Float32Array;
  /** `q_a_proj` and its norm; absent where the query is one projection. */
  readonly queryDown: Weight | undefined;
  readonly queryNorm: Float32Array | undefined;
  /** `q_b_proj` or `q_proj`. */
  readonly query: readonly WeightPiece[];
  /** `kv_a_proj_with_mqa`. */
  readonly latent: Weight;
  readonly latentNorm: Float32Array;
  /** `kv_b_proj` in rows: per head `nopeDims` rows of keys, then `valueDims` rows of values. */
  readonly expand: Weight;
  /** `o_proj`. */
  readonly output: readonly WeightPiece[];
}

/** Router, routed experts and shared experts of one layer. */
export interface MoeWeights {
  readonly router: Weight;
  readonly bias: Float32Array | undefined;
  /** Routed experts by slot of this rank: by id where one rank holds all. */
  readonly experts: MlpWeights[];
  readonly shared: MlpWeights | undefined;
}

export interface LayerWeights {
  readonly attention: AttentionWeights;
  readonly mlpNorm: Float32Array;
  readonly mlp: MlpWeights | undefined;
  readonly moe: MoeWeights | undefined;
}

export interface ModelWeights {
  readonly embedding: Embedding;
  readonly layers: readonly LayerWeights[];
  readonly norm: Float32Array;
  readonly head: Weight;
  /** Bytes that the weights take in the arena, padding included. */
  readonly residentBytes: number;
}

export interface LoadWeightsOptions {
  readonly checkpoint: Checkpoint;
  readonly config: DeepseekConfig;
  readonly plan: readonly TensorSpec[];
  readonly kernels: Kernels;
  readonly precision: Precision;
  /** Experts of this rank by slot, for a layer with experts. */
  readonly expertsOf: (layer: number) => Int32Array;
  readonly totalBytes: number;
  readonly onProgress?: ((progress: { loadedBytes: number; totalBytes: number }) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Reads every tensor of the plan into the arena, one at a time. The checkpoint has been checked against the plan. */
export async function loadWeights(options: LoadWeightsOptions): Promise<ModelWeights> {
  const loader = new WeightLoader(options);
  const { config } = options;
  const d = dimensionsOf(config);
  const embeddingName = 'model.embed_tokens.weight';
  const tied = config.tie_word_embeddings ? await loader.weight(embeddingName) : undefined;
  const embedding =
    tied === undefined
      ? Embedding.fromTable(await loader.table(embeddingName), d.hidden)
      : Embedding.fromWeight(options.kernels, tied);
  const layers: LayerWeights[] = [];
  for (let layer = 0; layer < d.layers; layer++) layers.push(await loader.layer(layer));
  const norm = await loader.vector('model.norm.weight');
  const head = tied ?? (await loader.weight('lm_head.weight'));
  return { embedding, layers, norm, head, residentBytes: loader.residentBytes };
}

class WeightLoader {
  residentBytes = 0;
  private loadedBytes = 0;
  private scratch = new Uint8Array(0);
  private readonly options: LoadWeightsOptions;
  private readonly specs: ReadonlyMap<string, TensorSpec>;

  constructor(options: LoadWeightsOptions) {
    this.options = options;
    this.specs = new Map(options.plan.map((spec) => [spec.name, spec]));
  }

  async layer(layer: number): Promise<LayerWeights> {
    const prefix = `model.layers.${layer}`;
    const attention = `${prefix}.self_attn`;
    const hasQueryDown = this.specs.has(`${attention}.q_a_proj.weight`);
    const moe = isMoeLayer(this.options.config, layer);
    return {
      attention: {
        inputNorm: await this.vector(`${prefix}.input_layernorm.weight`),
        queryDown: hasQueryDown ? await this.weight(`${attention}.q_a_proj.weight`) : undefined,
        queryNorm: hasQueryDown ? await this.vector(`${attention}.q_a_layernorm.weight`) : undefined,
        query: await this.pieces(`${attention}.${hasQueryDown ? 'q_b_proj' : 'q_proj'}.weight`),
        latent: await this.weight(`${attention}.kv_a_proj_with_mqa.weight`),
        latentNorm: await this.vector(`${attention}.kv_a_layernorm.weight`),
        expand: await this.weight(`${attention}.kv_b_proj.weight`),
        output: await this.pieces(`${attention}.o_proj.weight`),
      },
      mlpNorm: await this.vector(`${prefix}.post_attention_layernorm.weight`),
      mlp: moe ? undefined : await this.mlp(`${prefix}.mlp`),
      moe: moe ? await this.moe(`${prefix}.mlp`, this.options.expertsOf(layer)) : undefined,
    };
  }

  /** A matrix, packed for the kernels. */
  async weight(name: string): Promise<Weight> {
    const [piece] = await this.pieces(name);
    return piece!.weight;
  }

  /** The slice of a matrix that this rank holds, packed; a whole matrix is one piece. */
  async pieces(name: string): Promise<WeightPiece[]> {
    const { checkpoint, kernels, precision } = this.options;
    const spec = this.spec(name);
    const { layout, slice } = spec;
    const data = await this.read(spec, residentFormat(precision, spec.role, checkpoint.info(name).dtype));
    const pieces = slice === undefined ? [{ data, offset: 0 }] : sliceWeight(data, slice);
    const packed = pieces.map((piece) => ({
      weight: kernels.pack(piece.data, { layout }),
      offset: piece.offset,
    }));
    for (const { weight } of packed) this.residentBytes += weight.sizeBytes;
    this.report(name);
    return packed;
  }

  /** A vector in float32, in the arena. */
  async vector(name: string): Promise<Float32Array> {
    const vector = this.options.kernels.arena.f32(this.spec(name).cols);
    vector.set(await this.options.checkpoint.readFloat32(name));
    this.residentBytes += vector.byteLength;
    this.report(name);
    return vector;
  }

  /** An embedding table in its stored type, row-major in the arena. */
  async table(name: string): Promise<Float32Array | Uint16Array> {
    const { checkpoint, kernels, precision } = this.options;
    const spec = this.spec(name);
    const { data } = await this.read(spec, residentFormat(precision, spec.role, checkpoint.info(name).dtype));
    const length = spec.rows * spec.cols;
    const table = data instanceof Uint16Array ? kernels.arena.u16(length) : kernels.arena.f32(length);
    table.set(data);
    this.residentBytes += table.byteLength;
    this.report(name);
    return table;
  }

  private async mlp(prefix: string): Promise<MlpWeights> {
    return {
      gate: await this.weight(`${prefix}.gate_proj.weight`),
      up: await this.weight(`${prefix}.up_proj.weight`),
      down: await this.weight(`${prefix}.down_proj.weight`),
    };
  }

  private async moe(prefix: string, slots: Int32Array): Promise<MoeWeights> {
    const d = dimensionsOf(this.options.config);
    const router = await this.weight(`${prefix}.gate.weight`);
    const bias = d.hasCorrectionBias
      ? await this.vector(`${prefix}.gate.e_score_correction_bias`)
      : undefined;
    const experts: MlpWeights[] = [];
    for (const expert of slots) experts.push(await this.mlp(`${prefix}.experts.${expert}`));
    const shared = d.sharedWidth > 0 ? await this.mlp(`${prefix}.shared_experts`) : undefined;
    return { router, bias, experts, shared };
  }

  private async read(spec: TensorSpec, format: WeightFormat): Promise<WeightData> {
    const { checkpoint } = this.options;
    const { name, rows, cols } = spec;
    const stored = checkpoint.info(name).dtype;
    if (format === 'e4m3fn' && stored === 'F8_E4M3') {
      const scales = await checkpoint.readFloat32(`${name}_scale_inv`);
      return { format, rows, cols, data: await this.raw(name), scales };
    }
    if (format === 'bf16' && stored === 'BF16') {
      return { format, rows, cols, data: asUint16(await this.raw(name)) };
    }
    const values = await checkpoint.readFloat32(name);
    if (format === 'f32') return { format, rows, cols, data: values };
    if (format === 'bf16') return { format, rows, cols, data: roundToBf16(values) };
    const quantized = quantize(values, [rows, cols], { kind: 'tile', tile: [128, 128], format: 'e4m3fn' });
    return { format, rows, cols, data: quantized.codes, scales: quantized.scales };
  }

  /** Stored bytes, in a buffer that the next call overwrites. */
  private async raw(name: string): Promise<Uint8Array> {
    const { checkpoint } = this.options;
    const { bytes } = checkpoint.info(name);
    if (this.scratch.byteLength < bytes) this.scratch = new Uint8Array(bytes);
    const target = this.scratch.subarray(0, bytes);
    await checkpoint.readInto(name, target);
    return target;
  }

  private spec(name: string): TensorSpec {
    const spec = this.specs.get(name);
    if (spec === undefined) throw new RangeError(`${name} is not in the tensor plan`);
    return spec;
  }

  private report(name: string): void {
    const { checkpoint, onProgress, signal, totalBytes } = this.options;
    if (signal?.aborted) throw new AbortedError('loading the model', signal.reason);
    this.loadedBytes += checkpoint.info(name).bytes;
    onProgress?.({ loadedBytes: Math.min(this.loadedBytes, totalBytes), totalBytes });
  }
}

function asUint16(bytes: Uint8Array): Uint16Array {
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
}

/** Nearest even; infinities and NaN keep their upper half. */
function roundToBf16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) {
    const word = bits[i]!;
    const finite = (word & 0x7f800000) !== 0x7f800000;
    out[i] = (finite ? word + 0x7fff + ((word >>> 16) & 1) : word) >>> 16;
  }
  return out;
}
