import { describe, expect, it, vi } from 'vitest';
import { checkNode } from '../src/commands/doctor.js';
import { runTinyKernel } from '../src/run-tiny-kernel.js';

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

describe('runTinyKernel', () => {
  it.each([false, true])('runs on every supported Node (shared memory: %s)', (shared) => {
    expect(() => runTinyKernel(shared)).not.toThrow();
  });

  it('throws where there is no WebAssembly', () => {
    vi.stubGlobal('WebAssembly', undefined);
    try {
      expect(() => runTinyKernel(false)).toThrow();
    } finally {
      vi.unstubAllGlobals();
    }
  });
});
