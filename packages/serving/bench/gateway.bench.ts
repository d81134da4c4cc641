import { type BenchCase, type BenchGroup, type BenchRatio, defineBench } from '@moestack/tooling/bench';
import { addedLatency, passThrough, stalledGrowth, timeRequests } from './gateway/load.js';
import {
  type ServerProcess,
  startEngine,
  startHono,
  startMoestack,
  startPortkey,
  stopAll,
} from './gateway/processes.js';

const requests = 2000;
const connections = 64;
const streams = 200;
const stalled = 50;

const against = (numerator: string, denominator: string): BenchRatio => ({
  name: `${numerator} / ${denominator}`,
  numerator,
  denominator,
});

export default defineBench({
  name: 'gateway',
  notes: [
    `Requests/s: ${requests} requests of 0.7 KB and answers of 0.3 KB over ${connections} connections; engine, gateway and client are processes of their own on the same cores.`,
    'Added latency: median over one connection, minus the median without the gateway, asked in turn.',
    `Pass-through: median time from an event written by the engine to the same event read by the client, ${streams} streams of an event every 50 ms; first event: of the first one of each stream alone.`,
    `Stalled readers: resident bytes by which the gateway grows while ${stalled} clients do not read streams of 20 MB each, per client.`,
    'Aims: less than 2 ms added, the first event in less than 5 ms, no more than buffers for a reader that stalls.',
    'Peers pass the same requests on to the same engine: ten lines of hono with fetch, and @portkey-ai/gateway with a custom host.',
  ],
  async groups() {
    const engine = await startEngine();
    const moestack = await startMoestack(engine.url);
    const hono = await startHono(engine.url);
    const portkey = await startPortkey(engine.url);
    const rate = (name: string, server: ServerProcess): BenchCase => ({
      name,
      unit: 'requests/s',
      work: requests,
      measure: () => timeRequests(server, requests, connections),
    });
    const cases = [rate('engine alone', engine), rate('moestack', moestack), rate('hono and fetch', hono)];
    const ratios = [against('moestack', 'hono and fetch'), { ...against('moestack', 'portkey'), aim: 3 }];
    if (portkey !== undefined) cases.push(rate('portkey', portkey));
    const passing = (what: string, tokens: number): BenchGroup => {
      const through = (name: string, server: ServerProcess): BenchCase => ({
        name: `${what}, ${name}`,
        unit: 'ms',
        measure: () => passThrough(server, streams, tokens),
      });
      return {
        name: `${what} of ${streams} streams`,
        rounds: 5,
        cases: [
          through('engine alone', engine),
          through('moestack', moestack),
          through('hono and fetch', hono),
        ],
        ratios: [against(`${what}, moestack`, `${what}, hono and fetch`)],
      };
    };
    return [
      { name: 'requests', rounds: 7, cases, ratios },
      {
        name: 'latency',
        rounds: 7,
        cases: [
          { name: 'added by moestack', unit: 'ms', measure: () => addedLatency(engine, moestack, 300) },
          { name: 'added by hono and fetch', unit: 'ms', measure: () => addedLatency(engine, hono, 300) },
        ],
        ratios: [against('added by moestack', 'added by hono and fetch')],
      },
      passing('pass-through', 40),
      passing('first event', 1),
      {
        name: 'stalled readers',
        rounds: 3,
        cases: [
          {
            name: 'held by moestack',
            unit: 'MB a reader',
            // The figure is work by seconds: a second stands for a megabyte of growth turned upside down.
            work: 1,
            measure: async () => 1 / Math.max(1e-3, (await stalledGrowth(moestack, stalled)) / stalled / 1e6),
          },
        ],
      },
    ];
  },
  async close() {
    stopAll();
  },
});
