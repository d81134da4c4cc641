import { crossValidateKernels, kernelErrorTable, type SimulationResult } from '../../src/index.js';
import { figure, onlineDecode, overlapGains, type Prediction, predictions, smSweep } from './end-to-end.js';
import { type ChoiceErrors, type Choices, siliconChoices } from './silicon-choice.js';
import { crossValidatedSeconds, judgeSilicon, type SiliconErrors } from './silicon-fit.js';
import { predictRow, siliconRows } from './silicon-rows.js';
import { burstCase, type OnlinePrefill, onlinePrefill } from './simulations.js';
import { chunkPairSeconds, trainingHours } from './training-hours.js';

/** Everything that the validation computes. */
export interface Validation {
  readonly kernels: ReturnType<typeof crossValidateKernels>;
  readonly predictions: readonly Prediction[];
  readonly gains: ReturnType<typeof overlapGains>;
  readonly sweep: ReturnType<typeof smSweep>;
  readonly prefillRates: readonly OnlinePrefill[];
  readonly silicon: {
    readonly tpotUnfitted: SiliconErrors;
    readonly tpot: SiliconErrors;
    readonly ttft: SiliconErrors;
  };
  readonly choices: Readonly<Record<'all' | 'onePool' | 'twoPools', Choices>>;
  readonly burst: { readonly steady: SimulationResult; readonly bursts: SimulationResult };
}

export async function validate(): Promise<Validation> {
  const rows = siliconRows();
  const fit = { tpot: crossValidatedSeconds(rows, 'tpot'), ttft: crossValidatedSeconds(rows, 'ttft') };
  const tpotUnfitted = rows.map((row) => predictRow(row).tpotSeconds);
  return {
    kernels: crossValidateKernels({ folds: 5 }),
    predictions: predictions(),
    gains: overlapGains(),
    sweep: smSweep(),
    prefillRates: await onlinePrefill([30_000, 73_700, 110_000, 140_000]),
    silicon: {
      tpotUnfitted: judgeSilicon(rows, 'tpot', tpotUnfitted),
      tpot: judgeSilicon(rows, 'tpot', fit.tpot),
      ttft: judgeSilicon(rows, 'ttft', fit.ttft),
    },
    choices: {
      all: siliconChoices(rows, fit),
      onePool: siliconChoices(rows, fit, 'agg'),
      twoPools: siliconChoices(rows, fit, 'disagg'),
    },
    burst: await burstCase(),
  };
}

