import { SglangExpertLocation } from '@moestack/schemas';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import type { Deployment, Pool } from '../cost/deployment.js';
import { publishedDeployment } from '../cost/published-deployment.js';
import { SimulatorError } from '../errors.js';
import { h800 as accelerator } from '../hardware/presets.js';
import { deepSeekV3 } from '../model/model-shape.js';
import { shellWord } from './command-line.js';
import { type EmitOptions, emitDeployment } from './emit.js';
import { GatewayFile } from './gateway-file.js';
import { EngineService, FileMap, LeaderWorkerSet } from './leader-worker-set.js';
import { SglangArguments } from './sglang-arguments.js';
import { VllmArguments } from './vllm-arguments.js';

const online = publishedDeployment('online');

function pool(changes: Partial<Pool>): Pool {
  return { ...online.prefill!, maxTokensPerRank: 8192, ...changes };
}

function deployment(changes: Partial<Deployment> = {}): Deployment {
  const decode = { ...online.decode, dp: 72, ep: 72, maxTokensPerRank: 128, maxSequencesPerRank: 128 };
  return { ...online, prefill: pool({ units: 2 }), decode, ...changes };
}

function emit(changes: Partial<EmitOptions> = {}): Map<string, string> {
  const files = emitDeployment({
    deployment: deployment(),
    accelerator,
    model: deepSeekV3,
    engine: 'sglang',
    ...changes,
  });
  return new Map(files.map(({ path, text }) => [path, text]));
}

/** Flags of the command that a script or a pod runs, read the way a shell and argparse would. */
function flagsOf(text: string): { words: string[]; flags: Record<string, unknown> } {
  const command = text.slice(text.indexOf('exec ') + 5).replaceAll('\\\n', ' ');
  const words = [...command.matchAll(/'([^']*)'|"([^"]*)"|([^\s'"]+)/g)].map((m) => m[1] ?? m[2] ?? m[3]!);
  const flags: Record<string, unknown> = {};
  const first = words.findIndex((word) => word.startsWith('--'));
  for (let i = first; i < words.length; ) {
    const name = words[i]!.slice(2);
    const values: string[] = [];
    for (i++; i < words.length && !words[i]!.startsWith('--'); i++) values.push(words[i]!);
    flags[name] = values.length === 0 ? true : typed(values[0]!);
  }
  return { words: words.slice(0, first), flags };
}

function typed(text: string): unknown {
  if (text.startsWith('{')) return JSON.parse(text);
  return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
}

