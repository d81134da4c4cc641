/** A `WebAssembly.Memory`; declared structurally, since neither ES2023 nor Node's types name it without the DOM library. */
export interface WasmMemory {
  readonly buffer: ArrayBufferLike;
}

/** A compiled `WebAssembly.Module`. */
export type WasmModule = object;

interface WebAssemblyNamespace {
  readonly Memory: new (descriptor: { initial: number; maximum: number; shared: boolean }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array) => WasmModule;
  readonly Instance: new (
    module: WasmModule,
    imports: Record<string, Record<string, unknown>>,
  ) => { readonly exports: unknown };
}

/** The host's `WebAssembly` object, the same in Node and browsers. */
export function webAssembly(): WebAssemblyNamespace {
  return (globalThis as unknown as { WebAssembly: WebAssemblyNamespace }).WebAssembly;
}
