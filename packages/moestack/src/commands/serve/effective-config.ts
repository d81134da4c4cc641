import type { EmbeddedBackendConfig, ServeConfig } from '@moestack/serving';
import { CliError } from '../../errors.js';
import { readConfig } from './read-config.js';
import { hashKey, secretOf } from './secrets.js';
import type { ServeOptions } from './serve-options.js';

/** The configuration that the file and the command line make together; the command line wins. */
export async function effectiveConfig(options: ServeOptions): Promise<ServeConfig> {
  const base: ServeConfig =
    options.config === undefined
      ? { schemaVersion: 1, backends: [{ type: 'embedded' }] }
      : await readConfig(options.config);
  const {
    host,
    port,
    allowedHost: allowedHosts,
    maxBodyBytes,
    drainSeconds,
    sloTtftMs,
    sloTpotMs,
    accessLog,
    dashboard,
    adminKeyEnv,
  } = options;
  const listen = { ...base.listen, ...defined({ host, port, allowedHosts, maxBodyBytes, drainSeconds }) };
  const slo = {
    ...base.slo,
    ...defined({
      ttftSeconds: sloTtftMs === undefined ? undefined : sloTtftMs / 1000,
      tpotSeconds: sloTpotMs === undefined ? undefined : sloTpotMs / 1000,
    }),
  };
  const observability = {
    ...base.observability,
    ...defined({
      accessLog: accessLog === '-' ? true : accessLog,
      dashboard: dashboard === false ? false : undefined,
      adminKeySha256: adminKeyEnv === undefined ? undefined : hashKey(secretOf(adminKeyEnv)),
    }),
  };
  return {
    ...base,
    backends: withFlags(base.backends, embeddedFlags(options), options.config),
    ...(Object.keys(listen).length > 0 && { listen }),
    ...(Object.keys(slo).length > 0 && { slo }),
    ...(Object.keys(observability).length > 0 && { observability }),
  };
}

/** What the command line says of the embedded backend. */
function embeddedFlags(options: ServeOptions): Partial<EmbeddedBackendConfig> {
  const { name, model, precision, attention, mixed, prefillRanks, decodeRanks, redundantExperts } = options;
  const { prefillTensor, decodeTensor, rebalanceSeconds, maxBatch, maxWaiting, kvBlocks, context } = options;
  return defined({
    name,
    model,
    precision,
    attention,
    stages: mixed === true ? ('mixed' as const) : undefined,
    prefillRanks,
    decodeRanks,
    prefillTensor,
    decodeTensor,
    redundantExperts,
    rebalanceSeconds,
    maxBatch,
    maxWaiting,
    kvBlocks,
    contextTokens: context,
  });
}

function withFlags(
  backends: ServeConfig['backends'],
  flags: Partial<EmbeddedBackendConfig>,
  file: string | undefined,
): ServeConfig['backends'] {
  const names = Object.keys(flags);
  if (names.length === 0) return backends;
  const embedded = backends.filter(({ type }) => type === 'embedded');
  if (embedded.length !== 1) {
    throw new CliError({
      code: 'cli/bad-option',
      message: `${names.join(', ')} on the command line are about the embedded backend, of which ${file ?? 'the configuration'} has ${embedded.length}`,
      value: names,
      remedy: 'set them in the configuration',
    });
  }
  return backends.map((backend) => (backend.type === 'embedded' ? { ...backend, ...flags } : backend));
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without the fields that hold nothing. */
export function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as Defined<T>;
}
