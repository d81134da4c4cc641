import type { AnyBackend, ServeConfig } from '@moestack/serving';
import type { EmbeddedBackend } from '@moestack/serving/embedded';
import { stringify } from 'yaml';
import type { Reporter } from '../../reporter.js';
import { aborted } from '../../shutdown.js';
import { createBackends } from './create-backends.js';
import { defined, effectiveConfig } from './effective-config.js';
import { gatewayOptions } from './gateway-options.js';
import { withoutSecrets } from './secrets.js';
import type { ServeOptions } from './serve-options.js';

const defaultHost = '127.0.0.1';
const defaultPort = 8000;
const defaultDrainSeconds = 30;

/**
 * Makes what the configuration says, listens, and serves until `signal` aborts; then drains and returns. With
 * `printConfig`, prints the configuration instead.
 *
 * @throws typed errors of what is wrong in the configuration, or cannot be loaded or bound.
 */
export async function serve(options: ServeOptions, reporter: Reporter, signal: AbortSignal): Promise<void> {
  const config = await effectiveConfig(options);
  if (options.printConfig === true) {
    const shown = withoutSecrets(config);
    reporter.result({ event: 'config', config: shown }, [stringify(shown).trimEnd()]);
    return;
  }
  const gate = await gatewayOptions(config, reporter);
  const { host = defaultHost, port = defaultPort, drainSeconds = defaultDrainSeconds } = config.listen ?? {};
  const { backends, serving } = await load(config, { host, port }, { reporter, signal }).catch(
    async (error: unknown) => {
      await gate.close();
      throw error;
    },
  );
  try {
    const gateway = serving.createGateway({ ...gate.options, backend: backends });
    const server = await serving.listen(gateway, {
      host,
      port,
      ...defined({
        allowedHosts: config.listen?.allowedHosts,
        maxConnections: config.listen?.maxConnections,
      }),
    });
    tellStart(config, server, reporter);
    for (const [index, backend] of backends.entries()) {
      await tellBackend(config.backends[index]!, backend, server.url, reporter);
    }
    await aborted(signal);
    reporter.note(
      { event: 'draining', requestsInFlight: gateway.requestsInFlight },
      `stopping: ${gateway.requestsInFlight} requests in flight`,
    );
    await server.close({ drainSeconds });
  } finally {
    await Promise.all(backends.map((backend) => backend.close()));
    await gate.close();
  }
  reporter.note({ event: 'stopped' }, 'stopped');
}

/** Loads backends and gateway side by side. A taken port is found out before a big model is read to its end. */
async function load(
  config: ServeConfig,
  address: { readonly host: string; readonly port: number },
  context: { reporter: Reporter; signal: AbortSignal },
): Promise<{ backends: AnyBackend[]; serving: typeof import('@moestack/serving') }> {
  const inVain = new AbortController();
  const signal = AbortSignal.any([context.signal, inVain.signal]);
  const loading = createBackends(config, { ...context, signal });
  // It may fail while the gateway is still being imported, before anyone waits for it.
  loading.catch(() => undefined);
  try {
    const serving = await import('@moestack/serving');
    await serving.requireFreePort(address);
    return { backends: await loading, serving };
  } catch (error) {
    inVain.abort();
    await loading.then(
      (backends) => Promise.all(backends.map((backend) => backend.close())),
      () => undefined,
    );
    throw error;
  }
}

function tellStart(
  { observability }: ServeConfig,
  { url, host, port }: { readonly url: string; readonly host: string; readonly port: number },
  reporter: Reporter,
): void {
  const dashboard = observability?.dashboard === false ? undefined : `${url}/`;
  reporter.result({ event: 'listening', url, host, port, ...(dashboard !== undefined && { dashboard }) }, [
    `listening on ${url}`,
    ...(dashboard === undefined ? [] : [`dashboard: ${dashboard}`]),
  ]);
}

async function tellBackend(
  config: ServeConfig['backends'][number],
  backend: AnyBackend,
  url: string,
  reporter: Reporter,
): Promise<void> {
  if (config.type !== 'embedded') {
    const servers =
      config.type === 'openai'
        ? `${config.workers.length} ${config.workers.length === 1 ? 'server' : 'servers'}`
        : `${config.prefill.length} prefill and ${config.decode.length} decode servers`;
    const { name, type, models } = config;
    reporter.result({ event: 'pool', name, type, servers, ...(models !== undefined && { models }) }, [
      `pool ${name}: ${type}, ${servers}`,
    ]);
    return;
  }
  const [card] = await backend.models();
  const model = card?.id ?? '';
  const contextTokens = card?.contextTokens ?? 0;
  const { weightBytes } = backend as EmbeddedBackend;
  const ranks = backend.metrics().stages?.map(({ stage }) => rankName(stage, config)) ?? [];
  const curl = curlLine(url, model);
  reporter.result({ event: 'serving', model, contextTokens, ranks, weightBytes, curl }, [
    `serving ${model}: context ${contextTokens} tokens, ranks: ${ranks.join(' and ')}, ${(weightBytes / 1e6).toFixed(1)} MB of weights`,
    `try: ${curl}`,
  ]);
}

function rankName(
  stage: string,
  {
    prefillRanks = 1,
    decodeRanks = 1,
  }: { prefillRanks?: number | undefined; decodeRanks?: number | undefined },
): string {
  const count = stage === 'prefill' ? prefillRanks : decodeRanks;
  return count === 1 ? stage : `${count} x ${stage}`;
}

function curlLine(url: string, model: string): string {
  const body = JSON.stringify({ model, prompt: 'The people of the United States', max_tokens: 48 });
  return `curl -s ${url}/v1/completions -H 'content-type: application/json' -d '${body.replaceAll("'", "'\\''")}'`;
}
