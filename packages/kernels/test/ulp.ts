import { expect } from 'vitest';

const floats = new Float32Array(2);
const words = new Int32Array(floats.buffer);

/** Distance in units in the last place; the two zeros are equal. */
export function ulpDistance(a: number, b: number): number {
  floats[0] = a;
  floats[1] = b;
  const order = (word: number): number => (word < 0 ? -2147483648 - word : word);
  return Math.abs(order(words[0]!) - order(words[1]!));
}

/** Every element within `ulps` units in the last place, or within `floor` absolutely. */
export function expectClose(actual: Float32Array, expected: Float32Array, ulps: number, floor = 0): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) {
    const [a, b] = [actual[i]!, expected[i]!];
    if (a === b || Math.abs(a - b) <= floor) continue;
    if (!(ulpDistance(a, b) <= ulps)) expect.fail(`element ${i}: expected ${b} within ${ulps} ulp, got ${a}`);
  }
}
