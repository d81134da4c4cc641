import type { DelayedScalingOptions } from './delayed-scaling.js';
import type { FormatName } from './format-spec.js';
import type { ProductOptions } from './product.js';
import { invalid, type ScaleFormat, type Scheme } from './scheme.js';

/** Names of the built-in recipes; see {@link recipe}. */
export type RecipeName = 'deepseek-v3' | 'hybrid' | 'delayed' | 'current' | 'mxfp8' | 'bf16' | 'f32';

/**
 * How a matrix enters a product.
 *
 * - `f32`, `bf16`: as it is, or rounded to bfloat16.
 * - `scheme`: quantised by a {@link Scheme}; with `columns` its transpose is quantised, so that one-row tiles run down
 *   the columns.
 * - `current`: one scale from the amax of the tensor, as Transformer Engine's current scaling: codes of x * (max / amax)
 *   in float32, that factor rounded down to a power of two with `powerOfTwo`.
 * - `delayed`: one scale from earlier steps, see {@link DelayedScaling}.
 */
export type OperandRecipe =
  | { readonly type: 'f32' | 'bf16' }
  | { readonly type: 'scheme'; readonly scheme: Scheme; readonly columns?: boolean }
  | { readonly type: 'current'; readonly format: FormatName; readonly powerOfTwo?: boolean }
  | { readonly type: 'delayed'; readonly format: FormatName };

/**
 * The numerics of a linear layer y = x W^T: how each operand of its three products is quantised, what is kept for
 * backward, and how products are accumulated. Plain data: spread it to change a part.
 */
export interface Recipe extends ProductOptions {
  readonly name: RecipeName;
  /** y `[M, N]` = x `[M, K]` times weight `[N, K]`. */
  readonly forward: { readonly input: OperandRecipe; readonly weight: OperandRecipe };
  /** dx `[M, K]` = dy `[M, N]` times weight; `forward`: the codes of the forward product, read the other way. */
  readonly dgrad: { readonly gradient: OperandRecipe; readonly weight: OperandRecipe | 'forward' };
  readonly wgrad: {
    /** dweight `[N, K]` = dy^T times x; `dgrad`: the codes of that product. */
    readonly gradient: OperandRecipe | 'dgrad';
    /** What `gradient` is quantised from: the gradient itself, or its codes of dgrad, where only these travel. */
    readonly gradientFrom: 'values' | 'dgrad';
    /** How forward keeps x; `forward`: as the codes of the forward product. */
    readonly keep: OperandRecipe | 'forward';
    /** How x enters, quantised anew from what was kept; `kept`: as it was kept. */
    readonly input: OperandRecipe | 'kept';
  };
  /** Options of the scales of `delayed` operands. */
  readonly scaling: Omit<DelayedScalingOptions, 'format'>;
}

/**
 * Where a linear layer stands, for recipes that treat some layers differently. In `deepseek-v3` and `hybrid`:
 *
 * - `afterAttention`: x is kept as E5M6 in 1x128 tiles; all its scales are powers of two.
 * - `moeUp`: x was dispatched: power-of-two scales.
 * - `moeDown`: dy was dispatched: power-of-two scales, and Wgrad quantises dy from its dispatched codes.
 */
export type LinearRole = 'default' | 'afterAttention' | 'moeUp' | 'moeDown';

/** What {@link recipe} lets one change. */
export interface RecipeOverrides extends ProductOptions {
  readonly role?: LinearRole;
  /** Scales of tiles (`deepseek-v3`, `hybrid`). Default `f32`. */
  readonly scale?: ScaleFormat;
  /** Elements of gradients (all but `mxfp8`, `bf16`, `f32`). Default `e4m3fn` in `deepseek-v3`, else `e5m2`. */
  readonly gradientFormat?: FormatName;
  /** `current`: factors rounded down to powers of two. */
  readonly powerOfTwo?: boolean;
  /** `mxfp8`. Default `ceil`. */
  readonly rule?: 'floor' | 'ceil';
  /** `delayed`. */
  readonly scaling?: Omit<DelayedScalingOptions, 'format'>;
}

const common = ['role', 'accumulate', 'promoteEvery', 'promotion'] as const;
const allowed: { readonly [N in RecipeName]: readonly (keyof RecipeOverrides)[] } = Object.freeze({
  'deepseek-v3': ['scale', 'gradientFormat'],
  hybrid: ['scale', 'gradientFormat'],
  delayed: ['gradientFormat', 'scaling'],
  current: ['gradientFormat', 'powerOfTwo'],
  mxfp8: ['rule'],
  bf16: [],
  f32: [],
} as const);

/**
 * A built-in recipe, with changes.
 *
 * - `deepseek-v3` (DeepSeek-V3 report, section 3.3): E4M3 everywhere; x and dy in 1x128 tiles, weights in 128x128
 *   blocks, Wgrad from x requantised 1x128 to 128x1 and dy in 128x1; sums promoted every 128. Tiles of gradients have
 *   no amax floor. {@link LinearRole} sets the exceptions of sections 3.3.2 and 3.3.3. That the forward product takes
 *   E4M3 where E5M6 is kept, and that Wgrad then takes E4M3 128x1 tiles, is a choice: the report leaves it open, and
 *   tensor cores have no E5M6.
 * - `hybrid`: the same tiles with E5M2 gradients, so that the two differ in the element format alone.
 * - `delayed`, `current`: one scale per tensor, E4M3 forward and E5M2 gradients, as Transformer Engine's
 *   `DelayedScaling` and `Float8CurrentScaling` by default.
 * - `mxfp8`: E4M3 with E8M0 scales of 1x32 along the summed dimension; operands that are needed both ways are
 *   quantised twice from the values, as in Transformer Engine's `MXFP8BlockScaling`.
 * - `bf16`, `f32`: unquantised, float32 sums over blocks of 128.
 *
 * @throws {@link Fp8Error} for an unknown name, or a change that the recipe does not have.
 *
 * @example
 * ```ts
 * import { recipe } from '@moestack/fp8';
 *
 * const attentionOutput = recipe('deepseek-v3', { role: 'afterAttention' });
 * const exact = recipe('deepseek-v3', { accumulate: 'hopper' });
 * console.log(attentionOutput.wgrad.keep, exact.promoteEvery); // E5M6 tiles, 128
 * ```
 */
