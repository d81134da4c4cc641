import {
  type Communicator,
  createDispatcher,
  createDispatcherSync,
  type Dispatcher,
  type DispatcherOptions,
  type LowLatencyDispatcher,
  snapshotCounters,
  toBf16,
} from '../../src/index.js';
import { expertFactor, runExperts, runExpertsBf16 } from './experts.js';
import { generator, randomSelections } from './random-routing.js';

/** Digest of everything that one rank saw in one variant: results and counters. */
export type Digests = Record<string, string>;

const EXPERTS_PER_RANK = 3;
const TOP_K = 4;
const HIDDEN = 128;
const MAX_TOKENS = 20;

type Variant = Omit<DispatcherOptions, 'experts' | 'topK' | 'hidden' | 'maxTokensPerRank'> & {
  name: string;
  /** Leave the last rank out. */
  masked?: boolean;
};

const variants: readonly Variant[] = [
  { name: 'direct f32', mode: 'direct', payload: 'f32' },
  { name: 'direct bf16 in chunks', mode: 'direct', payload: 'bf16', chunkTokens: 3 },
  { name: 'direct bf16 without counts', mode: 'direct', payload: 'bf16', worstCase: true },
  { name: 'hierarchical f32', mode: 'hierarchical', payload: 'f32' },
  { name: 'hierarchical bf16 in chunks', mode: 'hierarchical', payload: 'bf16', chunkTokens: 2 },
  { name: 'hierarchical f32 without counts', mode: 'hierarchical', payload: 'f32', worstCase: true },
  { name: 'low latency bf16', mode: 'low-latency', payload: 'bf16' },
  { name: 'low latency bf16 without the last rank', mode: 'low-latency', payload: 'bf16', masked: true },
  { name: 'low latency fp8 in chunks', mode: 'low-latency', payload: 'fp8', scale: 'ue8m0', chunkTokens: 5 },
];

/**
 * Dispatches two overlapping batches, applies stand-in experts, combines, in every mode: the same digests on every transport.
 *
 * @param blocking - use the synchronous calls; not where ranks share a thread.
 */
export async function runScenario(comm: Communicator, blocking: boolean): Promise<Digests> {
  const digests: Digests = {};
  for (const { name, masked, ...variant } of variants) {
    const options = {
      ...variant,
      experts: comm.size * EXPERTS_PER_RANK,
      topK: TOP_K,
      hidden: HIDDEN,
      maxTokensPerRank: MAX_TOKENS,
    };
    const dispatcher = blocking ? createDispatcherSync(comm, options) : await createDispatcher(comm, options);
    const digest = new Digest();
    const out = masked === true && comm.rank === comm.size - 1;
    if (masked === true && !out && 'maskRank' in dispatcher) dispatcher.maskRank(comm.size - 1);
    for (let step = 0; step < 2 && !out; step++) {
      if ('maskRank' in dispatcher) await lowLatency(dispatcher, comm, step, blocking, digest);
      else await normal(dispatcher, comm, step, blocking, digest);
    }
    digest.add(new TextEncoder().encode(JSON.stringify(snapshotCounters(dispatcher.counters))));
    digests[name] = digest.text();
    if (blocking) dispatcher.closeSync();
    else await dispatcher.close();
  }
  return digests;
}

/**
 * Dispatches until rank `victim` ends its thread after the first exchange.
 *
 * @returns name and ranks of the error that stopped this rank.
 */
export async function runUntilFailure(
  comm: Communicator,
  victim: number,
  blocking: boolean,
): Promise<{ name: string; ranks: readonly number[] }> {
  const shape = { experts: comm.size, topK: 1, hidden: 2, maxTokensPerRank: 1, payload: 'f32' } as const;
  const dispatcher: Dispatcher = blocking
    ? createDispatcherSync(comm, { mode: 'hierarchical', ...shape })
    : await createDispatcher(comm, { mode: 'hierarchical', ...shape });
  const topkIdx = Int32Array.of((comm.rank + 1) % comm.size);
  for (let step = 0; ; step++) {
    if (step === 1 && comm.rank === victim) process.exit(3);
    try {
      const sent = dispatcher.dispatchSend({ x: new Float32Array(2), topkIdx });
      if (blocking) dispatcher.dispatchReceive(sent);
      else await dispatcher.dispatchReceiveAsync(sent);
    } catch (error) {
      const { name, ranks } = error as { name: string; ranks: readonly number[] };
      return { name, ranks: [...ranks] };
    }
  }
}

function batchOf(comm: Communicator, step: number, batch: number) {
  const random = generator(comm.rank * 1009 + step * 31 + batch + 1);
  // Some ranks have nothing to send in some steps.
  const tokens = random() < 0.2 ? 0 : Math.floor(random() * (MAX_TOKENS + 1));
  const experts = comm.size * EXPERTS_PER_RANK;
  return {
    tokens,
    x: Float32Array.from({ length: tokens * HIDDEN }, () => (random() - 0.5) * 2 ** Math.floor(random() * 8)),
    topkIdx: randomSelections(random, { tokens, topK: TOP_K, experts }),
    topkWeights: Float32Array.from({ length: tokens * TOP_K }, () => random()),
  };
}

