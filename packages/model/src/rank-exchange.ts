import type {
  CombineInput,
  CombineResult,
  Dispatcher,
  DispatchInput,
  DispatchResult,
  Exchange,
  WaitOptions,
} from '@moestack/collectives';
import type { Kernels } from '@moestack/kernels';
import type { DispatchRequest, ExpertExchange, ReceivedRows } from './expert-exchange.js';
import { type ExchangeSizes, ExpertRows } from './expert-rows.js';
import { PayloadDecoder, PayloadEncoder } from './payload-rows.js';
import type { ReplicaRouting } from './replica-routing.js';
import { ReturnedRows } from './returned-rows.js';

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** What an exchange between ranks works with. */
export interface RankExchangeParts<D> {
  readonly kernels: Kernels;
  readonly dispatcher: D;
  readonly routing: ReplicaRouting;
  readonly sizes: ExchangeSizes;
}

/**
 * Tokens to the ranks of their experts and back, one row for each token and rank (modes `direct` and `hierarchical`). The rank of the experts adds up what
 * they made of a token, weighted, slots ascending; the token's own rank adds the sums of the ranks, ascending.
 */
export class RankExpertExchange implements ExpertExchange {
  readonly spansRanks = true;
  private readonly dispatcher: Dispatcher;
  private readonly routing: ReplicaRouting;
  private readonly encoder: PayloadEncoder;
  private readonly decoder: PayloadDecoder;
  private readonly rows: ExpertRows;
  private readonly returned: ReturnedRows;
  private readonly dispatchInput: Writable<DispatchInput>;
  private combineInput: Writable<CombineInput> | undefined;
  private dispatching: Exchange<DispatchResult> | undefined;
  private combining: Exchange<CombineResult> | undefined;
  private result: DispatchResult | undefined;
  private tokens = 0;

  constructor(parts: RankExchangeParts<Dispatcher>) {
    const { kernels, dispatcher, sizes } = parts;
    const { payload, combinePayload } = dispatcher.config;
    this.dispatcher = dispatcher;
    this.routing = parts.routing;
    this.encoder = new PayloadEncoder(kernels, payload, sizes.hidden, sizes.maxTokens);
    this.decoder = new PayloadDecoder(kernels, sizes.hidden);
    this.rows = new ExpertRows(kernels, sizes);
    this.returned = new ReturnedRows(kernels, combinePayload, sizes.hidden, sizes.maxTokens);
    this.dispatchInput = { x: this.rows.input };
    if (this.encoder.scales !== undefined) this.dispatchInput.scales = this.encoder.scales;
  }

  dispatchSend(request: DispatchRequest): void {
    const input = this.dispatchInput;
    this.tokens = request.tokens;
    input.tokens = request.tokens;
    input.topkIdx = this.routing.select(request);
    input.topkWeights = request.expertWeights;
    input.x = this.encoder.encode(request.hidden, request.tokens);
    this.dispatching = this.dispatcher.dispatchSend(input);
  }

  dispatchReceive(): ReceivedRows {
    const { rows } = this;
    const result = this.dispatcher.dispatchReceive(this.dispatching!);
    this.dispatching = undefined;
    this.result = result;
    const { expanded } = result;
    rows.offsets.set(expanded!.expertOffsets);
    this.decoder.decode(expanded!.x, expanded!.scales, 0, expanded!.rows, rows.input, 0);
    return rows;
  }

  combineSend(): void {
    const { handle } = this.result!;
    this.combineInput ??= { handle, expanded: this.rows.output, weighted: true, out: this.returned.target };
    this.combineInput.handle = handle;
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
