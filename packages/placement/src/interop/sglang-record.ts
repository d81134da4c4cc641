import { allLayers, type EngineLoad } from './engine-slots.js';
import { badFile, type EngineFileLimits, limits } from './limits.js';
import { type NumberGrid, readCounts, readGrid, readIds } from './number-grid.js';
import { sumSteps, torchDict } from './sglang-location.js';

/** What SGLang's expert distribution recorder wrote, in tokens per logical expert. */
export interface SglangRecord {
  /** `stat` for the modes stat and stat_approx, `detail` for per_pass and per_token. */
  readonly mode: 'stat' | 'detail';
  /** Sums over everything recorded; all layers of the model, dense ones as zeros. */
  readonly counts: EngineLoad;
  /** Forward passes, or used steps of the buffer. */
  readonly steps: number;
  /** Forward passes in order, of mode `detail`; the buffer of `stat` knows no order. */
  readonly passes: readonly SglangPass[];
  /** Of mode `stat`: mean over the window, as SGLang measured it. */
  readonly averageUtilization?: number;
}

/** One forward pass, summed over ranks and micro-batches. */
export interface SglangPass {
  readonly id: number;
  /** [layers, experts] */
  readonly counts: Float64Array;
}

/** Options of {@link readSglangRecord}. */
export interface SglangRecordOptions extends EngineFileLimits {
  /**
   * The map in force at a forward pass, [layers, replicas]. A dump holds only the last map, so records from before a
   * rebalance need theirs; default: the dump's own.
   */
  readonly mapAt?: (forwardPassId: number) => ArrayLike<number> | undefined;
}

/**
 * Reads dumps of SGLang's recorder in any mode. Those of modes per_pass and per_token are one file per rank: pass all of
 * them. Physical counts are mapped back to logical experts.
 */
export async function readSglangRecord(
  files: Uint8Array | readonly Uint8Array[],
  options: SglangRecordOptions = {},
): Promise<SglangRecord> {
  const list = files instanceof Uint8Array ? [files] : files;
  const dicts: Map<unknown, unknown>[] = [];
  for (const bytes of list) dicts.push(await torchDict(bytes, options));
  return sglangRecord(dicts, options);
}

/** A recording from the fields of its files. */
export function sglangRecord(
  files: readonly ReadonlyMap<unknown, unknown>[],
  options: SglangRecordOptions = {},
): SglangRecord {
  const [first] = files;
  if (first === undefined) throw badFile('expected at least one file', 0, 'pass the dumps of all ranks');
  if (files.every((fields) => fields.has('records'))) {
    const passes = new PassSums(options);
    for (const fields of files) passes.add(fields);
    return passes.result();
  }
  if (files.length === 1 && first.has('logical_count')) {
    const { counts, steps } = sumSteps(first.get('logical_count'));
    const utilization = first.get('average_utilization_rate_over_window');
    return {
      mode: 'stat',
      counts,
      steps,
      passes: [],
      ...(typeof utilization === 'number' ? { averageUtilization: utilization } : {}),
    };
  }
  throw badFile(
    'expected one dump of mode stat, or the dumps of all ranks of mode per_pass or per_token',
    [...first.keys()].slice(0, 8).map(String),
    'pass files of one recording',
  );
}

/** Adds up records of passes over ranks. */
class PassSums {
  readonly #options: SglangRecordOptions;
  readonly #passes = new Map<number, Float64Array>();
  #layers = 0;
  #experts = 0;
  #map: NumberGrid | undefined;
  #remainingBytes: number;

  constructor(options: SglangRecordOptions) {
    this.#options = options;
    this.#remainingBytes = options.maxBytes ?? limits.maxBytes;
  }

  add(fields: ReadonlyMap<unknown, unknown>): void {
    const name = 'last_physical_to_logical_map';
    const map = readIds(fields.get(name), { name, dimensions: [2], limit: limits.experts });
    const experts = map.values.reduce((most, id) => Math.max(most, id), 0) + 1;
    if (this.#map === undefined) {
      this.#layers = map.shape[0]!;
      this.#experts = experts;
    } else if (`${map.shape}` !== `${this.#map.shape}` || experts !== this.#experts) {
      throw badFile(
        `expected maps of [${this.#map.shape}] in all files, got [${map.shape}]`,
        map.shape,
        'pass the files of one recording',
      );
    }
    this.#map = map;
    const records = fields.get('records');
    if (!Array.isArray(records))
      throw badFile('expected a list of records', typeof records, 'pass a dump of SGLang');
    for (const record of records) this.#addRecord(record);
  }

