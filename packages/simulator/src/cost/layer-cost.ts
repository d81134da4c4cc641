import { collectiveCost, uniformTopology } from '@moestack/collectives/cost';
import { AttentionCost, projectionShareBefore } from './attention-cost.js';
import { ExchangeCost, linksOf } from './exchange-cost.js';
import { ExpertCost } from './expert-cost.js';
import { LogCurve, LogSurface } from './log-table.js';
import { gemmSeconds, type StepSetting } from './setting.js';

/** Host work of a step that no kernel hides: planning, sampling, launching. An assumption, small against any step. */
const LAUNCH_SECONDS = { prefill: 2e-3, decode: 0.5e-3 };
/** Normalisation, residuals, rotary embedding, quantisation and the gate: passes over the activations beside the measured blocks. */
const ELEMENTWISE_PASSES = 12;
const ELEMENTWISE_SECONDS = 8e-6;
/** SMs that communication kernels take when nothing else runs. */
const EXCHANGE_SMS = 24;

/** Seconds of the parts of one layer, tabulated over load. All take what one data-parallel rank carries. */
export class LayerCost {
  /** SMs left to computation while two micro-batches overlap. */
  readonly computeSms: number;
  readonly exchanges: boolean;
  readonly launchSeconds: number;
  /** Share of the attention block before core attention. */
  readonly before: number;
  readonly exchangeCost: ExchangeCost | undefined;
  readonly #setting: StepSetting;
  readonly #attention: readonly [LogSurface, LogSurface];
  readonly #attentionCost: AttentionCost;
  readonly #experts: readonly [LogCurve, LogCurve];
  readonly #dispatch: readonly [LogCurve, LogCurve];
  readonly #combine: readonly [LogCurve, LogCurve];
  readonly #gather: { alpha: number; perToken: number };
  readonly #reduce: { alpha: number; perToken: number };

  constructor(setting: StepSetting, newTokens: number) {
    const { accelerator, pool, role } = setting;
    const { enabled, communicationSms } = pool.overlap;
    const { tp, dp, ep } = pool;
    const all = accelerator.sms;
    this.#setting = setting;
    this.computeSms = enabled ? Math.max(1, all - communicationSms) : all;
    this.exchanges = dp > 1 && ep > 1;
    this.launchSeconds = LAUNCH_SECONDS[role];
    this.before = projectionShareBefore(setting.model);
    const attention = new AttentionCost(setting);
    const attentionOn = (sms: number): LogSurface =>
      new LogSurface((sequences, length) =>
        role === 'prefill'
          ? attention.prefillSeconds(sequences, length, sms)
          : attention.decodeSeconds(sequences, length, newTokens),
      );
    this.#attentionCost = attention;
    this.#attention = [attentionOn(all), attentionOn(this.computeSms)];
    const experts = new ExpertCost(setting);
    const expertsOn = (sms: number): LogCurve => new LogCurve((tokens) => experts.seconds(tokens, sms));
    this.#experts = [expertsOn(all), expertsOn(this.computeSms)];
    const exchange = this.exchanges ? new ExchangeCost(setting) : undefined;
    this.exchangeCost = exchange;
    const exchangeOn = (sms: number): [LogCurve, LogCurve] => [
      new LogCurve((tokens) => exchange!.dispatchSeconds(tokens, sms)),
      new LogCurve((tokens) => exchange!.combineSeconds(tokens, sms)),
    ];
    const alone = exchangeOn(EXCHANGE_SMS);
    const beside = exchangeOn(communicationSms > 0 ? communicationSms : EXCHANGE_SMS);
    this.#dispatch = [alone[0], beside[0]];
    this.#combine = [alone[1], beside[1]];
    this.#gather = gatherCost(setting, dp > 1 && ep === 1 ? dp : 1);
    this.#reduce = gatherCost(setting, tp);
  }

  attention(sequences: number, length: number, overlapped: 0 | 1): number {
    const scale = this.#setting.scales?.attention ?? 1;
    return this.#attention[overlapped].at(sequences, length) * scale;
  }

  /** What attending to (new token, cached token) pairs adds. */
  context(pairs: number, overlapped: 0 | 1): number {
    if (pairs === 0) return 0;
    const sms = overlapped === 1 ? this.computeSms : this.#setting.accelerator.sms;
    return this.#attentionCost.contextSeconds(pairs, sms) * (this.#setting.scales?.attention ?? 1);
  }

