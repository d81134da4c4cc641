import { escapeHtml } from '@moestack/schemas/html';
import { gpusPerUnit } from '../cost/deployment.js';
import type { StepCost } from '../cost/step-cost.js';
import type { MemoryPlan } from '../memory/memory-plan.js';
import type { PoolEstimate } from '../plan/candidate.js';
import type { PlanResult } from '../plan/plan.js';
import type { SimulatedCandidate } from '../plan/verify.js';
import type { WhatIfResult } from '../whatif/what-if.js';
import { curve, key, type StackedBar, stackedBars } from './charts.js';
import { layoutName, lengthsInWords, poolInWords } from './deployment-text.js';
import { page, section, table, tiles } from './page.js';
import { count, duration, gib, percent, short, usd } from './text.js';

/** A plan as one HTML page: plots as inline SVG, light and dark, no script, nothing loaded. */
export function planHtml(result: PlanResult, options: { readonly whatIf?: WhatIfResult } = {}): string {
  const { request, candidates } = result;
  const { accelerator, model, slo, workload, gpus } = request;
  const best = candidates[0]!;
  const facts =
    `${short(best.plannedRequestsPerSecond)} requests a second, prompts of ${lengthsInWords(workload.inputTokens)}` +
    ` (${percent(workload.cachedFraction)} cached), answers of ${lengthsInWords(workload.outputTokens)}; first token within ${duration(slo.ttftSeconds)},` +
    ` then ${duration(slo.tpotSeconds)} a token, for ${percent(slo.quantile)} of the requests; at most ${count(gpus, 'GPU')}`;
  return page({
    kind: 'Deployment plan',
    title: `${model.name} on ${best.gpus} ${accelerator.name}s`,
    facts,
    body: [
      headline(best),
      recommended(best),
      section(
        'Where the time of a step goes',
        'A step with a full batch. Parts that run beside others are drawn at the share that shows.',
        stepBars(best.pools),
      ),
      section(
        'Memory of a GPU',
        'Weights with all replicas of experts and the KV cache to the byte; buffers at their peak.',
        memoryBars(best.pools),
      ),
      section(
        'Speed against throughput',
        'The best pools at each speed, GPUs of prefill counted. Hover a point for its layout; hollow points miss the objective.',
        frontierPlot(result),
      ),
      section(
        'Alternatives',
        'One of each layout, the best first. Times are estimates; candidates that a simulation confirmed come first.',
        alternatives(candidates),
      ),
      ...(options.whatIf === undefined ? [] : [proposals(options.whatIf)]),
      section('What this rests on', '', assumptions(result)),
    ].join('\n'),
  });
}

function headline(best: SimulatedCandidate): string {
  const { simulated } = best;
  const ttft = simulated === null ? best.ttftSeconds : simulated.ttftSeconds.p90;
  const tpot = simulated === null ? best.tpotSeconds : simulated.tpotSeconds.p90;
  const how = simulated === null ? 'estimated' : '90% of simulated requests';
  return tiles([
    [String(best.gpus), 'GPUs'],
    [`${usd(best.usdPerHour)}/h`, 'for all of them'],
    [usd(best.usdPerMillionOutputTokens), 'for a million generated tokens'],
    [short(best.requestsPerSecond), 'requests a second at most'],
    [duration(ttft), `to the first token, ${how}`],
    [duration(tpot), `between tokens, ${how}`],
    ...(simulated === null
      ? []
      : [
          [
            percent(simulated.goodputShare),
            'of simulated requests in time',
            simulated.keepsSlo ? 'good' : 'bad',
          ] as const,
        ]),
  ]);
}