describe('emitDeployment for SGLang', () => {
  const files = emit();

  it('writes a script per pool, locations, manifests and a gateway', () => {
    expect([...files.keys()]).toEqual([
      'launch-prefill.sh',
      'expert-location-prefill.json',
      'launch-decode.sh',
      'expert-location-decode.json',
      'kubernetes.yaml',
      'gateway.json',
    ]);
  });

  it('launches whole engines with limits over all ranks', () => {
    const { words, flags } = flagsOf(files.get('launch-prefill.sh')!);
    expect(words).toEqual(['python3', '-m', 'sglang.launch_server']);
    expect(SglangArguments.parse(flags)).toMatchObject({
      'tp-size': 32,
      'dp-size': 32,
      'ep-size': 32,
      nnodes: 4,
      'node-rank': '$NODE_RANK',
      'chunked-prefill-size': 32 * 8192,
      'deepep-mode': 'normal',
      'deepep-config': { normal_dispatch: { num_sms: 24 }, normal_combine: { num_sms: 24 } },
      'ep-num-redundant-experts': 32,
      'init-expert-location': './expert-location-prefill.json',
      'disaggregation-mode': 'prefill',
    });
    const decode = flagsOf(files.get('launch-decode.sh')!).flags;
    expect(SglangArguments.parse(decode)).toMatchObject({
      'max-running-requests': 72 * 128,
      'deepep-mode': 'low_latency',
      nnodes: 9,
    });
    expect(decode).not.toHaveProperty('chunked-prefill-size');
  });

  it('leaves memory for buffers: weights and KV stay below the share they get', () => {
    const share = flagsOf(files.get('launch-decode.sh')!).flags['mem-fraction-static'] as number;
    expect(share).toBeGreaterThan(0.6);
    expect(share).toBeLessThan(0.95);
  });

  it('places every expert in every layer of the model', () => {
    const { physical_to_logical_map: map } = SglangExpertLocation.parse(
      JSON.parse(files.get('expert-location-decode.json')!),
    ) as { physical_to_logical_map: number[][] };
    expect(map).toHaveLength(61);
    for (const row of map) {
      expect(row).toHaveLength(288);
      expect(new Set(row).size).toBe(256);
    }
  });

  it('gives hot experts replicas when a load was recorded', () => {
    const counts = new Float64Array(58 * 256).fill(1);
    for (let layer = 0; layer < 58; layer++) counts[layer * 256 + 7] = 60;
    const planned = emit({ load: { layers: 58, experts: 256, counts } });
    const { physical_to_logical_map: map } = JSON.parse(planned.get('expert-location-prefill.json')!) as {
      physical_to_logical_map: number[][];
    };
    expect(map[10]!.filter((expert) => expert === 7).length).toBeGreaterThan(5);
    expect(map[0]!.slice(0, 4)).toEqual([0, 1, 2, 3]);
    expect(() => emit({ load: { layers: 5, experts: 256, counts: new Float64Array(5 * 256) } })).toThrow(
      '58 MoE layers',
    );
  });

  it('writes manifests that the API servers of LeaderWorkerSet and Kubernetes accept', () => {
    const documents = parseAllDocuments(files.get('kubernetes.yaml')!).map(
      (document) => document.toJS() as { kind: string },
    );
    expect(documents.map(({ kind }) => kind)).toEqual([
      'ConfigMap',
      'LeaderWorkerSet',
      'Service',
      'ConfigMap',
      'LeaderWorkerSet',
      'Service',
    ]);
    const schemas = { ConfigMap: FileMap, LeaderWorkerSet, Service: EngineService };
    for (const document of documents) schemas[document.kind as keyof typeof schemas].parse(document);
    const set = LeaderWorkerSet.parse(documents[4]);
    expect(set.spec).toMatchObject({ replicas: 1, leaderWorkerTemplate: { size: 9 } });
    const { containers } = set.spec.leaderWorkerTemplate.workerTemplate.spec;
    expect(containers[0]!.resources.limits).toEqual({ 'nvidia.com/gpu': '8' });
    const { flags } = flagsOf(containers[0]!.command[2]!);
    expect(SglangArguments.parse(flags)).toMatchObject({
      'node-rank': '$LWS_WORKER_INDEX',
      'dist-init-addr': '$LWS_LEADER_ADDRESS:20000',
      'init-expert-location': '/etc/moestack/expert-location-decode.json',
    });
  });

  it('points the gateway at the leaders', () => {
    const gateway = GatewayFile.parse(JSON.parse(files.get('gateway.json')!));
    expect(gateway.backends[0]).toMatchObject({
      type: 'sglang',
      models: ['DeepSeek-V3'],
      prefill: [
        {
          url: 'http://deepseek-v3-prefill-0.deepseek-v3-prefill:30000',
          dataParallelRanks: 32,
          bootstrapPort: 8998,
        },
        { url: 'http://deepseek-v3-prefill-1.deepseek-v3-prefill:30000' },
      ],
      decode: [{ dataParallelRanks: 72 }],
    });
  });
});

