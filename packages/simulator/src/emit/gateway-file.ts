import { z } from 'zod';
import type { Slo } from '../cost/deployment.js';
import { checkSchema } from './check-schema.js';
import type { EngineName, PoolLaunch } from './engine.js';

const Worker = z.strictObject({
  url: z.url({ protocol: /^https?$/ }),
  name: z.string().min(1).max(128),
  dataParallelRanks: z.int().min(1).max(4096).optional(),
});
const PrefillWorker = Worker.extend({ bootstrapPort: z.int().min(1).max(65_535).optional() });
const poolFields = {
  name: z.string().min(1).max(128),
  models: z.array(z.string().min(1).max(512)).min(1),
  policy: z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('cache-aware') }),
    z.strictObject({ type: z.literal('power-of-two') }),
  ]),
  timeouts: z.strictObject({ headSeconds: z.number().positive() }),
} as const;

/** The file of `moestack serve --config`, as far as a plan decides it. */
export const GatewayFile = z.strictObject({
  schemaVersion: z.literal(1),
  backends: z
    .array(
      z.discriminatedUnion('type', [
        z.strictObject({
          type: z.literal('openai'),
          ...poolFields,
          workers: z.array(Worker).min(1).max(4096),
        }),
        z.strictObject({
          type: z.literal('vllm'),
          ...poolFields,
          connector: z.literal('nixl'),
          prefill: z.array(Worker).min(1).max(4096),
          decode: z.array(Worker).min(1).max(4096),
        }),
        z.strictObject({
          type: z.literal('sglang'),
          ...poolFields,
          prefill: z.array(PrefillWorker).min(1).max(4096),
          decode: z.array(Worker).min(1).max(4096),
        }),
      ]),
    )
    .length(1),
  slo: z.strictObject({ ttftSeconds: z.number().positive(), tpotSeconds: z.number().positive() }).optional(),
});
export type GatewayFile = z.infer<typeof GatewayFile>;

/** A pool with the name of its set of pods. */
export interface NamedPool {
  readonly launch: PoolLaunch;
  readonly name: string;
}

/** The gateway in front of the pools; addresses are those that LeaderWorkerSet gives pods of a shared subdomain. */
export function gatewayFile(engine: EngineName, pools: readonly NamedPool[], slo?: Slo): GatewayFile {
  const { servedModelName } = pools[0]!.launch;
  const common = {
    name: servedModelName,
    models: [servedModelName],
    // Prompts that share a prefix profit from landing on one prefill unit.
    policy: { type: 'cache-aware' },
    timeouts: { headSeconds: Math.max(600, 10 * (slo?.ttftSeconds ?? 0)) },
  };
  const [first, second] = pools;
  const backend =
    second === undefined
      ? { type: 'openai', ...common, workers: workers(engine, first!) }
      : engine === 'vllm'
        ? {
            type: 'vllm',
            ...common,
            connector: 'nixl',
            prefill: workers(engine, first!),
            decode: workers(engine, second),
          }
        : {
            type: 'sglang',
            ...common,
            prefill: workers(engine, first!).map((worker) => ({ ...worker, bootstrapPort: 8998 })),
            decode: workers(engine, second),
          };
  const file = {
    schemaVersion: 1,
    backends: [backend],
    ...(slo === undefined ? {} : { slo: { ttftSeconds: slo.ttftSeconds, tpotSeconds: slo.tpotSeconds } }),
  };
  return checkSchema(GatewayFile, file, 'gateway configuration');
}

function workers(engine: EngineName, { launch, name }: NamedPool): z.infer<typeof Worker>[] {
  const { pool, nodes, port } = launch;
  const list: z.infer<typeof Worker>[] = [];
  for (let unit = 0; unit < pool.units; unit++) {
    for (let node = 0; node < (engine === 'vllm' ? nodes : 1); node++) {
      const host = node === 0 ? `${name}-${unit}` : `${name}-${unit}-${node}`;
      const ranks = engine === 'vllm' ? pool.dp / nodes : pool.dp;
      list.push({
        url: `http://${host}.${name}:${port}`,
        name: host,
        ...(ranks > 1 ? { dataParallelRanks: ranks } : {}),
      });
    }
  }
  return list;
}
