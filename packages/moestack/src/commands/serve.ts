import { MoestackError } from '@moestack/schemas/errors';
import {
  createEmbeddedBackend,
  type EmbeddedBackend,
  type EmbeddedOptions,
  type StageRebalance,
} from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
import { LoadProgress } from '../load-progress.js';
import type { Reporter } from '../reporter.js';
import { aborted } from '../shutdown.js';

/** Options of `moestack serve`. */
export interface ServeOptions {
  readonly model?: string;
  readonly name?: string;
  readonly host: string;
  readonly port: number;
  readonly maxBatch?: number;
  readonly maxWaiting?: number;
  readonly kvBlocks?: number;
  readonly context?: number;
  readonly precision?: NonNullable<EmbeddedOptions['precision']>;
  readonly mixed?: boolean;
  readonly prefillRanks?: number;
  readonly decodeRanks?: number;
  readonly prefillTensor?: number;
  readonly decodeTensor?: number;
  readonly redundantExperts?: number;
  readonly rebalanceSeconds?: number;
  readonly maxBodyBytes?: number;
  readonly drainSeconds: number;
}

/**
 * Loads the model, listens, and serves until `signal` aborts; then drains and returns.
 *
 * @throws typed errors of what cannot be loaded or bound.
 */
export async function serve(options: ServeOptions, reporter: Reporter, signal: AbortSignal): Promise<void> {
  const progress = new LoadProgress(reporter);
  const { backend, serving } = await load(options, progress, reporter, signal).finally(() => progress.stop());
  try {
    const gateway = serving.createGateway({
      backend,
      ...(options.maxBodyBytes !== undefined && { maxBodyBytes: options.maxBodyBytes }),
      onError: (error, requestId) => {
        const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
        const code = MoestackError.isInstance(error) ? error.code : 'internal';
        reporter.note(
          { event: 'request-failed', requestId, code, message },
          `request ${requestId}: ${message}`,
        );
      },
    });
    const server = await serving.listen(gateway, { host: options.host, port: options.port });
    const [card] = await backend.models();
    const model = card?.id ?? '';
    reporter.result({ event: 'listening', url: server.url, host: server.host, port: server.port }, [
      `listening on ${server.url}`,
    ]);
    const contextTokens = card?.contextTokens ?? 0;
    const ranks = backend.metrics().stages?.map((stage) => rankName(stage.stage, options)) ?? [];
    const curl = curlLine(server.url, model);
    reporter.result(
      { event: 'serving', model, contextTokens, ranks, weightBytes: backend.weightBytes, curl },
      [
        `serving ${model}: context ${contextTokens} tokens, ranks: ${ranks.join(' and ')}, ${(backend.weightBytes / 1e6).toFixed(1)} MB of weights`,
        `try: ${curl}`,
      ],
    );
    await aborted(signal);
    reporter.note(
      { event: 'draining', requestsInFlight: gateway.requestsInFlight },
      `stopping: ${gateway.requestsInFlight} requests in flight`,
    );
    await server.close({ drainSeconds: options.drainSeconds });
  } finally {
    await backend.close();
  }
  reporter.note({ event: 'stopped' }, 'stopped');
}

/** Loads model and gateway side by side. A taken port is found out before a big model is read to its end. */
async function load(
  options: ServeOptions,
  progress: LoadProgress,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<{ backend: EmbeddedBackend; serving: typeof import('@moestack/serving') }> {
  const inVain = new AbortController();
  const either = AbortSignal.any([signal, inVain.signal]);
  const loading = createEmbeddedBackend(embeddedOptions(options, progress, reporter, either));
  // It may fail while the gateway is still being imported, before anyone waits for it.
  loading.catch(() => undefined);
  try {
    const serving = await import('@moestack/serving');
    await serving.requireFreePort(options);
    return { backend: await loading, serving };
  } catch (error) {
    inVain.abort();
    await loading.then(
      (backend) => backend.close(),
      () => undefined,
    );
    throw error;
  }
}

function embeddedOptions(
  options: ServeOptions,
  progress: LoadProgress,
  reporter: Reporter,
  signal: AbortSignal,
): EmbeddedOptions {
  const name = options.name ?? (options.model === undefined ? 'tiny-moe' : undefined);
  return {
    modelDirectory: options.model ?? tinyMoe,
    stages: options.mixed === true ? 'mixed' : 'split',
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
    ...(name !== undefined && { name }),
    ...(options.maxBatch !== undefined && { maxBatch: options.maxBatch }),
    ...(options.maxWaiting !== undefined && { maxWaiting: options.maxWaiting }),
    ...(options.kvBlocks !== undefined && { kvBlocks: options.kvBlocks }),
    ...(options.context !== undefined && { contextTokens: options.context }),
    ...(options.prefillRanks !== undefined && { prefillRanks: options.prefillRanks }),
    ...(options.decodeRanks !== undefined && { decodeRanks: options.decodeRanks }),
    ...(options.prefillTensor !== undefined && { prefillTensor: options.prefillTensor }),
    ...(options.decodeTensor !== undefined && { decodeTensor: options.decodeTensor }),
    ...(options.redundantExperts !== undefined && { redundantExperts: options.redundantExperts }),
    ...(options.rebalanceSeconds !== undefined && {
      rebalance: {
        periodSeconds: options.rebalanceSeconds,
        minIntervalSeconds: options.rebalanceSeconds,
        recorder: { bucketSeconds: Math.min(60, options.rebalanceSeconds / 5) },
      },
    }),
    ...(options.precision !== undefined && { precision: options.precision }),
  };
}

function rankName(stage: string, { prefillRanks = 1, decodeRanks = 1 }: ServeOptions): string {
  const count = stage === 'prefill' ? prefillRanks : decodeRanks;
  return count === 1 ? stage : `${count} x ${stage}`;
}

function rebalanceNumbers(result: StageRebalance) {
  const { stage, layers, movedExperts, imbalanceBefore, imbalanceAfter } = result;
  return { stage, layers, movedExperts, imbalanceBefore, imbalanceAfter };
}

function curlLine(url: string, model: string): string {
  const body = JSON.stringify({ model, prompt: 'The people of the United States', max_tokens: 48 });
  return `curl -s ${url}/v1/completions -H 'content-type: application/json' -d '${body.replaceAll("'", "'\\''")}'`;
}
