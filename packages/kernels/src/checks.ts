import { KernelsError } from './errors.js';

/** Throws unless `value` is an integer of at least `least`. */
export function needCount(name: string, value: number, least: number): void {
  if (!Number.isInteger(value) || value < least || value > 0x7fffffff) {
    throw new KernelsError({
      code: 'kernels/bad-size',
      message: `expected an integer of at least ${least} for ${name}, got ${value}`,
      value,
      remedy: `pass the ${name} of the operands`,
    });
  }
}

/** Throws unless a view holds at least `length` elements. */
export function needLength(name: string, view: { readonly length: number }, length: number): void {
  if (!(view.length >= length)) {
    throw new KernelsError({
      code: 'kernels/too-short',
      message: `expected at least ${length} elements in ${name}, got ${view.length}`,
      value: view.length,
      remedy: `pass a longer ${name}, or smaller sizes and strides`,
    });
  }
}

/** Throws unless a stride is an integer of at least the length of what it steps over. */
export function needStride(name: string, stride: number, least: number): void {
  if (!Number.isInteger(stride) || stride < least) {
    throw new KernelsError({
      code: 'kernels/bad-stride',
      message: `expected ${name} of at least ${least}, got ${stride}`,
      value: stride,
      remedy: `leave ${name} out for rows that follow one another`,
    });
  }
}

/** Elements that `count` rows of `length` elements span. */
export function span(count: number, stride: number, length: number): number {
  return count === 0 ? 0 : (count - 1) * stride + length;
}
