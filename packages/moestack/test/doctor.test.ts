import { describe, expect, it } from 'vitest';
import { checkNode } from '../src/commands/doctor.js';
import { supportsSimd, supportsThreads } from '../src/wasm-features.js';

describe('checkNode', () => {
  it.each([
    ['20.18.9', 'fail'],
    ['18.20.0', 'fail'],
    ['20.19.0', 'ok'],
    ['22.1.0', 'ok'],
  ])('%s is %s', (version, status) => {
    expect(checkNode(undefined, version).status).toBe(status);
  });
});

it('finds the features that every supported Node has', () => {
  expect(supportsSimd()).toBe(true);
  expect(supportsThreads()).toBe(true);
});
