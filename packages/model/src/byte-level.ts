/**
 * Byte of each character of a byte-level vocabulary (GPT-2's table): printable Latin-1 characters stand for
 * themselves, the other bytes for the characters from U+0100 on.
 */
export function byteLevelAlphabet(): ReadonlyMap<string, number> {
  const table = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    table.set(String.fromCharCode(printable ? byte : next++), byte);
  }
  return table;
}

/** Bytes of a vocabulary entry, or undefined where it has a character outside the byte alphabet. */
export function byteLevelBytes(token: string, alphabet: ReadonlyMap<string, number>): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  let length = 0;
  for (const character of token) {
    const byte = alphabet.get(character);
    if (byte === undefined) return undefined;
    bytes[length++] = byte;
  }
  return bytes.subarray(0, length);
}
