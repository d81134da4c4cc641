import { Dashboard } from '../../src/dashboard/dashboard.js';
import { addDashboardRoutes } from '../../src/dashboard/routes.js';
import { type BackendHealth, createGateway, type Listening, listen } from '../../src/index.js';
import type { GatewayEvent } from '../../src/observer.js';
import { RequestLog } from '../../src/tracing/request-log.js';
import { EchoBackend } from '../echo-backend.js';
import { sampleStats } from './sample-engine.js';

/** A gateway that answers with letters and shows figures of a made-up engine. */
export async function startSample(
  options: { adminKeySha256?: string; history?: number; workers?: boolean } = {},
): Promise<{
  server: Listening;
  dashboard: Dashboard;
  tick: () => Promise<void>;
  setHealth: (health: BackendHealth) => void;
}> {
  const clock = {
    seconds: 700,
    nowUs: () => clock.seconds * 1e6,
    unixSeconds: () => 1_700_000_000 + clock.seconds,
  };
  const backend = new EchoBackend({
    contextTokens: 1024,
    beforeDelta: () => new Promise((resolve) => setTimeout(resolve, 10)),
  });
  const gateway = createGateway({ backend });
  let health: BackendHealth = { status: 'ok' };
  const engines = [{ model: 'letters', stats: () => sampleStats(clock.seconds) }];
  const dashboard = new Dashboard({
    clock,
    engines,
    slo: { ttftSeconds: 0.2, tpotSeconds: 0.02 },
    describe: async () => ({
      model: 'letters',
      models: ['letters'],
      contextTokens: 4096,
      backend: 'embedded',
    }),
    health: () => health,
  });
  const requests = new RequestLog();
  const { adminKeySha256 } = options;
  addDashboardRoutes(gateway.app, {
    dashboard,
    access: adminKeySha256 === undefined ? {} : { adminKeySha256 },
    engines,
    requests,
  });
  let count = 0;
  const tick = async () => {
    clock.seconds += 1;
    for (let index = 0; index < 9; index++) {
      for (const event of requestEvents(count++, clock.nowUs(), options.workers === true)) {
        dashboard.observe(event);
        requests.observe(event);
      }
    }
    await dashboard.tick();
  };
  for (let second = 0; second < (options.history ?? 240); second++) await tick();
  const setHealth = (value: BackendHealth) => {
    health = value;
  };
  return { server: await listen(gateway, { port: 0 }), dashboard, tick, setHealth };
}

function requestEvents(index: number, nowUs: number, withWorkers: boolean): GatewayEvent[] {
  const requestId = `${((index * 2_654_435_761) >>> 0).toString(16).padStart(8, '0')}-${index}`;
  const swing = 1 + 0.5 * Math.sin(index / 90) + 0.3 * Math.sin(index * 1.7);
  const tokens = 40 + ((index * 37) % 120);
  const ttftUs = Math.round(70_000 * swing * (index % 29 === 0 ? 4 : 1));
  const answerUs = Math.round(tokens * 6500 * swing);
  const atUs = nowUs - ttftUs - answerUs;
  const isFailure = index % 97 === 0;
  const common = { requestId };
  return [
    {
      ...common,
      type: 'received',
      atUs,
      route: index % 3 === 0 ? '/v1/completions' : '/v1/chat/completions',
      model: 'letters',
      stream: true,
      bodyBytes: 240,
    },
    ...(withWorkers
      ? [
          {
            ...common,
            type: 'routed',
            atUs,
            backend: 'pool',
            worker: `10.0.0.${1 + (index % 4)}:8000`,
            role: 'whole',
            attempt: 0,
          } as const,
        ]
      : []),
    { ...common, type: 'first-byte', atUs: atUs + ttftUs },
    {
      ...common,
      type: 'usage',
      atUs: nowUs,
      promptTokens: 90 + ((index * 53) % 400),
      completionTokens: tokens,
      cachedTokens: 32,
    },
    isFailure
      ? {
          ...common,
          type: 'finished',
          atUs: nowUs,
          status: 503,
          outcome: 'failed',
          code: 'serving/engine-failed',
        }
      : { ...common, type: 'finished', atUs: nowUs, status: 200, outcome: 'ok' },
  ];
}