/** The validation as Markdown; rounded, so that another machine's arithmetic gives the same text. */
export function report(validation: Validation): string {
  const { kernels, predictions: rows, gains, sweep, prefillRates, silicon, choices, burst } = validation;
  const equal = onlineDecode(0);
  const skewed = onlineDecode(1, { kind: 'powerLaw', alpha: 0.6 });
  const steep = onlineDecode(1, { kind: 'powerLaw', alpha: 1 });
  const training = trainingHours();
  const implied = trainingHours(figure('derived.profile_train_chunk_pair_ms') / 1e3 / chunkPairSeconds());
  const prefillStep = figure('derived.profile_prefill_step_s');
  const hits = figure('online.input_cache_hit_fraction');
  const profileRate = (8 * 16_384) / prefillStep / (1 - hits);
  const gainRow = (phase: string): string =>
    gains
      .filter((gain) => gain.phase === phase)
      .map(({ tokens, gain }) => `${tokens}: ${signed(gain)}`)
      .join(', ');
  const siliconRow = (name: string, errors: SiliconErrors, bar: string): string =>
    `| ${name} | ${percent(errors.median)} | ${percent(errors.p90)} | ${errors.rankCorrelation.toFixed(2)} | ${bar} |`;
  return `# How far the simulator can be trusted

Written by \`pnpm exec vitest run --project source packages/simulator/test/validation.test.ts -u\`; the same test fails when a figure leaves its bar or this page is
out of date. Identities (online tokens a day against tokens a second, KV bytes of a token) are unit tests and not repeated here.

## Kernels on points left out

Each fifth of a table's rows is predicted from the other four fifths. Bars on the median: 6 % for attention, 10 % for experts, 4 % for transfers of dispatch and
combine. The wait for counts before a normal dispatch (\`notify\`) scatters too much to be predicted so closely, and has no bar by itself; steps are priced with the sum of both. Length scales of the corrections are round numbers chosen
on these tables.

${kernelErrorTable(kernels)}

The same with the published package, for any number of folds:

\`\`\`sh
node -e "import('@moestack/simulator').then((s) => console.log(s.kernelErrorTable(s.crossValidateKernels({ folds: 2 }))))"
\`\`\`

## End to end, without any fit

From layout and kernel tables alone: no rate, efficiency or factor was fitted to these figures. Two choices of structure were made after a first comparison and are said
here. A single batch runs shared experts beside dispatch, as engines do (its absence put the gain of two micro-batches in prefill at 47 %). The online rows assume balanced
experts like all others; with a popularity that falls as 1 / place the decode row would miss (last paragraph of this section). Training is priced with terms that were added after hours had come out at 131 K
and DeepSeek's training profile had been read; the size of none is taken from either. Rows with a bar are promised within 20 %.

| what | published | predicted | error | within 20 % | how |
|---|---|---|---|---|---|
${rows.map(predictionRow).join('\n')}

What misses or is far off, and why:

- **Online input.** The prediction is the capacity of a unit that is always full; the published rate is a mean over a day of nodes that are held for peaks. The published profile says the same:
  16,384 tokens on each GPU in ${prefillStep.toFixed(2)} s with ${percent(hits)} of the input cached are ${kilo(profileRate)} tokens/s/node, ${signed(profileRate / figure('online.prefill_in_tok_s_per_node_incl_hits') - 1)} against the daily mean. Nothing in layout or kernels says how full nodes are kept. Simulated with prompts as varied as their mean (56.3 % cached), the unit answers at the published rate as follows:

| input with hits, tokens/s/node | mean TTFT | TTFT 90 % below | prefilled tokens/s/node |
|---|---|---|---|
${prefillRates
  .map(
    ({ rate, result }) =>
      `| ${rate} | ${result.ttftSeconds.mean.toFixed(1)} s | ${result.ttftSeconds.p90.toFixed(1)} s | ${kilo(result.prefill.prefillTokensPerSecondPerNode)} |`,
  )
  .join('\n')}

- **Training hours** lie well below the published ones. Layers are not the reason: DeepSeek's own profile of a forward beside a backward (row above them), put into the same 16 stages, implies
  ${(implied.hours / 1e3).toFixed(0)} K hours. The rest (uneven experts, pipeline communication, restarts, data) is in neither. Forward tables of inference engines are extended by what is published, nothing is fitted: twice the GEMMs,
  core attention backward at FlashAttention-3's rate, RMSNorm and up-projections computed again, casts to FP8 in both orders (${percent(training.casts)} of the hours), bubbles of DualPipe (${percent(training.bubbles)}),
  fullest stages, heads in BF16, the prediction module, and once a batch the exchange of gradients and weights and AdamW with nothing hidden (${percent(training.batchEnd)}).
- **SGLang's rates** are measured with real routing and scheduling gaps; the predictions assume balanced experts and no gaps, and lie above them.
- **Online output** depends on how much contexts differ. With equal contexts it would be ${kilo(equal.rate)}, with expert popularity falling as a power
  of 0.6 ${kilo(skewed.rate)}, of 1.0 ${kilo(steep.rate)} tokens/s/node (EPLB with 32 redundant experts).

## Two micro-batches

Gain of two micro-batches over one on H100, tokens on each GPU: prefill EP32 ${gainRow('prefill')}; decode EP72 with contexts of 2,000 ${gainRow('decode')}. Published by SGLang: prefill
+27 to +40 %, decode -27 % at 32, even between 64 and 128, +25.5 % at 256.

## Fewer SMs for experts in decode

One expert on each of 320 GPUs, 256 tokens on each expert; time over the time on all 132 SMs: ${sweep
    .map(({ sms, slowdown }) => `${sms} SMs ${slowdown.toFixed(2)}`)
    .join(', ')}. Weights stream from memory, which 60 % of the SMs saturate in the model.

## Measured clusters

${silicon.tpot.rows} measured rows of ${silicon.tpot.configurations} configurations (SGLang and TensorRT-LLM; H200, B200, B300, GB200, GB300). The closed-form prediction of the cost model and descriptions of load,
layout, system and software go into a line with a correction by similar rows; each tenth of the configurations is judged by a fit of the others, rows of one configuration never
being split.

| | median error | 90 % below | rank correlation | bar |
|---|---|---|---|---|
${siliconRow('TPOT, cost model alone', silicon.tpotUnfitted, '-')}
${siliconRow('TPOT, fitted', silicon.tpot, '20 %, 0.9')}
${siliconRow('TTFT, fitted', silicon.ttft, '45 %')}

Why the cost model alone misses: most rows do not say how many workers shared the load (where they do, the fitted median error is ${percent(silicon.tpot.medianWithWorkers)}, elsewhere ${percent(silicon.tpot.medianWithoutWorkers)}), none says whether
multi-token prediction was on (the same configuration appears with latencies a factor 1.6 apart), and tables of TensorRT-LLM's kernels are not among ours. So treat
absolute latencies of those engines as fitted, not predicted. Scales of the fit were chosen on these rows. GPUs that no row measured (H100) are extrapolated.

## Choices among measured configurations

A planner need not know a latency to choose well. ${choices.all.costModel.questions} questions (a system, engine, precision, lengths, and a bound of 10, 20, 40 or 80 ms on TPOT that at least three rows keep)
have ${choices.all.costModel.candidates.toFixed(0)} measured rows each, of layouts and loads whose GPUs are all named. As \`plan\` does, a rule takes the row with the highest predicted output per GPU among those
predicted to keep the bound. Its measured output is compared with that of the best row that keeps the bound; a choice that breaks it by more than a tenth counts as 0.

| rule | keeps the bound | output, of the best | chosen within 10 % of the best |
|---|---|---|---|
${choiceRow('cost model alone, as in `plan`', choices.all.costModel)}
${choiceRow('the same, rows with two pools alone', choices.twoPools.costModel)}
${choiceRow('the same, rows with one pool alone', choices.onePool.costModel)}
${choiceRow('fitted, configurations not seen', choices.all.fitted)}
${choiceRow('any row that keeps the bound', choices.all.random)}

Among single pools many layouts were measured with and without multi-token prediction, which no row names: the cost model cannot tell them apart, and the mean of such rows counts.
Within 10 % of the best measured row for **every** question is reached by no rule: simulate, then measure, the first few candidates of a plan.

## A burst that steady states miss

The online deployment (32 + 144 H800), four requests a second of 6,000 + 200 tokens, objective TTFT <= 3 s and TPOT <= 60 ms for 90 % of requests. The mean rate is the same in both rows;
in the second it comes in bursts of 15 s at 25 times the rate, the shape of ai-dynamo/dynamo issue 10528.

| arrivals | within the objective | TTFT median | TTFT 90 % below | verdict |
|---|---|---|---|---|
${burstRow('Poisson', burst.steady)}
${burstRow('bursts', burst.bursts)}
`;
}

