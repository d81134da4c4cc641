import { type Deployment, gpusOfDeployment, type Slo } from '../cost/deployment.js';
import type { Distribution, PoolResult, SimulationResult } from '../sim/simulate-options.js';
import { layoutName } from './deployment-text.js';
import { page, section, table, tiles } from './page.js';
import { count, duration, percent, short, usd } from './text.js';

/** What {@link simulationHtml} shows. */
export interface SimulationReport {
  readonly title: string;
  readonly deployment: Deployment;
  readonly result: SimulationResult;
  readonly slo?: Slo;
  readonly usdPerGpuHour: number;
}

/** A simulation as one HTML page: light and dark, no script, nothing loaded. */
export function simulationHtml({ title, deployment, result, slo, usdPerGpuHour }: SimulationReport): string {
  const { arrived, finished, refused, durationSeconds, ttftSeconds, tpotSeconds, latencySeconds } = result;
  const { prefill, decode } = deployment;
  const gpus = gpusOfDeployment(deployment);
  const cost = (gpus * usdPerGpuHour) / 3600 / result.outputTokensPerSecond;
  const pools: [string, string, PoolResult][] =
    prefill === null
      ? [['both', `${decode.units} x ${layoutName(decode)}`, result.decode]]
      : [
          ['prefill', `${prefill.units} x ${layoutName(prefill)}`, result.prefill],
          ['decode', `${decode.units} x ${layoutName(decode)}`, result.decode],
        ];
  const objective =
    slo === undefined
      ? ''
      : `; objective: ${percent(slo.quantile)} of the requests within ${duration(slo.ttftSeconds)} and ${duration(slo.tpotSeconds)} a token`;
  return page({
    kind: 'Simulation',
    title,
    facts: `${count(arrived, 'request')} on ${count(gpus, 'GPU')} in ${duration(durationSeconds)} from the first arrival to the last token${objective}`,
    body: [
      tiles([
        ...(result.goodput === null
          ? []
          : [
              [
                percent(result.goodput.share),
                'of requests in time',
                result.meetsSlo === true ? 'good' : 'bad',
              ] as const,
            ]),
        [short(result.requestsPerSecond), 'requests a second'],
        [short(result.outputTokensPerSecond / gpus), 'generated tokens a second and GPU'],
        [duration(ttftSeconds.p90), 'to the first token for 90%'],
        [duration(tpotSeconds.p90), 'between tokens for 90%'],
        [usd(cost * 1e6), 'for a million generated tokens'],
      ]),
      section(
        'Times',
        '',
        table(
          ['', 'mean', 'half', '90%', '99%', 'longest'],
          [
            row('first token', ttftSeconds),
            row('between tokens', tpotSeconds),
            row('whole request', latencySeconds),
          ],
        ),
      ),
      section(
        'Pools',
        '',
        table(
          [
            'pool',
            'layout',
            'GPUs',
            'in use',
            'steps',
            'prefilled tokens/s/server',
            'generated tokens/s/server',
            'sequences of a rank',
            'busiest rank / mean',
            'KV at most',
            'preemptions',
          ],
          pools.map(([name, layout, pool]) => [
            name,
            layout,
            String(pool.gpus),
            percent(pool.utilisation),
            short(pool.steps),
            short(pool.prefillTokensPerSecondPerNode),
            short(pool.decodeTokensPerSecondPerNode),
            short(pool.meanSequencesPerRank),
            short(pool.rankImbalance),
            percent(pool.peakKvShare),
            short(pool.preemptions),
          ]),
        ),
      ),
      section(
        'Requests',
        '',
        table(
          ['', 'number'],
          [
            ['arrived', short(arrived)],
            ['finished', short(finished)],
            ['refused: queue full', short(refused.full)],
            ['refused: too long', short(refused.tooLong)],
            ['prompt tokens', short(result.inputTokens)],
            [
              'of them found in a cache',
              `${short(result.cachedTokens)} (${percent(result.cachedTokens / Math.max(1, result.inputTokens))})`,
            ],
            ['generated tokens', short(result.outputTokens)],
          ],
        ),
      ),
    ].join('\n'),
  });
}

function row(name: string, { mean, p50, p90, p99, maximum }: Distribution): string[] {
  return [name, ...[mean, p50, p90, p99, maximum].map(duration)];
}
