import { readFixture, readFixtureJson } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  activeLayers,
  type EngineSlots,
  engineSlots,
  fillLayers,
  type PlanFormat,
  planOfSlots,
  readEngineFile,
  readEngineFiles,
  readSglangRecord,
  readTensorRtLlm,
  readTensorRtLlmStatistics,
  readVllmAscend,
  readVllmState,
  selectLayers,
  TorchTensor,
  type TorchValue,
  writePlanFile,
  writeSlotsFile,
  writeTorchFile,
} from './index.js';

const read = (name: string) => readFixture(`placement/interop/${name}`);
const mapping = readFixtureJson<{ physical_to_logical_map: number[][] }>(
  'placement/interop/sglang_init_expert_location_mapping.json',
).physical_to_logical_map;
const bytes = (data: unknown) => new TextEncoder().encode(JSON.stringify(data));

async function slotsOf(content: Uint8Array): Promise<EngineSlots> {
  const file = await readEngineFile(content);
  if (file.kind !== 'slots') throw new Error(`expected slots, got ${file.kind}`);
  return file.slots;
}

describe('files of engines', () => {
  it.each([
    ['sglang_init_expert_location_mapping.json', 'sglang'],
    ['sglang_init_expert_location_mapping.pt', 'sglang-pt'],
    ['vllm_state.json', 'vllm'],
    ['vllm_ascend_expert_map.json', 'vllm-ascend'],
    ['trtllm_moe_load_balancer.yaml', 'tensorrt-llm'],
  ] as const)(
    '%s is detected as %s, holds the plan, and is written again byte for byte',
    async (name, format) => {
      const file = await readEngineFile(read(name));
      if (file.kind !== 'slots') throw new Error('expected slots');
      const { slots } = file;
      expect(file.format).toBe(format);
      expect(slots).toMatchObject({ layers: 4, experts: 16, replicas: 24 });
      expect([...slots.physicalToLogical]).toEqual(mapping.flat());
      expect(slots.layerIds).toEqual(format === 'tensorrt-llm' ? [3, 4, 5, 6] : [0, 1, 2, 3]);
      const options = { name: 'sglang_init_expert_location_mapping' };
      const given = format === 'vllm-ascend' ? slots : { ...slots, gpus: 8 };
      const written = writeSlotsFile(given, format, options);
      expect(Buffer.from(written).toString('latin1')).toBe(
        Buffer.from(read(name)).toString('latin1').trimEnd() + (format === 'tensorrt-llm' ? '\n' : ''),
      );
    },
  );

  it('carry any plan between all formats', async () => {
    const formats: Exclude<PlanFormat, 'moestack'>[] = [
      'sglang',
      'sglang-pt',
      'vllm',
      'vllm-ascend',
      'tensorrt-llm',
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          layers: fc.integer({ min: 1, max: 4 }),
          experts: fc.integer({ min: 1, max: 9 }),
          gpus: fc.integer({ min: 1, max: 4 }),
        }),
        fc.integer({ min: 0, max: 1e6 }),
        async ({ layers, experts, gpus }, seed) => {
          const replicas = Math.ceil((experts + 3) / gpus) * gpus;
          const map = Int32Array.from(
            { length: layers * replicas },
            (_, i) => ((i % replicas) * 7 + seed) % experts,
          );
          for (let layer = 0; layer < layers; layer++) {
            for (let expert = 0; expert < experts; expert++)
              map[layer * replicas + ((expert + seed) % replicas)] = expert;
          }
          const slots = engineSlots(map, { layers, experts, gpus });
          const plan = planOfSlots(slots, { nodes: 1, gpus });
          for (const format of formats) {
            const back = await slotsOf(writePlanFile(plan, format));
            expect([...back.physicalToLogical], format).toEqual([...map]);
            expect(back.layerIds).toEqual(slots.layerIds);
          }
          const own = await readEngineFile(writePlanFile(plan, 'moestack'));
          expect(own).toMatchObject({ kind: 'slots', format: 'moestack', plan });
        },
      ),
      { seed: 3, numRuns: 40 },
    );
  });

  it('with damage are refused, naming what is wrong', async () => {
    const state = JSON.parse(new TextDecoder().decode(read('vllm_state.json')));
    const ascend = JSON.parse(new TextDecoder().decode(read('vllm_ascend_expert_map.json')));
    const cases: [unknown, string][] = [
      [{ physical_to_logical_map: [[0, 1, 1, 3]] }, 'every one of 4 experts in layer 0, got 3'],
      [{ physical_to_logical_map: [[0, 1], [0]] }, 'rows of one length'],
      [{ physical_to_logical_map: [] }, 'physical_to_logical_map'],
      [{ physical_to_logical_map: [[0, -1]] }, 'physical_to_logical_map'],
      [{ physical_to_logical_map: [[0, 1.5]] }, 'physical_to_logical_map'],
      [{ logical_count: [[1, -2]] }, 'at least 0 in logical_count, got -2'],
      [{ logical_count: [1, 2] }, '2 or 3 dimensions'],
      [{ logical_count: [[1, '2']] }, 'numbers in logical_count'],
      [
        {
          ...state,
          logical_replica_count: state.logical_replica_count.map((row: number[]) => row.map(() => 1)),
        },
        'logical_replica_count',
      ],
      [
        { ...state, logical_to_physical_map: state.logical_to_physical_map.slice(1) },
        'logical_to_physical_map',
      ],
      [{ ...ascend, moe_layer_count: 5 }, '5 layers'],
      [{ ...ascend, layer_list: ascend.layer_list.toReversed() }, 'ascending layer ids'],
      [{ what: 1 }, 'what'],
      [[], 'initial_global_assignments|load balancer'],
    ];
    for (const [data, message] of cases) {
      const error = await readEngineFile(bytes(data)).catch((caught: unknown) => caught);
      expect(error, message).toMatchObject({ code: 'placement/bad-file' });
      expect(`${(error as Error).message} ${JSON.stringify((error as { value: unknown }).value)}`).toMatch(
        new RegExp(message),
      );
    }
    const yaml = (text: string) => () => readTensorRtLlm(new TextEncoder().encode(text));
    expect(yaml('num_slots: 2\ninitial_global_assignments:\n  3: [0, 1]\n  4: [0]\n')).toThrow(
      '2 slots in layer 4',
    );
    expect(yaml('num_slots: 2\n')).toThrow('initial_global_assignments');
    expect(yaml('a: &a [1]\nb: *a\nnum_slots: 1\n')).toThrow(/alias/i);
    expect(yaml('num_slots: [')).toThrow('YAML');
    expect(() => readTensorRtLlm(new Uint8Array(2 ** 24 + 1))).toThrow('at most 16777216 bytes');
  });
});

