import { readFixtureJson } from '@moestack/fixtures';
import { afterEach, describe, expect, it } from 'vitest';
import { SglangBackend, VllmBackend, type WorkerOptions } from '../src/index.js';
import { exactJson } from './pools/engine-server.js';
import { eventsOf, gatewayOver, type Running } from './pools/gateway-over.js';
import { MooncakePair } from './pools/mooncake-pair.js';
import { SglangPair } from './pools/sglang-pair.js';
import { VllmPair } from './pools/vllm-pair.js';

interface Wire {
  vllm_nixl: {
    endpoints: string[];
    prefill_request: {
      set: { stream: boolean; max_tokens: number; kv_transfer_params: object };
      remove: string[];
    };
    prefill_response: { kv_transfer_params: Record<string, unknown> };
  };
  vllm_mooncake: {
    prefill_kv_transfer_params: Record<string, unknown>;
    decode_kv_transfer_params_current: Record<string, unknown>;
    decode_kv_transfer_params_older: Record<string, unknown>;
  };
  sglang_pd: {
    endpoints: string[];
    body_additions: Record<string, string>;
    errors: Record<string, string>;
  };
}
const wire = readFixtureJson<Wire>('serving/pd-wire.json');

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});
const keep = <T extends { stop(): Promise<void> }>(pair: T): T => {
  stops.push(() => pair.stop());
  return pair;
};
const over = async (backend: VllmBackend | SglangBackend): Promise<Running> => {
  const running = await gatewayOver({ backend });
  stops.push(() => running.close());
  return running;
};

/** The servers of a pair, as the options of a backend. */
const serversOf = (pair: VllmPair | MooncakePair | SglangPair, prefill: Partial<WorkerOptions> = {}) => ({
  name: 'pd',
  prefill: [{ url: pair.prefill.url, ...prefill }],
  decode: [{ url: pair.decode.url }],
});

/** A body with everything that legs have to change or to keep. */
const bodyFor = (path: string, more = ''): string => {
  const prompt = path.includes('chat')
    ? '"messages":[{"role":"user","content":"größe 🙂"}]'
    : '"prompt":"größe 🙂"';
  return `{ "model":"m", ${prompt} ,"max_tokens":5,"max_completion_tokens":6,"stream":true,"stream_options":{"include_usage":true},
   "min_tokens":2,"min_completion_tokens":2,"stop":["x"],"stop_token_ids":[7],"seed":9223372036854775807,"x_unknown":{"id":18446744073709551615,"f":1.50}${more}}`;
};
const forged =
  ',"kv_transfer_params":{"remote_host":"evil"},"bootstrap_host":"evil","bootstrap_port":1,"bootstrap_room":1,"r\\u0069d":"a","request_id":"b","routed_dp_rank":3,"disagg_prefill_dp_rank":3,"data_parallel_rank":3';
const forgedHeaders = {
  'x-request-id': 'collision',
  'x-data-parallel-rank': '3',
  authorization: 'Bearer client',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
};

describe.each(wire.vllm_nixl.endpoints)('vLLM with NIXL at %s', (path) => {
  it('does on both legs what the contract says', async () => {
    const pair = keep(await new VllmPair({ apiKey: 'pool' }).start());
    const { post } = await over(
      new VllmBackend({
        name: 'pd',
        prefill: [{ url: pair.prefill.url, apiKey: 'pool' }],
        decode: [{ url: pair.decode.url, apiKey: 'pool' }],
      }),
    );
    const response = await post(path, bodyFor(path, forged), { headers: forgedHeaders });
    expect(response.status).toBe(200);
    await eventsOf(response);
    expect(pair.violations).toEqual([]);
    expect(pair.pinned).toBe(0);

    const [prefill] = pair.prefill.seen;
    const [decode] = pair.decode.seen;
    const { set, remove } = wire.vllm_nixl.prefill_request;
    expect(prefill!.path).toBe(path);
    expect(prefill!.body).toMatchObject({
      stream: set.stream,
      max_tokens: set.max_tokens,
      max_completion_tokens: 1,
    });
    expect(prefill!.body['kv_transfer_params']).toEqual(set.kv_transfer_params);
    for (const field of [...remove, 'stop', 'stop_token_ids'])
      expect(prefill!.body).not.toHaveProperty(field);
    expect(prefill!.body['ignore_eos']).toBe(true);

    const exact = exactJson(decode!.text) as Record<string, Record<string, unknown>>;
    for (const key of Object.keys(wire.vllm_nixl.prefill_response.kv_transfer_params)) {
      expect(exact['kv_transfer_params']).toHaveProperty(key);
    }
    expect(exact['kv_transfer_params']).toMatchObject({
      x_lease: { until: '#18446744073709551615', share: '#1.0' },
    });
    delete exact['kv_transfer_params'];
    expect(exact).toEqual(exactJson(bodyFor(path)));

    expect(prefill!.headers['x-request-id']).toBe(decode!.headers['x-request-id']);
    expect(prefill!.headers['x-request-id']).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-/);
    expect(response.headers.get('x-request-id')).toBe(decode!.headers['x-request-id']);
    for (const leg of [prefill!, decode!]) {
      expect(leg.headers).toMatchObject({
        authorization: 'Bearer pool',
        traceparent: forgedHeaders.traceparent,
      });
      expect(leg.headers).not.toHaveProperty('x-data-parallel-rank');
    }
  });

  it('names the rank of the prefill leg where there are several', async () => {
    const pair = keep(await new VllmPair().start());
    const { post } = await over(
      new VllmBackend({
        ...serversOf(pair, { dataParallelRanks: 2 }),
      }),
    );
    for (let n = 0; n < 3; n++) await eventsOf(await post(path, bodyFor(path)));
    expect(pair.prefill.seen.map((leg) => leg.headers['x-data-parallel-rank'])).toEqual(['0', '1', '0']);
  });
});

