import { badFile } from './limits.js';
import { TorchTensor } from './torch-values.js';

/** Numbers in rows: nested lists of JSON or YAML, or a tensor. */
export interface NumberGrid {
  readonly shape: readonly number[];
  /** Row-major. */
  readonly values: Float64Array;
}

/** Numbers in one grid; 61 layers x 256 experts x 4096 steps are a quarter of it. */
const MAX_ELEMENTS = 2 ** 28;

/**
 * The numbers of a field as one array; every row must have the same length.
 *
 * @param options - `name`: of the field, for errors; `dimensions`: how many it may have.
 */
export function readGrid(
  value: unknown,
  options: { name: string; dimensions: readonly number[] },
): NumberGrid {
  const { name, dimensions } = options;
  const grid = value instanceof TorchTensor ? ofTensor(value, name) : flatten(value, name);
  if (!dimensions.includes(grid.shape.length) || grid.shape.some((length) => length === 0)) {
    throw badFile(
      `expected ${name} of ${dimensions.join(' or ')} dimensions, none of them 0, got [${grid.shape}]`,
      grid.shape,
      'pass the file as the engine wrote it',
    );
  }
  return grid;
}

/** A grid whose numbers are ids from 0 to `limit - 1`. */
export function readIds(
  value: unknown,
  options: { name: string; dimensions: readonly number[]; limit: number },
): NumberGrid {
  const grid = readGrid(value, options);
  for (const id of grid.values) {
    if (!Number.isInteger(id) || id < 0 || id >= options.limit) {
      throw badFile(
        `expected ids from 0 to ${options.limit - 1} in ${options.name}, got ${id}`,
        id,
        'pass the file as the engine wrote it',
      );
    }
  }
  return grid;
}

/** A grid whose numbers are counts of tokens. */
export function readCounts(
  value: unknown,
  options: { name: string; dimensions: readonly number[] },
): NumberGrid {
  const grid = readGrid(value, options);
  for (const count of grid.values) {
    if (!(count >= 0 && count < Number.POSITIVE_INFINITY)) {
      throw badFile(
        `expected finite counts of at least 0 in ${options.name}, got ${count}`,
        String(count),
        'pass the file as the engine wrote it',
      );
    }
  }
  return grid;
}

function ofTensor(tensor: TorchTensor, name: string): NumberGrid {
  if (tensor.data.length > MAX_ELEMENTS) throw tooLarge(name, tensor.shape);
  return { shape: tensor.shape, values: tensor.numbers() };
}

function flatten(value: unknown, name: string): NumberGrid {
  const shape: number[] = [];
  for (let inner = value; Array.isArray(inner) && shape.length < 4; inner = inner[0] as unknown)
    shape.push(inner.length);
  const elements = shape.reduce((product, length) => product * length, 1);
  if (shape.length === 0 || elements > MAX_ELEMENTS) throw tooLarge(name, shape);
  const values = new Float64Array(elements);
  const end = fill(value as readonly unknown[], shape, 0, { values, at: 0, name });
  if (end !== elements) throw ragged(name, shape);
  return { shape, values };
}

interface Target {
  readonly values: Float64Array;
  at: number;
  readonly name: string;
}

function fill(rows: readonly unknown[], shape: readonly number[], depth: number, target: Target): number {
  if (!Array.isArray(rows) || rows.length !== shape[depth]) throw ragged(target.name, shape);
  if (depth + 1 < shape.length) {
    for (const row of rows) fill(row as readonly unknown[], shape, depth + 1, target);
    return target.at;
  }
  for (const value of rows) {
    if (typeof value !== 'number') {
      throw badFile(
        `expected numbers in ${target.name}, got ${typeof value}`,
        typeof value,
        'pass lists of numbers',
      );
    }
    target.values[target.at++] = value;
  }
  return target.at;
}

function tooLarge(name: string, shape: readonly number[]): Error {
  return badFile(
    `expected rows of at most ${MAX_ELEMENTS} numbers for ${name}, got [${shape}]`,
    shape,
    'pass the file as the engine wrote it',
  );
}

function ragged(name: string, shape: readonly number[]): Error {
  return badFile(
    `expected rows of one length in ${name}, of [${shape}]`,
    shape,
    'pass the file as the engine wrote it',
  );
}

/** Rows of a matrix as nested lists. */
export function rowsOf(values: ArrayLike<number>, columns: number): number[][] {
  return Array.from({ length: values.length / columns }, (_, row) =>
    Array.from({ length: columns }, (_, column) => values[row * columns + column]!),
  );
}