describe('SGLang', () => {
  const expected = readFixtureJson<{
    stat: { logical_count: number[][][] };
    per_pass: {
      records: { forward_pass_id: number; global_physical_count: number[][] }[];
      last_physical_to_logical_map: number[][];
    };
  }>('placement/interop/sglang_records_expected.json');

  it('dumps of mode stat are summed over the buffer, whose unused steps are zeros', async () => {
    const record = await readSglangRecord(read('sglang_stat_record.pt'));
    const steps = expected.stat.logical_count;
    const sums = steps[0]!.flatMap((row, l) =>
      row.map((_, e) => steps.reduce((sum, step) => sum + step[l]![e]!, 0)),
    );
    expect(record).toMatchObject({ mode: 'stat', passes: [] });
    expect(record.steps).toBe(steps.filter((step) => step.flat().some((count) => count > 0)).length);
    expect([...record.counts.load.counts]).toEqual(sums);
  });

  it('dumps of mode per_pass are mapped back to logical experts and summed over ranks, in order of the passes', async () => {
    const record = await readSglangRecord(read('sglang_per_pass_record.pt'));
    const { records, last_physical_to_logical_map: map } = expected.per_pass;
    const ids = [...new Set(records.map(({ forward_pass_id }) => forward_pass_id))].sort((a, b) => a - b);
    expect(record.passes.map(({ id }) => id)).toEqual(ids);
    for (const { id, counts } of record.passes) {
      const want = new Float64Array(4 * 16);
      for (const { forward_pass_id, global_physical_count } of records) {
        if (forward_pass_id !== id) continue;
        for (const [l, row] of global_physical_count.entries()) {
          for (const [slot, count] of row.entries()) want[l * 16 + map[l]![slot]!]! += count;
        }
      }
      expect(counts).toEqual(want);
    }
    const file = await readEngineFile(read('sglang_per_pass_record.pt'));
    expect(file).toMatchObject({ kind: 'load', format: 'sglang', counts: record.counts });
  });

  it('records of several files are one recording; another map at an earlier pass is honoured', async () => {
    const map = new TorchTensor('i64', [1, 3], BigInt64Array.of(0n, 1n, 0n));
    const dump = (rank: number, id: number, counts: number[]) =>
      writeTorchFile(
        new Map<TorchValue, TorchValue>([
          [
            'records',
            [
              record([
                ['forward_pass_id', id],
                ['rank', rank],
                ['global_physical_count', new TorchTensor('i32', [1, 3], Int32Array.from(counts))],
              ]),
            ],
          ],
          ['last_physical_to_logical_map', map],
        ]),
      );
    const files = [dump(0, 5, [1, 2, 3]), dump(1, 5, [10, 20, 30]), dump(0, 4, [7, 0, 0])];
    expect((await readSglangRecord(files)).passes).toEqual([
      { id: 4, counts: Float64Array.of(7, 0) },
      { id: 5, counts: Float64Array.of(44, 22) },
    ]);
    const earlier = await readSglangRecord(files, { mapAt: (id) => (id < 5 ? [1, 0, 1] : undefined) });
    expect([...earlier.counts.load.counts]).toEqual([44, 29]);
    expect(await readEngineFiles(files)).toMatchObject({ kind: 'load', record: { steps: 2 } });
  });

  it('records of mode per_token without counts are counted from the chosen slots', async () => {
    const ids = new TorchTensor('i32', [2, 3, 2], Int32Array.of(0, 1, 1, 2, -1, -1, 2, 0, 2, 1, 0, 2));
    const map = new TorchTensor('i64', [2, 3], BigInt64Array.of(0n, 1n, 0n, 1n, 0n, 1n));
    const file = writeTorchFile(
      new Map<TorchValue, TorchValue>([
        [
          'records',
          [
            record([
              ['forward_pass_id', 1],
              ['rank', 0],
              ['input_ids', [1, 2, 3]],
              ['topk_ids_of_layer', ids],
            ]),
          ],
        ],
        ['last_physical_to_logical_map', map],
      ]),
    );
    const { counts } = await readSglangRecord(file);
    expect([...counts.load.counts]).toEqual([2, 2, 1, 5]);
  });

  it('records that share one tensor are held to the limit', async () => {
    const shared = new TorchTensor('i32', [2, 300], new Int32Array(600));
    const map = new TorchTensor(
      'i64',
      [2, 300],
      BigInt64Array.from({ length: 600 }, (_, i) => BigInt(i % 300)),
    );
    const file = writeTorchFile(
      new Map<TorchValue, TorchValue>([
        [
          'records',
          Array.from({ length: 200 }, (_, id) =>
            record([
              ['forward_pass_id', id],
              ['global_physical_count', shared],
            ]),
          ),
        ],
        ['last_physical_to_logical_map', map],
      ]),
    );
    expect((await readSglangRecord(file)).steps).toBe(200);
    await expect(readSglangRecord(file, { maxBytes: 100_000 })).rejects.toThrow('fewer records');
  });

  it('counts for --init-expert-location are read from JSON and from a dump', async () => {
    const json = await readEngineFile(read('sglang_init_expert_location_counts.json'));
    const dump = await readEngineFile(read('sglang_stat_record.pt'));
    expect(json.kind === 'load' && json.counts).toEqual(dump.kind === 'load' && dump.counts);
  });

  it('maps are refused that it would refuse when it starts', () => {
    const slots = engineSlots([0, 1, 0, 1, 2, 3], { layers: 1, gpus: 4 });
    expect(() => writeSlotsFile(slots, 'sglang')).toThrow('multiple of gpus');
    expect(() => writeSlotsFile({ ...slots, gpus: 3, layerIds: [3] }, 'sglang')).toThrow(
      'every layer of the model',
    );
    const filled = fillLayers({ ...slots, gpus: 3, layerIds: [3] }, 5);
    expect(JSON.parse(new TextDecoder().decode(writeSlotsFile(filled, 'sglang')))).toEqual({
      physical_to_logical_map: [
        [0, 1, 2, 3, 0, 1],
        [0, 1, 2, 3, 0, 1],
        [0, 1, 2, 3, 0, 1],
        [0, 1, 0, 1, 2, 3],
        [0, 1, 2, 3, 0, 1],
      ],
    });
    expect(() => fillLayers({ ...slots, layerIds: [3] }, 3)).toThrow('more than 3 layers');
  });
});

