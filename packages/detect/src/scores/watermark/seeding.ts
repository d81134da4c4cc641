import { DetectError } from '../../errors.js';
import { needInteger } from '../checks.js';
import { MersenneTwister, randomPermutation } from './mersenne-twister.js';

/** How a context of tokens becomes a seed (functions of the reference implementation). */
export type SeedFunction =
  | 'additive'
  | 'multiplicative'
  | 'minimum'
  | 'skipgram'
  | 'minhash'
  | 'anchoredMinhash';

/** A seeding scheme. */
export interface WatermarkScheme {
  readonly seedFunction: SeedFunction;
  /** Tokens that make the seed. */
  readonly contextWidth: number;
  /** Whether the scored token itself is the last of these. */
  readonly selfSalt: boolean;
  /** Large prime; the secret. */
  readonly hashKey: number;
}

/** Schemes with a name: `simple_1` and `lefthash` are one, as are `selfhash` and `algorithm-3`. */
export type WatermarkSchemeName =
  | 'simple_1'
  | 'lefthash'
  | 'minhash'
  | 'skipgram'
  | 'selfhash'
  | 'algorithm-3';

const HASH_KEY = 15_485_863;
const simple: WatermarkScheme = {
  seedFunction: 'additive',
  contextWidth: 1,
  selfSalt: false,
  hashKey: HASH_KEY,
};
const self: WatermarkScheme = {
  seedFunction: 'anchoredMinhash',
  contextWidth: 4,
  selfSalt: true,
  hashKey: HASH_KEY,
};
const schemes: Readonly<Record<WatermarkSchemeName, WatermarkScheme>> = {
  simple_1: simple,
  lefthash: simple,
  minhash: { seedFunction: 'minhash', contextWidth: 4, selfSalt: false, hashKey: HASH_KEY },
  skipgram: { seedFunction: 'skipgram', contextWidth: 5, selfSalt: false, hashKey: HASH_KEY },
  selfhash: self,
  'algorithm-3': self,
};

const TABLE_SIZE = 1_000_003;
const TABLE_SEED = 2_971_215_073;
let table: Int32Array | undefined;

/** The scheme of a name, or a checked copy of a scheme. */
export function resolveScheme(scheme: WatermarkSchemeName | WatermarkScheme): WatermarkScheme {
  if (typeof scheme === 'string') {
    if (Object.hasOwn(schemes, scheme)) return schemes[scheme];
    throw new DetectError({
      code: 'detect/bad-config',
      message: `expected one of ${Object.keys(schemes).join(', ')} for scheme, got ${scheme}`,
      value: scheme,
      remedy: 'pass the scheme that the text was generated with, or its parts as an object',
    });
  }
  needInteger('contextWidth', scheme.contextWidth, 1, 64);
  needInteger('hashKey', scheme.hashKey, 1, Number.MAX_SAFE_INTEGER);
  return { ...scheme };
}

/** Low 32 bits of the seed that the reference program passes to `manual_seed` for a context. */
export function seedOf(scheme: WatermarkScheme, context: Int32Array): number {
  const key = BigInt(scheme.hashKey);
  // torch computes in wrapping 64-bit integers; Python's % then makes the result non-negative.
  const wrapped = BigInt.asIntN(64, rawSeed(scheme.seedFunction, key, context));
  const modulus = (1n << 64n) - 1n;
  const seed = ((wrapped % modulus) + modulus) % modulus;
  return Number(seed & 0xffffffffn);
}

function rawSeed(seedFunction: SeedFunction, key: bigint, context: Int32Array): bigint {
  const ids = Array.from(context, BigInt);
  const smallest = (values: bigint[]): bigint => values.sort(ascending)[0]!;
  switch (seedFunction) {
    case 'additive':
      return key * ids.reduce((a, b) => a + b);
    case 'multiplicative':
      return (
        key *
        BigInt.asIntN(
          64,
          ids.reduce((a, b) => a * b),
        )
      );
    case 'minimum':
      return key * smallest(ids);
    case 'skipgram':
      return hash(key * ids[0]!);
    case 'minhash':
      return smallest(ids.map((id) => hash(key * id)));
    case 'anchoredMinhash': {
      const anchor = hash(ids[ids.length - 1]!);
      return smallest(ids.map((id) => BigInt.asIntN(64, BigInt.asIntN(64, key * hash(id)) * anchor)));
    }
    default:
      throw new DetectError({
        code: 'detect/bad-config',
        message: `expected a known seed function, got ${String(seedFunction)}`,
        value: seedFunction,
        remedy: 'use additive, multiplicative, minimum, skipgram, minhash or anchoredMinhash',
      });
  }
}

/** The reference program's integer hash: a fixed permutation of 1,000,003 numbers, counted from 1. */
function hash(value: bigint): bigint {
  table ??= buildTable();
  const size = BigInt(TABLE_SIZE);
  const index = Number(((BigInt.asIntN(64, value) % size) + size) % size);
  return BigInt(table[index]! + 1);
}

function buildTable(): Int32Array {
  const generator = new MersenneTwister();
  generator.seed(TABLE_SEED);
  return randomPermutation(generator, TABLE_SIZE, TABLE_SIZE);
}

function ascending(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