function predictionRow({ what, unit, published, predicted, bar, note }: Prediction): string {
  const error = predicted / published - 1;
  const digits = published < 10 ? 2 : published < 1000 ? 0 : -2;
  const verdict = bar ? (Math.abs(error) <= 0.2 ? 'yes' : '**no**') : '-';
  return `| ${what} | ${rounded(published, digits)} ${unit} | ${rounded(predicted, digits)} ${unit} | ${signed(error)} | ${verdict} | ${note} |`;
}

function choiceRow(name: string, { kept, meanShare, nearBest }: ChoiceErrors): string {
  return `| ${name} | ${percent(kept)} | ${percent(meanShare)} | ${percent(nearBest)} |`;
}

function burstRow(name: string, result: SimulationResult): string {
  const { goodput, meetsSlo, ttftSeconds } = result;
  return `| ${name} | ${percent(goodput?.share ?? 0)} | ${ttftSeconds.p50.toFixed(1)} s | ${ttftSeconds.p90.toFixed(1)} s | ${meetsSlo ? 'met' : 'violated'} |`;
}

function rounded(value: number, digits: number): string {
  return digits >= 0 ? value.toFixed(digits) : String(Math.round(value / 100) * 100);
}

function kilo(value: number): string {
  return `${(value / 1000).toFixed(1)}k`;
}

function percent(value: number): string {
  return `${(100 * value).toFixed(0)} %`;
}

function signed(value: number): string {
  return `${value < 0 ? '-' : '+'}${Math.abs(100 * value).toFixed(0)} %`;
}
