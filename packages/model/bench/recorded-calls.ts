import type { Kernels } from '@moestack/kernels';

/** Names of the kernel calls that are matrix products. */
const PRODUCTS = ['linear', 'linearTransposed', 'linearW8A8'] as const;
/** Everything else that a step calls. */
const OTHERS = [
  'rmsNorm',
  'rope',
  'siluMul',
  'add',
  'addScaled',
  'latentAttention',
  'causalAttention',
] as const;

/** The kernel calls of one step, to be run again with nothing between them. */
export interface RecordedCalls {
  /** Matrix products only: the bound of a step. */
  products(): void;
  /** Every kernel call. */
  all(): void;
  /** Multiply-adds of the products. */
  readonly macs: number;
}

/** Runs `step` once and records which kernels it calls, on which operands. */
export function recordCalls(kernels: Kernels, step: () => void): RecordedCalls {
  const calls: { product: boolean; run: () => void }[] = [];
  const target = kernels as unknown as Record<string, (...operands: unknown[]) => void>;
  const before = kernels.stats.gemmMacs;
  for (const name of [...PRODUCTS, ...OTHERS]) {
    const original = target[name]!.bind(kernels);
    const product = (PRODUCTS as readonly string[]).includes(name);
    target[name] = (...operands: unknown[]) => {
      // Options are reused by the engine with other values, so each call keeps a copy.
      const kept = operands.map((operand) => (isPlain(operand) ? { ...(operand as object) } : operand));
      calls.push({ product, run: () => original(...kept) });
      original(...operands);
    };
  }
  step();
  const macs = kernels.stats.gemmMacs - before;
  for (const name of [...PRODUCTS, ...OTHERS]) delete target[name];
  const products = calls.filter((call) => call.product).map((call) => call.run);
  const all = calls.map((call) => call.run);
  return {
    products: () => {
      for (const run of products) run();
    },
    all: () => {
      for (const run of all) run();
    },
    macs,
  };
}

function isPlain(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