  experts(tokens: number, overlapped: 0 | 1): number {
    const scale = this.#setting.scales?.experts ?? 1;
    return this.#experts[overlapped].at(tokens * this.#setting.pool.dp) * scale;
  }

  dispatch(tokens: number, overlapped: 0 | 1): number {
    const scale = this.#setting.scales?.dispatch ?? 1;
    return this.#dispatch[overlapped].at(tokens / this.#setting.pool.tp) * scale;
  }

  combine(tokens: number, overlapped: 0 | 1): number {
    const scale = this.#setting.scales?.combine ?? 1;
    return this.#combine[overlapped].at(tokens / this.#setting.pool.tp) * scale;
  }

  /** Gathers and reductions of tensor parallelism: of attention, of experts without exchange, of data-parallel attention over shared experts. */
  tensorParallel(tokens: number): number {
    const scale = this.#setting.scales?.tensorParallel ?? 1;
    const { tp, dp, ep } = this.#setting.pool;
    let seconds = 0;
    if (tp > 1) {
      const reductions = this.exchanges ? 1 : 2;
      seconds += reductions * (this.#reduce.alpha + this.#reduce.perToken * tokens);
    }
    if (dp > 1 && ep === 1) seconds += this.#gather.alpha + this.#gather.perToken * tokens * dp;
    return seconds * scale;
  }

  sharedExperts(tokens: number, overlapped: 0 | 1): number {
    const { model, pool } = this.#setting;
    if (model.sharedExperts === 0) return 0;
    const split = this.exchanges ? 1 : pool.tp;
    const seconds = this.#feedForward(
      this.exchanges ? tokens / pool.tp : tokens,
      (model.expertIntermediate * model.sharedExperts) / split,
      overlapped,
    );
    return seconds * (this.#setting.scales?.sharedExperts ?? 1);
  }

  dense(tokens: number): number {
    const { model, pool } = this.#setting;
    const seconds = this.#feedForward(tokens, model.denseIntermediate / pool.tp, 0);
    return seconds * (this.#setting.scales?.dense ?? 1);
  }

  gate(tokens: number): number {
    const { accelerator, model, pool } = this.#setting;
    const bytes = (ELEMENTWISE_PASSES * 2 * tokens * model.hidden) / pool.tp;
    const seconds =
      ELEMENTWISE_SECONDS + bytes / (accelerator.memoryBytesPerSecond * accelerator.memoryEfficiency);
    return seconds * (this.#setting.scales?.gate ?? 1);
  }

  head(tokens: number): number {
    const { accelerator, model, pool } = this.#setting;
    const sizes = { tokens, inputs: model.hidden, outputs: model.vocabulary / pool.tp };
    return gemmSeconds(accelerator, 'bf16', sizes) * (this.#setting.scales?.head ?? 1);
  }

  #feedForward(tokens: number, intermediate: number, overlapped: 0 | 1): number {
    const { accelerator, model, precision } = this.#setting;
    const sms = overlapped === 1 ? this.computeSms : accelerator.sms;
    const format = precision.weights === 'fp4' ? 'fp8' : precision.weights;
    return (
      gemmSeconds(accelerator, format, { tokens, inputs: model.hidden, outputs: 2 * intermediate }, sms) +
      gemmSeconds(accelerator, format, { tokens, inputs: intermediate, outputs: model.hidden }, sms)
    );
  }
}

/** All-reduce among `ranks` GPUs (as a reduce-scatter and a gather) as a start-up time and a time for each token. */
function gatherCost(setting: StepSetting, ranks: number): { alpha: number; perToken: number } {
  if (ranks <= 1) return { alpha: 0, perToken: 0 };
  const { accelerator, model } = setting;
  const perNode = Math.min(ranks, accelerator.gpusPerNvlinkDomain);
  const topology = uniformTopology(Math.ceil(ranks / perNode), perNode);
  const count = 1 << 24;
  const { slowest } = collectiveCost(
    { op: 'allReduce', algorithm: 'ring', topology, counts: [count], ranks: [0] },
    linksOf(accelerator),
  );
  // One-shot kernels read all peers at once within a node: the ring's rounds of start-up shrink to two.
  const link = topology.size > perNode ? accelerator.network : accelerator.nvlink;
  const rounds = topology.size > perNode ? 2 * topology.nodes : 2;
  return { alpha: rounds * link.alphaSeconds, perToken: (slowest.transferSeconds / count) * model.hidden };
}
