import { type BenchCase, type BenchRatio, defineBench } from '@moestack/tooling/bench';
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

export default defineBench({
  name: 'gateway',
  notes: [
    `Requests/s: ${requests} requests of 0.7 KB and answers of 0.3 KB over ${connections} connections; engine, gateway and client are processes of their own on the same cores.`,
    'Added latency: median over one connection, minus the median without the gateway, asked in turn.',
    `Pass-through: median time from an event written by the engine to the same event read by the client, ${streams} streams of an event every 50 ms.`,
    `Stalled readers: resident bytes by which the gateway grows while ${stalled} clients do not read streams of 20 MB each, per client.`,
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
    const ratios: BenchRatio[] = [
      { name: 'moestack / hono and fetch', numerator: 'moestack', denominator: 'hono and fetch' },
    ];
    if (portkey !== undefined) cases.push(rate('portkey', portkey));
    ratios.push({ name: 'moestack / portkey', numerator: 'moestack', denominator: 'portkey', aim: 3 });
    return [
      { name: 'requests', rounds: 7, cases, ratios },
      {
        name: 'latency',
        rounds: 7,
        cases: [
          { name: 'added by moestack', unit: 'ms', measure: () => addedLatency(engine, moestack, 300) },
          { name: 'added by hono and fetch', unit: 'ms', measure: () => addedLatency(engine, hono, 300) },
        ],
      },
      {
        name: `pass-through of ${streams} streams`,
        rounds: 5,
        cases: [
          { name: 'engine alone', unit: 'ms', measure: () => passThrough(engine, streams, 40) },
          { name: 'moestack', unit: 'ms', measure: () => passThrough(moestack, streams, 40) },
          { name: 'hono and fetch', unit: 'ms', measure: () => passThrough(hono, streams, 40) },
        ],
      },
      {
        name: 'stalled readers',
        rounds: 3,
        cases: [
          {
            name: 'moestack',
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
