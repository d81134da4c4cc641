import { fitNonNegative } from './non-negative-fit.js';
import { ResidualModel } from './residual-model.js';
import type { KernelTable, KernelTableName } from './tables.js';

/**
 * How a kind of kernel is predicted: a sum of physical terms (start-up, bytes, operations) whose rates are fitted to the table, and in
 * logarithmic coordinates a correction by the measurements nearby.
 */
interface KernelRecipe {
  /** Terms of the sum; the first is the start-up time. */
  readonly terms: (inputs: Float64Array) => readonly number[];
  readonly coordinates: (inputs: Float64Array) => readonly number[];
  /** Exponent that joins start-up and work: 1 adds them, more lets work hide under start-up. */
  readonly join: number;
  readonly noise: number;
}

const EXPERTS = 256;
const TOP_K = 8;
const NOTIFY_NOISE = 0.2;

const mlaCoordinates = (q: Float64Array): number[] => [
  q[0]! / 6,
  Math.log2(q[1]!) / 3,
  Math.log2(q[2]!) / 4,
  Math.log2(q[3]!) / 4,
];
const normalTerms = (q: Float64Array): number[] => [1, q[1]!, q[1]! / q[3]!, q[1]! * remoteNodes(q[0]!)];
const normalCoordinates = (q: Float64Array): number[] => [
  Math.log2(q[0]!),
  Math.log2(q[1]!) / 8,
  Math.log2(q[3]!) / 2,
];

const recipes: Readonly<Record<KernelTableName, KernelRecipe>> = {
  // Causal attention reads half of the square; projections go with heads, their inputs do not.
  mla_context: {
    terms: (q) => [1, q[2]! * q[3]!, q[2]! * q[3]! * q[1]!, q[2]! * q[3]! * q[3]! * q[1]!],
    coordinates: mlaCoordinates,
    join: 2,
    noise: 0.02,
  },
  // Weights go with heads, KV bytes with context, operations with both.
  mla_generation: {
    terms: (q) => [1, q[1]!, q[2]!, q[2]! * q[1]!, q[2]! * q[3]!, q[2]! * q[3]! * q[1]!],
    coordinates: mlaCoordinates,
    join: 1,
    noise: 0.02,
  },
  moe_context: moeRecipe(),
  moe_generation: moeRecipe(),
  deepep_ll: lowLatencyRecipe(),
  deepep_ll_multinode: lowLatencyRecipe(),
  deepep_normal: { terms: normalTerms, coordinates: normalCoordinates, join: 1, noise: 0.01 },
  deepep_normal_multinode: { terms: normalTerms, coordinates: normalCoordinates, join: 1, noise: 0.01 },
};

function moeRecipe(): KernelRecipe {
  return {
    terms: (q) => [1, expertsRead(q[0]!, q[1]!), busiestTokens(q[0]!, q[1]!, q[2]!)],
    coordinates: (q) => [Math.log2(q[0]!) / 4, Math.log2(q[1]!) / 4, q[2]!, q[2]! > 0 ? 1 / 3 : 0],
    join: 1,
    noise: 0.04,
  };
}

function lowLatencyRecipe(): KernelRecipe {
  return {
    terms: (q) => [1, q[1]!, q[1]! * remoteNodes(q[0]!)],
    coordinates: (q) => [Math.log2(q[0]!) / 1.5, Math.log2(q[1]!) / 5, q[2]! / 256],
    join: 1,
    noise: 0.01,
  };
}

function remoteNodes(nodes: number): number {
  return (nodes - 1) / nodes;
}

/** Experts of a rank that at least one of the group's tokens reaches under a uniform gate: their weights are read. */
export function expertsRead(tokens: number, ranks: number): number {
  const perRank = EXPERTS / ranks;
  return Math.max(Math.min(1, perRank), perRank * -Math.expm1((-tokens * TOP_K) / EXPERTS));
}

/** Token copies that the busiest rank computes when popularity falls with the power `alpha` of an expert's place. */
export function busiestTokens(tokens: number, ranks: number, alpha: number): number {
  const even = (tokens * TOP_K) / ranks;
  const perRank = Math.floor(EXPERTS / ranks);
  if (alpha === 0 || perRank >= EXPERTS) return even;
  let total = 0;
  let rest = 0;
  for (let place = 1; place <= EXPERTS; place++) {
    const popularity = place ** -alpha;
    total += popularity;
    if (place > 1) rest += popularity;
  }
  const share = (1 + ((perRank - 1) * rest) / (EXPERTS - 1)) / total;
  return even * Math.max(1, share * ranks);
}

/** Predicts one result column of one table, or a sum of several, at any sizes. */
export class KernelModel {
  readonly #recipe: KernelRecipe;
  readonly #rates: Float64Array;
  readonly #residuals: ResidualModel;
  readonly #zero: boolean;

  constructor(
    name: KernelTableName,
    table: Pick<KernelTable, 'columns' | 'rows' | 'inputs'>,
    results: readonly number[],
  ) {
    const recipe = recipes[name];
    const columns = results.map((result) => table.inputs + result);
    const rows = table.rows.filter((row) => row[columns[0]!]! > 0);
    this.#recipe = recipe;
    // Nothing is exchanged in that phase: one node needs no notification.
    this.#zero = rows.length === 0;
    const targets = Float64Array.from(rows, (row) => columns.reduce((sum, column) => sum + row[column]!, 0));
    const terms = rows.map((row) => Float64Array.from(recipe.terms(row)));
    this.#rates = recipe.join === 1 ? fitNonNegative(terms, targets) : fitJoined(terms, targets);
    this.#residuals = new ResidualModel(
      rows.map((row) => Float64Array.from(recipe.coordinates(row))),
      Float64Array.from(rows, (row, i) => Math.log(targets[i]! / this.rough(row))),
      // Waiting for the counts of others scatters far more than moving bytes does.
      table.columns[columns[0]!]!.includes('notify') ? NOTIFY_NOISE : recipe.noise,
    );
  }

  /** Rates of the physical terms, in the table's unit. */
  get rates(): Float64Array {
    return this.#rates;
  }

  /** The physical terms alone, which decide far away from measurements. */
  rough(inputs: Float64Array): number {
    const { terms, join } = this.#recipe;
    const values = terms(inputs);
    let work = 0;
    for (let i = 1; i < values.length; i++) work += values[i]! * this.#rates[i]!;
    const start = this.#rates[0]! * values[0]!;
    return Math.max(1e-6, (start ** join + work ** join) ** (1 / join));
  }

  /** Prediction in the table's unit. */
  predict(inputs: Float64Array): number {
    if (this.#zero) return 0;
    const point = Float64Array.from(this.#recipe.coordinates(inputs));
    return this.rough(inputs) * Math.exp(this.#residuals.at(point));
  }
}

/** Start-up from the fastest rows, rates of the work from those that take twice as long and more. */
function fitJoined(terms: readonly Float64Array[], targets: Float64Array): Float64Array {
  const sorted = Float64Array.from(targets).sort();
  const start = sorted[Math.floor(sorted.length / 10)] ?? 0;
  const long = [...targets.keys()].filter((i) => targets[i]! > 2 * start);
  const work = fitNonNegative(
    long.map((i) => terms[i]!.subarray(1)),
    Float64Array.from(long, (i) => Math.sqrt(targets[i]! ** 2 - start ** 2)),
  );
  return Float64Array.of(start, ...work);
}