it('dense layers are rows of zeros that can be left out', () => {
  const load = { layers: 3, experts: 2, counts: Float64Array.of(0, 0, 1, 2, 0, 3) };
  expect(activeLayers(load)).toEqual([1, 2]);
  expect(selectLayers({ load, layerIds: [0, 1, 2] }, [1, 2])).toEqual({
    load: { layers: 2, experts: 2, counts: Float64Array.of(1, 2, 0, 3) },
    layerIds: [1, 2],
  });
});

describe('statistics of TensorRT-LLM', () => {
  const tensors = (entries: Record<string, { shape: number[]; values: number[] }>) => {
    const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
    let at = 0;
    const data: number[] = [];
    for (const [name, { shape, values }] of Object.entries(entries)) {
      header[name] = { dtype: 'I32', shape, data_offsets: [at, at + 4 * values.length] };
      at += 4 * values.length;
      data.push(...values);
    }
    const text = new TextEncoder().encode(JSON.stringify(header));
    const out = new Uint8Array(8 + text.length + at);
    new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true);
    out.set(text, 8);
    out.set(new Uint8Array(Int32Array.from(data).buffer), 8 + text.length);
    return out;
  };
  const meta = bytes({ num_experts: 4, num_experts_per_token: 2, other: true });
  const row = (...values: number[]) => ({ shape: [values.length], values });

  it('are summed over ranks, layers by their index in the model', () => {
    const { counts, iterations, expertsPerToken } = readTensorRtLlmStatistics({
      'meta_info.json': meta,
      'rank0.safetensors': tensors({
        '10_3': row(1, 2, 3, 4),
        '10_4': row(1, 0, 0, 0),
        '11_3': row(1, 1, 1, 1),
        '11_4': row(0, 0, 0, 2),
      }),
      'rank1.safetensors': tensors({
        '10_3': row(0, 0, 0, 6),
        '10_4': row(0, 1, 0, 0),
        '11_3': row(0, 0, 0, 0),
        '11_4': row(0, 0, 0, 0),
      }),
      'rank0_raw.safetensors': new Uint8Array(3),
    });
    expect(counts.layerIds).toEqual([3, 4]);
    expect([...counts.load.counts]).toEqual([2, 3, 4, 11, 1, 1, 0, 2]);
    expect(iterations.map(({ id, counts }) => [id, ...counts])).toEqual([
      [10, 1, 2, 3, 10, 1, 1, 0, 0],
      [11, 1, 1, 1, 1, 0, 0, 0, 2],
    ]);
    expect(expertsPerToken).toBe(2);
  });

  it('that hold only raw choices are counted', () => {
    const { counts } = readTensorRtLlmStatistics({
      'meta_info.json': meta,
      'rank0_raw.safetensors': tensors({ '0_3': { shape: [3, 2], values: [0, 1, 0, 3, 3, 2] } }),
    });
    expect([...counts.load.counts]).toEqual([2, 1, 1, 2]);
  });

  it('that are not whole are refused', () => {
    const statistics = (files: Record<string, Uint8Array>) => () => readTensorRtLlmStatistics(files);
    expect(statistics({})).toThrow('meta_info.json');
    expect(statistics({ 'meta_info.json': meta })).toThrow('rank*.safetensors');
    const file = (entries: Parameters<typeof tensors>[0]) => ({
      'meta_info.json': meta,
      'rank0.safetensors': tensors(entries),
    });
    expect(statistics(file({ '1_3': row(1, 2, 3, 4), '2_4': row(1, 2, 3, 4) }))).toThrow('every layer');
    expect(statistics(file({ '1_3': row(1, 2, 3) }))).toThrow('4 counts');
    expect(statistics(file({ what: row(1, 2, 3, 4) }))).toThrow('ITERATION_LAYER');
    expect(statistics(file({ '1_3': row(1, 2, 3, -4) }))).toThrow('-4');
    expect(
      statistics({
        'meta_info.json': meta,
        'rank0.safetensors': tensors({ '1_3': row(1, 2, 3, 4) }).slice(0, -1),
      }),
    ).toThrow('bytes');
  });
});

it('vLLM and vLLM-Ascend files agree', () => {
  expect(readVllmState(read('vllm_state.json')).physicalToLogical).toEqual(
    readVllmAscend(read('vllm_ascend_expert_map.json')).physicalToLogical,
  );
});

function record(entries: [string, TorchValue][]): TorchValue {
  return new Map<TorchValue, TorchValue>(entries);
}