describe('emitDeployment for vLLM', () => {
  const files = emit({ engine: 'vllm', slo: { ttftSeconds: 2, tpotSeconds: 0.05, quantile: 0.9 } });

  it('starts each node with its own ranks', () => {
    const { words, flags } = flagsOf(files.get('launch-decode.sh')!);
    expect(words).toEqual(['vllm', 'serve', 'deepseek-ai/DeepSeek-V3']);
    expect(VllmArguments.parse(flags)).toMatchObject({
      'data-parallel-size': 72,
      'data-parallel-size-local': 8,
      'data-parallel-start-rank': '$((NODE_RANK * 8))',
      'data-parallel-address': '$HEAD_ADDRESS',
      'all2all-backend': 'deepep_low_latency',
      'eplb-config': { num_redundant_experts: 32 },
      'max-num-seqs': 128,
      'kv-transfer-config': { kv_connector: 'NixlConnector' },
    });
  });

  it('keeps the arithmetic of ranks from Kubernetes, which expands $(...) itself', () => {
    const documents = parseAllDocuments(files.get('kubernetes.yaml')!).map(
      (document) => document.toJS() as { kind: string },
    );
    const set = LeaderWorkerSet.parse(documents.find(({ kind }) => kind === 'LeaderWorkerSet'));
    const script = set.spec.leaderWorkerTemplate.workerTemplate.spec.containers[0]!.command[2]!;
    expect(script).toContain('"$$((LWS_WORKER_INDEX * 8))"');
    expect(script.replaceAll(/\$\$\(/g, '')).not.toContain('$(');
  });

  it('sends requests to every node', () => {
    const gateway = GatewayFile.parse(JSON.parse(files.get('gateway.json')!));
    const [backend] = gateway.backends;
    expect(backend!.type === 'vllm' && backend!.prefill).toHaveLength(8);
    expect(backend!.type === 'vllm' && backend!.decode[8]!.url).toBe(
      'http://deepseek-v3-decode-0-8.deepseek-v3-decode:8000',
    );
    expect(gateway.slo).toEqual({ ttftSeconds: 2, tpotSeconds: 0.05 });
    expect([...files.keys()]).not.toContain('expert-location-decode.json');
  });

  it('refuses a layout that vLLM has not', () => {
    const decode = pool({ tp: 1, dp: 64, ep: 32, redundantExperts: 32 });
    expect(() => emit({ engine: 'vllm', deployment: deployment({ prefill: null, decode }) })).toThrow(
      'for vLLM',
    );
  });
});

describe('every layout', () => {
  const layouts = fc.record({
    engine: fc.constantFrom('sglang' as const, 'vllm' as const),
    tp: fc.constantFrom(1, 2, 4, 8),
    nodes: fc.constantFrom(4, 6, 8, 16),
    slots: fc.integer({ min: 0, max: 2 }),
    units: fc.integer({ min: 1, max: 5 }),
    mixed: fc.boolean(),
    mtp: fc.boolean(),
    overlap: fc.boolean(),
    communicationSms: fc.integer({ min: 0, max: 24 }),
    attention: fc.constantFrom('bf16' as const, 'fp8' as const),
    sequences: fc.integer({ min: 1, max: 128 }),
    tokens: fc.integer({ min: 128, max: 8192 }),
  });

  it('gives files that parse back under their schemas', () => {
    fc.assert(
      fc.property(layouts, (layout) => {
        const {
          engine,
          tp,
          nodes,
          slots,
          units,
          mixed,
          mtp,
          overlap,
          communicationSms,
          attention,
          sequences,
          tokens,
        } = layout;
        const gpus = 8 * nodes;
        const one = pool({
          units,
          tp,
          dp: gpus / tp,
          ep: gpus,
          redundantExperts: Math.ceil(256 / gpus) * gpus - 256 + slots * gpus,
          maxTokensPerRank: tokens,
          maxSequencesPerRank: sequences,
          overlap: { enabled: overlap, communicationSms },
        });
        const files = emit({
          engine,
          deployment: deployment({
            prefill: mixed ? null : one,
            decode: one,
            precision: { weights: 'fp8', attention, dispatch: 'fp8' },
            mtp: { enabled: mtp, draftTokens: 2, acceptance: 0.7 },
          }),
        });
        for (const [path, text] of files) {
          if (!path.endsWith('.sh')) continue;
          (engine === 'sglang' ? SglangArguments : VllmArguments).parse(flagsOf(text).flags);
        }
        const schemas = { ConfigMap: FileMap, LeaderWorkerSet, Service: EngineService };
        for (const document of parseAllDocuments(files.get('kubernetes.yaml')!)) {
          const value = document.toJS() as { kind: keyof typeof schemas };
          schemas[value.kind].parse(value);
        }
        GatewayFile.parse(JSON.parse(files.get('gateway.json')!));
      }),
      { seed: 11, numRuns: 25 },
    );
  });
});

describe('bad input', () => {
  it.each([
    ['text with a dollar sign', { modelPath: '/models/$(rm -rf)' }, 'modelPath'],
    ['text with a line break', { servedModelName: 'a\nb' }, 'servedModelName'],
    ['a negative context', { maxContextTokens: -1 }, 'maxContextTokens'],
    ['an unknown engine', { engine: 'tgi' as never }, 'engine'],
    ['a name that Kubernetes refuses', { namePrefix: 'My_Name' }, 'metadata.name'],
  ])('refuses %s', (_, changes, named) => {
    expect(() => emit(changes)).toThrow(named);
  });

  it('says how much memory is missing', () => {
    const decode = pool({ dp: 8, ep: 8, redundantExperts: 0 });
    let caught: unknown;
    try {
      emit({ deployment: deployment({ prefill: null, decode }) });
    } catch (error) {
      caught = error;
    }
    expect(SimulatorError.isInstance(caught) && caught.code).toBe('simulator/out-of-memory');
    expect(SimulatorError.isInstance(caught) && caught.message).toMatch(/lacks \d+\.\d GiB/);
  });

  it('quotes whatever a shell would take apart', () => {
    expect(shellWord("it's; rm -rf / #")).toBe(`'it'\\''s; rm -rf / #'`);
    expect(shellWord('$HEAD_ADDRESS:20000')).toBe('"$HEAD_ADDRESS:20000"');
    expect(shellWord('$(whoami)')).toBe(`'$(whoami)'`);
    expect(shellWord('')).toBe(`''`);
  });
});
