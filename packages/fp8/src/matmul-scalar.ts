import { fmaFloat32 } from './fma.js';
import { type MatrixOperand, operandCodes, operandScale, operandValues } from './product-operand.js';
import { type Architecture, chainDot, type TensorCore, unpackOperand } from './tensor-core.js';

/** How a product is accumulated, checked and with defaults filled in. */
export interface Accumulation {
  readonly accumulate: 'f64' | 'f32' | Architecture;
  readonly promotion: 'deepgemm' | 'kernelpy';
  /** Parameters of the tensor core, where one is emulated. */
  readonly core: TensorCore | undefined;
  /** Whether the tensor core applies the scales itself. */
  readonly scalesInside: boolean;
  /** Starts of the partial sums, and k. */
  readonly starts: readonly number[];
}

type Partial = (row: number, col: number, from: number, to: number) => number;

/** Computes elements of a product one by one; the reference of every accumulation. */
export function scalarElements(
  a: MatrixOperand,
  b: MatrixOperand,
  accumulation: Accumulation,
): (row: number, col: number) => number {
  const { accumulate, promotion, core, scalesInside, starts } = accumulation;
  const partial =
    core === undefined ? scalarPartial(a, b, accumulate === 'f64') : corePartial(a, b, core, scalesInside);
  return (row, col) => {
    let sum = 0;
    for (let s = 0; s + 1 < starts.length; s++) {
      const from = starts[s]!;
      const dot = partial(row, col, from, starts[s + 1]!);
      const scaleA = scalesInside ? 1 : operandScale(a, row, from);
      const scaleB = scalesInside ? 1 : operandScale(b, col, from);
      if (accumulate === 'f64') sum += dot * (scaleA * scaleB);
      else if (promotion === 'deepgemm') sum = fmaFloat32(Math.fround(scaleA * scaleB), dot, sum);
      else sum = fmaFloat32(Math.fround(dot * scaleA), scaleB, sum);
    }
    return sum;
  };
}

/** The whole product, element by element. */
export function scalarProduct(
  a: MatrixOperand,
  b: MatrixOperand,
  accumulation: Accumulation,
  out: Float32Array,
): void {
  const element = scalarElements(a, b, accumulation);
  for (let col = 0; col < b.rows; col++) {
    for (let row = 0; row < a.rows; row++) out[row * b.rows + col] = element(row, col);
  }
}

/**
 * Dot products of elements in float64, or in float32 in order of k: products of codes are exact before they are added,
 * products of float32 values are rounded to float32 first.
 */
function scalarPartial(a: MatrixOperand, b: MatrixOperand, inDouble: boolean): Partial {
  const { k } = a;
  const x = operandValues(a);
  const y = operandValues(b);
  const rounds = a.spec === undefined || b.spec === undefined;
  return (row, col, from, to) => {
    const i = row * k;
    const j = col * k;
    let sum = 0;
    if (inDouble) for (let p = from; p < to; p++) sum += x[i + p]! * y[j + p]!;
    else if (rounds) {
      for (let p = from; p < to; p++) sum = Math.fround(sum + Math.fround(x[i + p]! * y[j + p]!));
    } else for (let p = from; p < to; p++) sum = Math.fround(sum + x[i + p]! * y[j + p]!);
    return sum;
  };
}

function corePartial(a: MatrixOperand, b: MatrixOperand, core: TensorCore, scalesInside: boolean): Partial {
  const [aFormat, bFormat] = [a, b].map(({ spec }) => (spec?.name === 'e5m2' ? 'e5m2' : 'e4m3fn')) as [
    'e4m3fn' | 'e5m2',
    'e4m3fn' | 'e5m2',
  ];
  const chain = {
    core,
    output: 'f32',
    a: unpackOperand(aFormat, operandCodes(a), a.rows, a.k),
    b: unpackOperand(bFormat, operandCodes(b), b.rows, b.k),
    k: a.k,
    aScales: scalesInside ? a.scaleCodes : undefined,
    bScales: scalesInside ? b.scaleCodes : undefined,
  } as const;
  return (row, col, from, to) => chainDot(chain, row, col, from, to, 0);
}
