const table: Uint32Array = /* @__PURE__ */ createTable();

/** Slices of eight tables let the loop below take eight bytes at a time. */
function createTable(): Uint32Array {
  const rows = new Uint32Array(8 * 256);
  for (let i = 0; i < 256; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    rows[i] = crc >>> 0;
  }
  for (let row = 1; row < 8; row++) {
    for (let i = 0; i < 256; i++) {
      const previous = rows[(row - 1) * 256 + i]!;
      rows[row * 256 + i] = (previous >>> 8) ^ rows[previous & 0xff]!;
    }
  }
  return rows;
}

/** CRC-32 of zip archives (IEEE 802.3, reflected). */
export function crc32(bytes: Uint8Array): number {
  const t = table;
  const n = bytes.length;
  let crc = 0xffffffff;
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc =
      t[0x700 + (crc & 0xff)]! ^
      t[0x600 + ((crc >>> 8) & 0xff)]! ^
      t[0x500 + ((crc >>> 16) & 0xff)]! ^
      t[0x400 + (crc >>> 24)]! ^
      t[0x300 + bytes[i + 4]!]! ^
      t[0x200 + bytes[i + 5]!]! ^
      t[0x100 + bytes[i + 6]!]! ^
      t[bytes[i + 7]!]!;
  }
  for (; i < n; i++) crc = (crc >>> 8) ^ t[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
}
