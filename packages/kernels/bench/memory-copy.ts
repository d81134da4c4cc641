// (module (import "env" "memory" (memory 1))
//   (func (export "copy") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.copy))
const binary = Uint8Array.of(
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...[0x01, 0x07, 0x01, 0x60, 0x03, 0x7f, 0x7f, 0x7f, 0x00],
  ...[0x02, 0x0f, 0x01, 0x03, 0x65, 0x6e, 0x76, 0x06, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 0x02, 0x00, 0x01],
  ...[0x03, 0x02, 0x01, 0x00],
  ...[0x07, 0x08, 0x01, 0x04, 0x63, 0x6f, 0x70, 0x79, 0x00, 0x00],
  ...[0x0a, 0x0e, 0x01, 0x0c, 0x00, 0x20, 0x00, 0x20, 0x01, 0x20, 0x02, 0xfc, 0x0a, 0x00, 0x00, 0x0b],
);

interface Host {
  readonly Memory: new (descriptor: { initial: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: Record<string, Record<string, unknown>>,
  ) => { readonly exports: { copy(to: number, from: number, bytes: number): void } };
}

/** Copies `bytes` within a WebAssembly memory by its own instruction. */
export function memoryCopy(bytes: number): () => void {
  const host = (globalThis as unknown as { WebAssembly: Host }).WebAssembly;
  const memory = new host.Memory({ initial: (2 * bytes) / 65_536 });
  new Uint8Array(memory.buffer).fill(1);
  const { exports } = new host.Instance(new host.Module(binary), { env: { memory } });
  return () => exports.copy(bytes, 0, bytes);
}
