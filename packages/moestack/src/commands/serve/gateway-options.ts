import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { MoestackError } from '@moestack/schemas/errors';
import type { AccessLogEntry, ApiKey, GatewayOptions, ServeConfig } from '@moestack/serving';
import { CliError } from '../../errors.js';
import type { Reporter } from '../../reporter.js';
import { defined } from './effective-config.js';
import { guardrailOf } from './guardrail-policy.js';

/** Options of a gateway, and what to close after it. */
export interface PreparedGateway {
  readonly options: Omit<GatewayOptions, 'backend'>;
  close(): Promise<void>;
}

/** Turns a configuration into options of the gateway. */
export async function gatewayOptions(config: ServeConfig, reporter: Reporter): Promise<PreparedGateway> {
  const { listen, auth, limits, guardrail, slo, observability = {} } = config;
  const log = await openAccessLog(observability.accessLog, reporter);
  const { adminKeySha256, dashboard = true, tracing = false } = observability;
  return {
    options: {
      ...(listen?.maxBodyBytes !== undefined && { maxBodyBytes: listen.maxBodyBytes }),
      ...(auth !== undefined && { keys: auth.keys.map((key) => withoutUndefined(key)) }),
      ...(limits !== undefined && { limits: defined(limits) }),
      ...(guardrail !== undefined && { guardrail: await guardrailOf(guardrail) }),
      ...(slo !== undefined && { slo: defined(slo) }),
      dashboard: dashboard && (adminKeySha256 === undefined ? true : { adminKeySha256 }),
      ...(log.write !== undefined && { accessLog: log.write }),
      ...(tracing && { spans: await createSpans() }),
      onError: (error, requestId) => {
        const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
        const code = MoestackError.isInstance(error) ? error.code : 'internal';
        reporter.note(
          { event: 'request-failed', requestId, code, message },
          `request ${requestId}: ${message}`,
        );
      },
    },
    close: log.close,
  };
}

type KeyConfig = NonNullable<ServeConfig['auth']>['keys'][number];

function withoutUndefined({ id, sha256, limits, models, weight }: KeyConfig): ApiKey {
  return {
    id,
    sha256,
    ...defined({ models, weight }),
    ...(limits !== undefined && { limits: defined(limits) }),
  };
}

interface OpenLog {
  readonly write?: (entry: AccessLogEntry) => void;
  close(): Promise<void>;
}

async function openAccessLog(target: boolean | string | undefined, reporter: Reporter): Promise<OpenLog> {
  if (target === undefined || target === false) return { close: async () => undefined };
  if (target === true) {
    const { stderr } = reporter.streams;
    return {
      write: (entry) => void stderr.write(`${JSON.stringify(entry)}\n`),
      close: async () => undefined,
    };
  }
  const stream: WriteStream = createWriteStream(target, { flags: 'a' });
  try {
    await once(stream, 'open');
  } catch (cause) {
    throw new CliError({
      code: 'cli/cannot-write',
      message: `cannot write the access log ${target}: ${cause instanceof Error ? cause.message : String(cause)}`,
      value: target,
      remedy: 'pass a path in a folder that exists and can be written to',
      cause,
    });
  }
  let isBroken = false;
  stream.on('error', (error) => {
    if (!isBroken)
      reporter.note({ event: 'access-log-failed', message: error.message }, `access log: ${error.message}`);
    isBroken = true;
  });
  return {
    write: (entry) => {
      // A disk that does not keep up must not fill this process.
      if (!isBroken && stream.writableLength < 16 * 2 ** 20) stream.write(`${JSON.stringify(entry)}\n`);
    },
    close: () => new Promise((resolve) => (isBroken ? resolve() : stream.end(() => resolve()))),
  };
}

async function createSpans() {
  try {
    const { genAiSpans } = await import('@moestack/serving/otel');
    return genAiSpans();
  } catch (cause) {
    throw new CliError({
      code: 'cli/missing-package',
      message: 'tracing needs @opentelemetry/api, which is not installed',
      remedy:
        'npm install @opentelemetry/api @opentelemetry/sdk-node, and register the SDK: node --import ./otel.mjs',
      cause,
    });
  }
}
