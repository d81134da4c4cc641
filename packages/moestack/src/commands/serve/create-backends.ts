import type {
  AnyBackend,
  BackendConfig,
  EmbeddedBackendConfig,
  ServeConfig,
  SloTargets,
} from '@moestack/serving';
import type { EmbeddedOptions, StageRebalance } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
import { LoadProgress } from '../../load-progress.js';
import type { Reporter } from '../../reporter.js';
import { defined } from './effective-config.js';

/** What backends are made with. */
export interface BackendContext {
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
}

type PoolConfig = Exclude<BackendConfig, EmbeddedBackendConfig>;

/** Makes the backends of a configuration, side by side; if one fails, the others are closed. */
export async function createBackends(config: ServeConfig, context: BackendContext): Promise<AnyBackend[]> {
  const slo = config.slo === undefined ? undefined : defined(config.slo);
  const areSeveral = config.backends.filter(({ type }) => type === 'embedded').length > 1;
  const settled = await Promise.allSettled(
    config.backends.map((backend) =>
      backend.type === 'embedded'
        ? embeddedBackend(backend, { ...context, slo, areSeveral })
        : poolBackend(backend),
    ),
  );
  const failure = settled.find((one) => one.status === 'rejected');
  const made = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  if (failure === undefined) return made;
  await Promise.allSettled(made.map((backend) => backend.close()));
  throw failure.reason;
}

async function embeddedBackend(
  config: EmbeddedBackendConfig,
  {
    reporter,
    signal,
    slo,
    areSeveral,
  }: BackendContext & { readonly slo: SloTargets | undefined; readonly areSeveral: boolean },
): Promise<AnyBackend> {
  const { type: _, model, name, rebalanceSeconds, ...sizes } = config;
  const progress = new LoadProgress(reporter);
  const options: EmbeddedOptions = {
    ...defined(sizes),
    modelDirectory: model ?? tinyMoe,
    ...(name !== undefined ? { name } : model === undefined && { name: 'tiny-moe' }),
    ...(areSeveral && name !== undefined && { backendName: name }),
    ...(slo !== undefined && { slo }),
    onProgress: (report) => progress.update(report),
    onRestart: ({ stage = 'engine', error, ranks, resumed }) => {
      const reason = error instanceof Error ? error.message : String(error);
      const after = ranks === undefined ? 'given up' : `restarted, ${resumed} requests go on`;
      reporter.note(
        { event: 'restarted', stage, reason, resumed, ...(ranks && { ranks }) },
        `${reason}: ${after}`,
      );
    },
    onRebalance: (result) =>
      reporter.note(
        { event: 'rebalanced', ...rebalanceNumbers(result) },
        `${result.stage}: moved ${result.movedExperts} experts, highest over mean load of a rank ${result.imbalanceBefore.toFixed(2)} -> ${result.imbalanceAfter.toFixed(2)}`,
      ),
    signal,
    ...(rebalanceSeconds !== undefined && {
      rebalance: {
        periodSeconds: rebalanceSeconds,
        minIntervalSeconds: rebalanceSeconds,
        recorder: { bucketSeconds: Math.min(60, rebalanceSeconds / 5) },
      },
    }),
  };
  const { createEmbeddedBackend } = await import('@moestack/serving/embedded');
  return createEmbeddedBackend(options).finally(() => progress.stop());
}

async function poolBackend(config: PoolConfig): Promise<AnyBackend> {
  const { createPoolBackend } = await import('@moestack/serving');
  return createPoolBackend(config, { env: process.env });
}

function rebalanceNumbers(result: StageRebalance) {
  const { stage, layers, movedExperts, imbalanceBefore, imbalanceAfter } = result;
  return { stage, layers, movedExperts, imbalanceBefore, imbalanceAfter };
}
