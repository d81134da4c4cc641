import type { Arena } from './arena.js';
import { instantiate, type KernelExports } from './binary.js';
import { Staging } from './staging.js';
import type { KernelStats, KernelsOptions } from './types.js';

/** What all kernels share: the arena, the instance of the binary over it, and counters. */
export abstract class KernelsBase {
  readonly arena: Arena;
  readonly stats: KernelStats = { calls: 0, gemmRows: 0, gemmMacs: 0 };
  protected readonly wasm: KernelExports;
  protected readonly staging: Staging;

  /** Instantiates the inlined binary against the arena's memory, synchronously. */
  constructor(arena: Arena, options: KernelsOptions = {}) {
    if (options.scratch !== undefined) arena.handle(options.scratch);
    this.arena = arena;
    this.wasm = instantiate(arena.memory, arena.shared);
    this.staging = new Staging(arena, options.scratch);
  }
}
