/** Values of BF16 numbers. Reference of the kernel of the same name. */
export function widenBf16(values: Uint16Array, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < values.length; i++) bits[i] = values[i]! << 16;
}