export function recipe(name: RecipeName, overrides: RecipeOverrides = {}): Recipe {
  if (!Object.hasOwn(allowed, name)) {
    const known = Object.keys(allowed).join(', ');
    throw invalid('unknown-recipe', `recipe as ${known}`, name, 'choose one of them');
  }
  for (const key of Object.keys(overrides) as (keyof RecipeOverrides)[]) {
    const isKnown = (common as readonly string[]).includes(key) || allowed[name].includes(key);
    if (overrides[key] === undefined || isKnown) continue;
    const possible = [...common, ...allowed[name]].join(', ');
    throw invalid('bad-recipe', `changes of ${name} among ${possible}`, key, 'leave it out');
  }
  const { role = 'default' } = overrides;
  if (!['default', 'afterAttention', 'moeUp', 'moeDown'].includes(role)) {
    const expected = 'role as default, afterAttention, moeUp or moeDown';
    throw invalid('bad-recipe', expected, role, 'choose one of them');
  }
  const { accumulate = 'f32', promotion = 'deepgemm' } = overrides;
  const promoteEvery = overrides.promoteEvery ?? (name === 'mxfp8' ? undefined : 128);
  return Object.freeze({
    name,
    ...operandsOf(name, role, overrides),
    scaling: overrides.scaling ?? {},
    accumulate,
    promotion,
    ...(promoteEvery === undefined ? {} : { promoteEvery }),
  });
}

type Operands = Pick<Recipe, 'forward' | 'dgrad' | 'wgrad'>;

function operandsOf(name: RecipeName, role: LinearRole, overrides: RecipeOverrides): Operands {
  switch (name) {
    case 'f32':
    case 'bf16':
      return uniform({ type: name }, { type: name });
    case 'current': {
      const { powerOfTwo = false } = overrides;
      const gradient = { type: 'current', format: overrides.gradientFormat ?? 'e5m2', powerOfTwo } as const;
      return uniform({ type: 'current', format: 'e4m3fn', powerOfTwo }, gradient);
    }
    case 'delayed': {
      const gradient = { type: 'delayed', format: overrides.gradientFormat ?? 'e5m2' } as const;
      return uniform({ type: 'delayed', format: 'e4m3fn' }, gradient);
    }
    case 'mxfp8': {
      const scheme = { kind: 'mx', format: 'e4m3fn', rule: overrides.rule ?? 'ceil' } as const;
      const [rows, columns] = [
        { type: 'scheme', scheme },
        { type: 'scheme', scheme, columns: true },
      ] as const;
      return {
        forward: { input: rows, weight: rows },
        dgrad: { gradient: rows, weight: columns },
        wgrad: { gradient: columns, gradientFrom: 'values', keep: columns, input: 'kept' },
      };
    }
    case 'deepseek-v3':
    case 'hybrid':
      return tiled(
        overrides.gradientFormat ?? (name === 'hybrid' ? 'e5m2' : 'e4m3fn'),
        overrides.scale ?? 'f32',
        role,
      );
  }
}

/** The same codes for every product of a tensor, since one scale serves both directions. */
function uniform(forward: OperandRecipe, gradient: OperandRecipe): Operands {
  return {
    forward: { input: forward, weight: forward },
    dgrad: { gradient, weight: 'forward' },
    wgrad: { gradient: 'dgrad', gradientFrom: 'values', keep: 'forward', input: 'kept' },
  };
}

function tiled(gradientFormat: FormatName, scale: ScaleFormat, role: LinearRole): Operands {
  const power: ScaleFormat = scale === 'f32' ? 'powerOfTwo' : scale;
  const inputScale = role === 'afterAttention' || role === 'moeUp' ? power : scale;
  const gradientScale = role === 'moeDown' ? power : scale;
  const tiles = (
    tile: [number, number],
    format: FormatName,
    tileScale: ScaleFormat,
    isGradient = false,
  ): OperandRecipe => ({
    type: 'scheme',
    scheme: { kind: 'tile', tile, format, scale: tileScale, ...(isGradient ? { amaxFloor: 0 } : {}) },
  });
  return {
    forward: {
      input: tiles([1, 128], 'e4m3fn', inputScale),
      weight: tiles([128, 128], 'e4m3fn', scale),
    },
    dgrad: { gradient: tiles([1, 128], gradientFormat, gradientScale, true), weight: 'forward' },
    wgrad: {
      gradient: tiles([128, 1], gradientFormat, gradientScale, true),
      gradientFrom: role === 'moeDown' ? 'dgrad' : 'values',
      keep: role === 'afterAttention' ? tiles([1, 128], 'e5m6', power) : 'forward',
      input: tiles([128, 1], 'e4m3fn', inputScale),
    },
  };
}