async function normal(
  dispatcher: Dispatcher,
  comm: Communicator,
  step: number,
  blocking: boolean,
  digest: Digest,
): Promise<void> {
  const f32 = dispatcher.config.payload === 'f32';
  const batches = [batchOf(comm, step, 0), batchOf(comm, step, 1)];
  const sent = batches.map(({ x, ...batch }) =>
    dispatcher.dispatchSend({ ...batch, x: f32 ? x : toBf16(x) }),
  );
  const returned = [];
  for (const exchange of sent) {
    const result = blocking
      ? dispatcher.dispatchReceive(exchange)
      : await dispatcher.dispatchReceiveAsync(exchange);
    const { rows, x, topkIdx, topkWeights, handle } = result;
    digest.add(x.subarray(0, rows * HIDDEN));
    digest.add(topkIdx.subarray(0, rows * TOP_K));
    digest.add(topkWeights.subarray(0, rows * TOP_K));
    digest.add(result.srcRank.subarray(0, rows));
    digest.add(result.srcIdx.subarray(0, rows));
    digest.add(result.tokensPerExpert);
    const shape = {
      rows,
      hidden: HIDDEN,
      topK: TOP_K,
      firstExpert: comm.rank * EXPERTS_PER_RANK,
      experts: comm.size * EXPERTS_PER_RANK,
    };
    const y = f32
      ? runExperts(x as Float32Array, topkIdx, topkWeights, shape)
      : runExpertsBf16(x as Uint16Array, topkIdx, topkWeights, shape);
    returned.push(dispatcher.combineSend({ handle, x: y, topkWeights }));
  }
  for (const [batch, exchange] of returned.entries()) {
    const { x, topkWeights } = blocking
      ? dispatcher.combineReceive(exchange)
      : await dispatcher.combineReceiveAsync(exchange);
    const { tokens } = batches[batch]!;
    digest.add(x.subarray(0, tokens * HIDDEN));
    digest.add(topkWeights.subarray(0, tokens * TOP_K));
  }
}

async function lowLatency(
  dispatcher: LowLatencyDispatcher,
  comm: Communicator,
  step: number,
  blocking: boolean,
  digest: Digest,
): Promise<void> {
  const batches = [batchOf(comm, step, 0), batchOf(comm, step, 1)];
  const sent = batches.map(({ tokens, topkIdx, x }) =>
    dispatcher.dispatchSend({ tokens, topkIdx, x: toBf16(x) }),
  );
  const returned = [];
  for (const [batch, exchange] of sent.entries()) {
    const result = blocking
      ? dispatcher.dispatchReceive(exchange)
      : await dispatcher.dispatchReceiveAsync(exchange);
    const { rowsPerExpert, counts, handle } = result;
    const y = new Uint16Array(EXPERTS_PER_RANK * rowsPerExpert * HIDDEN);
    for (let e = 0; e < EXPERTS_PER_RANK; e++) {
      const [start, end] = [e * rowsPerExpert, e * rowsPerExpert + counts[e]!];
      digest.add(result.x.subarray(start * HIDDEN, end * HIDDEN));
      digest.add(result.srcRank.subarray(start, end));
      digest.add(result.srcIdx.subarray(start, end));
      if (result.scaleCodes !== undefined) digest.add(result.scaleCodes.subarray(start, end));
      const factor = expertFactor(comm.rank * EXPERTS_PER_RANK + e, comm.size * EXPERTS_PER_RANK);
      const rows = Float32Array.from(
        result.x.subarray(start * HIDDEN, end * HIDDEN),
        (code) => code * factor,
      );
      y.set(toBf16(rows), start * HIDDEN);
    }
    digest.add(counts);
    digest.add(result.rangeBegins);
    returned.push(dispatcher.combineSend({ handle, x: y, topkWeights: batches[batch]!.topkWeights }));
  }
  for (const [batch, exchange] of returned.entries()) {
    const { x } = blocking
      ? dispatcher.combineReceive(exchange)
      : await dispatcher.combineReceiveAsync(exchange);
    digest.add(x.subarray(0, batches[batch]!.tokens * HIDDEN));
  }
}

/** FNV-1a over the bytes of arrays, in two independent halves. */
class Digest {
  #low = 0x811c9dc5;
  #high = 0x01234567;

  add(array: ArrayBufferView): void {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    for (const byte of bytes) {
      this.#low = Math.imul(this.#low ^ byte, 0x01000193);
      this.#high = Math.imul(this.#high ^ byte, 0x01000193) ^ (this.#high >>> 15);
    }
  }

  text(): string {
    return [this.#low, this.#high].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
  }
}