function recommended(best: SimulatedCandidate): string {
  const sentences = best.pools.map((estimate) => `<li>${escapeHtml(poolInWords(estimate))}</li>`).join('');
  const rows = best.pools.map(({ role, pool, gpus, stepSeconds, tokensPerSecondPerServer, utilisation }) => [
    role,
    `${pool.units} x ${gpusPerUnit(pool)} = ${gpus}`,
    layoutName(pool),
    String(pool.redundantExperts),
    short(pool.maxTokensPerRank),
    String(pool.maxSequencesPerRank),
    duration(stepSeconds),
    short(tokensPerSecondPerServer),
    percent(utilisation),
  ]);
  const titles = [
    'pool',
    'GPUs',
    'layout',
    'redundant experts',
    'tokens/step',
    'sequences',
    'full step',
    'tokens/s/server',
    'in use',
  ];
  return section('Recommended deployment', '', `<ul>${sentences}</ul>${table(titles, rows)}`);
}

/** Parts of a step by what they are for; what runs beside something else is taken off communication first. */
function stepGroups({ parts }: StepCost): { label: string; value: number; colour: string }[] {
  let hidden = -Math.min(0, parts.overlapped);
  const shown = (value: number) => {
    const off = Math.min(value, hidden);
    hidden -= off;
    return value - off;
  };
  const dispatch = shown(parts.dispatch);
  const combine = shown(parts.combine);
  const shared = shown(parts.sharedExperts);
  const attention = shown(parts.attention + parts.tensorParallel);
  return [
    { label: 'attention', value: attention, colour: 's0' },
    { label: 'routed experts', value: parts.experts, colour: 's1' },
    { label: 'shared experts, dense layers', value: shared + parts.dense, colour: 's2' },
    { label: 'dispatch that shows', value: dispatch, colour: 's3' },
    { label: 'combine that shows', value: combine, colour: 's4' },
    { label: 'gate, head, launches', value: parts.gate + parts.head + parts.launch, colour: 's5' },
  ];
}

function stepBars(pools: readonly PoolEstimate[]): string {
  const bars = pools.map(({ role, step }): StackedBar => {
    const groups = stepGroups(step);
    return {
      name: `${role}, %`,
      parts: groups.map((part) => ({ ...part, value: (100 * part.value) / step.seconds })),
    };
  });
  return `${key(stepGroups(pools[0]!.step))}${stackedBars('Parts of a step in percent', bars, (value) => `${short(value)}%`)}`;
}

function memoryGroups({ weights, activations, kvBytes, reservedBytes, capacityBytes }: MemoryPlan) {
  const { routedExperts, total } = weights;
  const used = total.bytes + activations.peakBytes + kvBytes + reservedBytes;
  return [
    { label: 'routed experts', value: routedExperts.bytes, colour: 's1' },
    { label: 'other weights', value: total.bytes - routedExperts.bytes, colour: 's0' },
    { label: 'buffers', value: activations.peakBytes, colour: 's3' },
    { label: 'runtime', value: reservedBytes, colour: 's5' },
    { label: 'KV cache', value: kvBytes, colour: 's2' },
    { label: 'free', value: Math.max(0, capacityBytes - used), colour: 'free' },
  ];
}

function memoryBars(pools: readonly PoolEstimate[]): string {
  const bars = pools.map(({ role, memory }): StackedBar => ({ name: role, parts: memoryGroups(memory) }));
  return `${key(memoryGroups(pools[0]!.memory))}${stackedBars('Memory of a GPU', bars, gib)}`;
}

function frontierPlot({ frontier, request }: PlanResult): string {
  if (frontier.length === 0) return '<p>No pools of the allowed size keep the time to first token.</p>';
  return curve({
    label: 'Generated tokens a second of a GPU against those of a user',
    xTitle: 'tokens a second of a user',
    yTitle: 'tokens a second of a GPU',
    limit: { x: 1 / request.slo.tpotSeconds, text: 'objective' },
    points: frontier.map(
      ({ tokensPerSecondPerUser: x, tokensPerSecondPerGpu: y, withinSlo, decode, prefill }) => ({
        x,
        y,
        solid: withinSlo,
        title:
          `${short(x)} tokens/s/user, ${short(y)} tokens/s/GPU: decode TP${decode.tp} EP${decode.ep} with ${decode.sequences} sequences a rank,` +
          ` prefill TP${prefill.tp} EP${prefill.ep} with ${prefill.tokens} tokens a rank`,
      }),
    ),
  });
}

