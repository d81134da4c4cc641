import { type Below, type FuzzResult, fuzzed } from '@moestack/fixtures';
import { MoestackError } from '@moestack/schemas/errors';
import {
  engineSlots,
  readEngineFile,
  readTensorRtLlmStatistics,
  writeSlotsFile,
  writeTorchFile,
} from '../src/interop/index.js';
import { writePickle } from '../src/interop/pickle-writer.js';
import { TorchTensor, TorchTuple, type TorchValue } from '../src/interop/torch-values.js';
import { writeZip } from '../src/interop/zip-writer.js';

/** What a damaged file may make its reader hold. */
const MAX_BYTES = 1 << 20;

/**
 * Damages engine files and reads them.
 *
 * @param seed - same seed, same inputs.
 * @throws Error naming seed and iteration when anything but a MoestackError or whole slots or counts come out.
 */
export function fuzz(seed: number, iterations: number): Promise<FuzzResult> {
  const files = sources();
  const statistics = statisticsFiles();
  return fuzzed(seed, iterations, MoestackError.isInstance, async (below) => {
    if (below(11) === 0) return readStatistics(statistics, below);
    const { bytes, pickle } = files[below(files.length)]!;
    const input = pickle === undefined ? mutate(bytes, below) : repack(mutate(pickle, below));
    const file = await readEngineFile(input, { maxBytes: MAX_BYTES });
    if (file.kind === 'slots') engineSlots(file.slots.physicalToLogical, file.slots);
    else if (file.counts.load.counts.some((count) => !(count >= 0))) throw new Error('a count is no number');
  });
}

function statisticsFiles(): { meta: Uint8Array; rank: Uint8Array } {
  const meta = new TextEncoder().encode('{"num_experts":4}');
  const header =
    '{"0_3":{"dtype":"I32","shape":[4],"data_offsets":[0,16]},"0_4":{"dtype":"I64","shape":[1,2],"data_offsets":[16,32]}}';
  const rank = new Uint8Array(8 + header.length + 32);
  rank[0] = header.length;
  rank.set(new TextEncoder().encode(header), 8);
  return { meta, rank };
}

function readStatistics({ meta, rank }: ReturnType<typeof statisticsFiles>, below: Below): void {
  readTensorRtLlmStatistics({
    'meta_info.json': below(3) === 0 ? mutate(meta, below) : meta,
    'rank0.safetensors': mutate(rank, below),
  });
}

function sources(): { bytes: Uint8Array; pickle?: Uint8Array }[] {
  const slots = engineSlots([0, 1, 2, 0, 3, 1, 2, 3, 0, 1, 1, 2], { layers: 2, experts: 4, gpus: 2 });
  const map = new TorchTensor('i64', [2, 6], BigInt64Array.from(slots.physicalToLogical, BigInt));
  const record = (id: number) =>
    new Map<TorchValue, TorchValue>([
      ['forward_pass_id', id],
      ['rank', 0],
      ['gatherer_key', 'primary'],
      ['input_ids', [1, 2, 70_000, 2 ** 40]],
      ['extra', new TorchTuple([1.5, null, true, new TorchTuple([1, 2, 3, 4])])],
      [
        'global_physical_count',
        new TorchTensor('i32', [2, 6], Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)),
      ],
    ]);
  const torch: TorchValue[] = [
    new Map<TorchValue, TorchValue>([
      ['records', [record(1), record(2)]],
      ['last_physical_to_logical_map', map],
    ]),
    new Map<TorchValue, TorchValue>([
      ['rank', 0],
      ['logical_count', new TorchTensor('i32', [2, 2, 3], new Int32Array(12).fill(7))],
      ['average_utilization_rate_over_window', null],
    ]),
    new Map<TorchValue, TorchValue>([['physical_to_logical_map', map]]),
  ];
  return [
    ...torch.map((value) => ({ bytes: writeTorchFile(value) })),
    ...torch.map((value) => ({ bytes: new Uint8Array(0), pickle: writePickle(value).bytes })),
    ...(['sglang', 'vllm', 'vllm-ascend', 'tensorrt-llm'] as const).map((format) => ({
      bytes: writeSlotsFile(slots, format),
    })),
  ];
}

/** An archive with a damaged pickle in it and a right checksum, so that the damage reaches the interpreter. */
function repack(pickle: Uint8Array): Uint8Array {
  const storages = [0, 1, 2].map((key) => [`a/data/${key}`, new Uint8Array(key === 2 ? 96 : 48)] as const);
  return writeZip([['a/data.pkl', pickle], ...storages]);
}

function mutate(bytes: Uint8Array, below: Below): Uint8Array {
  let out = [...bytes];
  for (let edits = 1 + below(4); edits > 0; edits--) {
    const at = below(out.length + 1);
    const kind = below(6);
    if (kind === 0) out[at] = below(256);
    else if (kind === 1) out.splice(at, 1 + below(8));
    else if (kind === 2) out.splice(at, 0, below(256));
    else if (kind === 3) out.splice(at, 0, ...out.slice(at, at + below(40)));
    else if (kind === 4) out.splice(at, 4, 0xff, 0xff, 0xff, below(2) === 0 ? 0xff : 0x7f);
    else if (below(4) === 0) out = out.slice(0, at);
    else if (at < out.length) out[at]! ^= 1 << below(8);
  }
  return Uint8Array.from(out);
}
