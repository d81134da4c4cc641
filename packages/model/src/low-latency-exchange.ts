import type {
  Exchange,
  LowLatencyCombineInput,
  LowLatencyCombineResult,
  LowLatencyDispatcher,
  LowLatencyInput,
  LowLatencyResult,
  WaitOptions,
} from '@moestack/collectives';
import type { DispatchRequest, ExpertExchange, ReceivedRows } from './expert-exchange.js';
import { ExpertRows } from './expert-rows.js';
import { encodeBf16, PayloadDecoder, PayloadEncoder } from './payload-rows.js';
import type { RankExchangeParts } from './rank-exchange.js';
import type { ReplicaRouting } from './replica-routing.js';
import { ReturnedRows } from './returned-rows.js';

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Tokens to their experts and back, one row for each selection (mode `low-latency`), for small steps: rows take a fixed place for every token of every rank,
 * and the token's own rank weighs what comes back, slots ascending.
 */
export class LowLatencyExchange implements ExpertExchange {
  readonly spansRanks = true;
  private readonly dispatcher: LowLatencyDispatcher;
  private readonly routing: ReplicaRouting;
  private readonly hidden: number;
  private readonly encoder: PayloadEncoder;
  private readonly decoder: PayloadDecoder;
  private readonly rows: ExpertRows;
  private readonly returned: ReturnedRows;
  private readonly outputBits: Uint32Array;
  /** `[slots, rowsPerExpert, hidden]` in the combine format. */
  private readonly results: Float32Array | Uint16Array;
  private readonly dispatchInput: Writable<LowLatencyInput>;
  private combineInput: Writable<LowLatencyCombineInput> | undefined;
  private dispatching: Exchange<LowLatencyResult> | undefined;
  private combining: Exchange<LowLatencyCombineResult> | undefined;
  private result: LowLatencyResult | undefined;
  private tokens = 0;
  private weights: Float32Array | undefined;

  constructor(parts: RankExchangeParts<LowLatencyDispatcher>) {
    const { kernels, dispatcher, sizes } = parts;
    const { payload, combinePayload } = dispatcher.config;
    const { hidden, maxTokens, ranks, slotsPerRank } = sizes;
    this.dispatcher = dispatcher;
    this.routing = parts.routing;
    this.hidden = hidden;
    // The dispatcher itself casts to FP8.
    this.encoder = new PayloadEncoder(kernels, payload === 'fp8' ? 'f32' : payload, hidden, maxTokens);
    this.decoder = new PayloadDecoder(kernels, hidden);
    this.rows = new ExpertRows(kernels, sizes);
    this.returned = new ReturnedRows(kernels, combinePayload, hidden, maxTokens);
    const { output } = this.rows;
    this.outputBits = new Uint32Array(output.buffer, output.byteOffset, output.length);
    const length = slotsPerRank * ranks * maxTokens * hidden;
    this.results = combinePayload === 'f32' ? new Float32Array(length) : new Uint16Array(length);
    this.dispatchInput = { x: this.rows.input };
  }

  dispatchSend(request: DispatchRequest): void {
    const input = this.dispatchInput;
    this.tokens = request.tokens;
    this.weights = request.expertWeights;
    input.tokens = request.tokens;
    input.topkIdx = this.routing.select(request);
    input.x = this.encoder.encode(request.hidden, request.tokens) as Float32Array | Uint16Array;
    this.dispatching = this.dispatcher.dispatchSend(input);
  }

  dispatchReceive(): ReceivedRows {
    const { rows } = this;
    const { offsets } = rows;
    const result = this.dispatcher.dispatchReceive(this.dispatching!);
    this.dispatching = undefined;
    this.result = result;
    for (let expert = 0; expert < rows.experts; expert++) {
      const count = result.counts[expert]!;
      const first = offsets[expert]!;
      this.decoder.decode(result.x, result.scales, expert * result.rowsPerExpert, count, rows.input, first);
      offsets[expert + 1] = first + count;
    }
    return rows;
  }

  combineSend(): void {
    const { handle, rowsPerExpert } = this.result!;
    const { rows, hidden, results } = this;
    for (let expert = 0; expert < rows.experts; expert++) {
      const first = rows.offsets[expert]! * hidden;
      const end = rows.offsets[expert + 1]! * hidden;
      const to = expert * rowsPerExpert * hidden;
      if (end === first) continue;
      if (results instanceof Float32Array) results.set(rows.output.subarray(first, end), to);
      else encodeBf16(this.outputBits, first, end - first, results, to);
    }
    this.combineInput ??= { handle, x: results, topkWeights: this.weights!, out: this.returned.target };
    this.combineInput.handle = handle;
    this.combineInput.topkWeights = this.weights!;
    this.combining = this.dispatcher.combineSend(this.combineInput);
  }

  combineReceive(out: Float32Array): void {
    this.dispatcher.combineReceive(this.combining!);
    this.combining = undefined;
    this.returned.addTo(out, this.tokens);
  }

  async ready(options?: WaitOptions): Promise<void> {
    if (this.dispatching !== undefined) await this.dispatcher.dispatchReceiveAsync(this.dispatching, options);
    if (this.combining !== undefined) await this.dispatcher.combineReceiveAsync(this.combining, options);
  }
}