function alternatives(candidates: readonly SimulatedCandidate[]): string {
  const rows = candidates.map((candidate) => {
    const { pools, gpus, plannedRequestsPerSecond, requestsPerSecond, ttftSeconds, tpotSeconds, simulated } =
      candidate;
    const units = pools.map(({ role, pool }) => `${pool.units} x ${layoutName(pool)} ${role}`).join(', ');
    return [
      units,
      String(gpus),
      short(plannedRequestsPerSecond),
      short(requestsPerSecond),
      duration(ttftSeconds),
      duration(tpotSeconds),
      usd(candidate.usdPerMillionOutputTokens),
      simulated === null
        ? '-'
        : `${percent(simulated.goodputShare)}${simulated.keepsSlo ? '' : ', breaks the objective'}`,
    ];
  });
  return table(
    [
      'deployment',
      'GPUs',
      'requests/s',
      'at most',
      'first token',
      'per token',
      '$/M tokens',
      'simulated in time',
    ],
    rows,
    0,
  );
}

function proposals({ today, effects }: WhatIfResult): string {
  const range = ({ least, most }: { least: number; most: number }) =>
    percent(least) === percent(most) ? percent(most) : `${percent(least)} to ${percent(most)}`;
  const rows = effects.map(({ title, phases, usd: price }) => [
    title,
    range(phases.prefill.saved),
    range(phases.decode.saved),
    range(phases.training.saved),
    `${phases.prefill.sms.communication} of ${today.phases.prefill.sms.compute + today.phases.prefill.sms.communication}`,
    usd(price.perMillionDecodedTokens.most),
    usd(price.perTrillionTrainingTokens.most),
  ]);
  const { perMillionDecodedTokens, perTrillionTrainingTokens } = today.usd;
  return section(
    'What other hardware would change',
    `Proposals of the DeepSeek-V3 report, section 3.5; time saved in each phase. Today: ${usd(perMillionDecodedTokens.most)} for a million decoded tokens, ${usd(perTrillionTrainingTokens.most)} for 10¹² training tokens.`,
    table(['proposal', 'prefill', 'decode', 'training', 'SMs sending', '$/M decoded', '$/T trained'], rows),
  );
}

function assumptions({ request, searched }: PlanResult): string {
  const { accelerator, precision, mtp, skew } = request;
  const popular =
    skew.kind === 'balanced'
      ? 'equally popular experts'
      : skew.kind === 'powerLaw'
        ? `experts whose popularity falls with the power ${skew.alpha} of their place`
        : `a busiest GPU with ${skew.imbalance} times the mean load of experts`;
  const lines = [
    `Searched ${count(searched.layouts, 'layout')}, ${count(searched.prefillOptions, 'prefill option')}, ${count(searched.decodeOptions, 'decode option')} and ${count(searched.combinations, 'combination')}; ${count(searched.tooLarge, 'option')} did not fit the memory.`,
    `Weights in ${precision.weights}, attention in ${precision.attention}, dispatch in ${precision.dispatch}; ${popular}; ${mtp.enabled ? `${mtp.draftTokens} drafted tokens accepted with probability ${mtp.acceptance}` : 'no multi-token prediction'}.`,
    `${usd(accelerator.usdPerGpuHour)} for a GPU hour. Sources for ${accelerator.name}: ${accelerator.sources.join('; ')}.`,
    'Steps are priced from measured kernels where there are any, rooflines elsewhere. Figures are predictions: measure before you buy.',
  ];
  return `<ul>${lines.map((line) => `<li>${escapeHtml(line)}</li>`).join('')}</ul>`;
}