describe('vLLM with Mooncake', () => {
  const path = '/v1/chat/completions';

  it.each([
    ['current', false],
    ['older', true],
  ] as const)('sends both legs at once with the parameters of %s releases', async (_, legacy) => {
    const pair = keep(await new MooncakePair({}, legacy).start());
    const { post } = await over(
      new VllmBackend({
        ...serversOf(pair, { bootstrapPort: pair.bootstrapPort }),
        connector: legacy ? 'mooncake-legacy' : 'mooncake',
      }),
    );
    if (!legacy) {
      for (let n = 0; n < 3; n++)
        await eventsOf(await post(path, bodyFor(path, forged), { headers: forgedHeaders }));
      expect(pair.queries).toBe(1);
      expect(pair.openTransfers).toBe(0);
    } else {
      // Without a transfer id the stand-in goes by the request id.
      await eventsOf(await post(path, bodyFor(path)));
    }
    expect(pair.violations).toEqual([]);
    const wanted = legacy
      ? wire.vllm_mooncake.decode_kv_transfer_params_older
      : wire.vllm_mooncake.decode_kv_transfer_params_current;
    expect(Object.keys(pair.decode.seen[0]!.body['kv_transfer_params'] as object).sort()).toEqual(
      Object.keys(wanted).sort(),
    );
    if (!legacy) {
      expect(Object.keys(pair.prefill.seen[0]!.body['kv_transfer_params'] as object).sort()).toEqual(
        Object.keys(wire.vllm_mooncake.prefill_kv_transfer_params).sort(),
      );
    }
  });

  it('fails at once when the prefill leg does', async () => {
    const pair = keep(await new MooncakePair().start());
    pair.prefill.fault = () => 'error-500';
    const { post } = await over(
      new VllmBackend({
        ...serversOf(pair, { bootstrapPort: pair.bootstrapPort }),
        connector: 'mooncake',
        retry: { maxAttempts: 1 },
      }),
    );
    const response = await post(path, bodyFor(path));
    expect(response.status).toBe(500);
    await expect.poll(() => pair.openTransfers).toBe(0);
  });
});

describe.each(wire.sglang_pd.endpoints.filter((path) => path.startsWith('/v1/')))('SGLang at %s', (path) => {
  it('sends one body to both legs at once', async () => {
    const pair = keep(await new SglangPair().start());
    const { post } = await over(new SglangBackend(serversOf(pair)));
    await eventsOf(await post(path, bodyFor(path, forged), { headers: forgedHeaders }));
    expect(pair.violations).toEqual([]);
    expect(pair.openRooms).toBe(0);
    const [prefill] = pair.prefill.seen;
    const [decode] = pair.decode.seen;
    expect(prefill!.text).toBe(decode!.text);
    expect(prefill!.headers['x-request-id']).toBe(decode!.headers['x-request-id']);
    const exact = exactJson(prefill!.text) as Record<string, unknown>;
    for (const field of Object.keys(wire.sglang_pd.body_additions)) {
      expect(exact).toHaveProperty(field);
      delete exact[field];
    }
    expect(exact).toEqual(exactJson(bodyFor(path)));
  });

  it.each([
    ['"a"', false],
    ['[1,2]', false],
    ['["a"]', true],
    ['[[1,2]]', true],
    ['["a","b"]', true],
  ])('gives the prompt %s rooms in a list: %s', async (prompt, isList) => {
    const pair = keep(await new SglangPair().start());
    const { post } = await over(new SglangBackend(serversOf(pair)));
    expect((await post('/v1/completions', `{"model":"m","prompt":${prompt}}`)).status).toBe(200);
    expect(pair.violations).toEqual([]);
    for (const field of Object.keys(wire.sglang_pd.body_additions))
      expect(Array.isArray(pair.decode.seen[0]!.body[field])).toBe(isList);
  });

  it('brackets IPv6 hosts, passes null ports and pins ranks by the room', async () => {
    const pair = keep(await new SglangPair().start());
    const rooms = [(1n << 63n) - 1n, 5n, 6n, 7n];
    const { post } = await over(
      new SglangBackend({
        ...serversOf(pair, { bootstrapHost: 'fd00::7', bootstrapPort: null, dataParallelRanks: 4 }),
        retry: { maxAttempts: 1 },
        randomRoom: () => rooms.shift()!,
      }),
    );
    for (let n = 0; n < 4; n++) await (await post(path, bodyFor(path))).text();
    const bodies = pair.prefill.seen.map((leg) => exactJson(leg.text) as Record<string, string>);
    expect(bodies[0]).toMatchObject({ bootstrap_host: '[fd00::7]', bootstrap_port: null });
    const sent = bodies.map((body) => BigInt(body['bootstrap_room']!.slice(1)));
    expect(sent.map((room) => room % 4n)).toEqual([0n, 1n, 2n, 3n]);
    for (const room of sent) expect(room >= 0n && room < 1n << 63n).toBe(true);
  });
});

it('draws SGLang rooms beyond 2^53 and never twice', async () => {
  const pair = keep(await new SglangPair().start());
  const { post } = await over(new SglangBackend(serversOf(pair)));
  await Promise.all(
    Array.from({ length: 40 }, async () =>
      eventsOf(await post('/v1/completions', bodyFor('/v1/completions'))),
    ),
  );
  const rooms = pair.prefill.seen.map((leg) =>
    String((exactJson(leg.text) as Record<string, unknown>)['bootstrap_room']).slice(1),
  );
  expect(new Set(rooms).size).toBe(40);
  expect(rooms.filter((room) => BigInt(room) > 1n << 53n).length).toBeGreaterThan(30);
});