  #addRecord(record: unknown): void {
    const id: unknown = record instanceof Map ? record.get('forward_pass_id') : undefined;
    if (!(record instanceof Map) || typeof id !== 'number' || !Number.isSafeInteger(id)) {
      throw badFile('expected records with a forward_pass_id', String(typeof id), 'pass a dump of SGLang');
    }
    const [layers, replicas] = this.#map!.shape as [number, number];
    // Records may share one tensor, so that neither their number nor that of passes is bounded by the file.
    this.#spend(4 * layers * replicas);
    const counts = physicalCounts(record, layers, replicas);
    const map = this.#mapAt(id);
    let sums = this.#passes.get(id);
    if (sums === undefined) {
      this.#spend(8 * layers * this.#experts);
      sums = new Float64Array(layers * this.#experts);
      this.#passes.set(id, sums);
    }
    for (let layer = 0; layer < layers; layer++) {
      for (let slot = 0; slot < replicas; slot++) {
        const at = layer * replicas + slot;
        sums[layer * this.#experts + map[at]!]! += counts[at]!;
      }
    }
  }

  #spend(bytes: number): void {
    this.#remainingBytes -= bytes;
    if (this.#remainingBytes >= 0) return;
    throw badFile('expected fewer records', this.#passes.size, 'record fewer passes, or raise maxBytes');
  }

  #mapAt(id: number): ArrayLike<number> {
    const own = this.#map!;
    const map = this.#options.mapAt?.(id);
    if (map === undefined) return own.values;
    if (map.length !== own.values.length) {
      throw badFile(
        `expected a map of ${own.values.length} slots for pass ${id}`,
        map.length,
        'return the whole map',
      );
    }
    for (let i = 0; i < map.length; i++) {
      const expert = map[i]!;
      if (!Number.isInteger(expert) || expert < 0 || expert >= this.#experts) {
        throw badFile(
          `expected experts below ${this.#experts} in the map of pass ${id}`,
          expert,
          'return a whole map',
        );
      }
    }
    return map;
  }

  result(): SglangRecord {
    const [layers, experts] = [this.#layers, this.#experts];
    const passes = [...this.#passes].map(([id, counts]) => ({ id, counts })).sort((a, b) => a.id - b.id);
    const sums = new Float64Array(layers * experts);
    for (const { counts } of passes) for (let i = 0; i < sums.length; i++) sums[i]! += counts[i]!;
    return {
      mode: 'detail',
      counts: { load: { layers, experts, counts: sums }, layerIds: allLayers(layers) },
      steps: passes.length,
      passes,
    };
  }
}

/** Tokens per slot of a record: as counted, or from the slots that each token chose. */
function physicalCounts(
  record: ReadonlyMap<unknown, unknown>,
  layers: number,
  replicas: number,
): Float64Array {
  const given = record.get('global_physical_count');
  if (given !== undefined) {
    const { shape, values } = readCounts(given, { name: 'global_physical_count', dimensions: [2] });
    if (shape[0] === layers && shape[1] === replicas) return values;
    throw badFile(
      `expected global_physical_count of [${layers},${replicas}], got [${shape}]`,
      shape,
      'record again: the number of slots changed in between',
    );
  }
  return countSlots(record.get('topk_ids_of_layer'), layers, replicas);
}

function countSlots(value: unknown, layers: number, replicas: number): Float64Array {
  const name = 'topk_ids_of_layer';
  const { shape, values } = readSlots(value, { name, layers, replicas });
  const counts = new Float64Array(layers * replicas);
  const perLayer = values.length / shape[0]!;
  for (let i = 0; i < values.length; i++) {
    const slot = values[i]!;
    if (slot >= 0) counts[Math.floor(i / perLayer) * replicas + slot]! += 1;
  }
  return counts;
}

/** Chosen slots; -1 stands for none, as for padding. */
function readSlots(value: unknown, options: { name: string; layers: number; replicas: number }): NumberGrid {
  const { name, layers, replicas } = options;
  if (value === undefined) {
    throw badFile(
      'expected global_physical_count or topk_ids_of_layer in records',
      undefined,
      'pass a dump of SGLang',
    );
  }
  const grid = readGrid(value, { name, dimensions: [3] });
  for (const slot of grid.values) {
    if (!Number.isInteger(slot) || slot < -1 || slot >= replicas) {
      throw badFile(
        `expected slots below ${replicas} in ${name}, got ${slot}`,
        slot,
        'pass a dump of SGLang',
      );
    }
  }
  if (grid.shape[0] !== layers) {
    throw badFile(
      `expected ${name} of ${layers} layers, got [${grid.shape}]`,
      grid.shape,
      'pass a dump of SGLang',
    );
  }
  return grid;
}
