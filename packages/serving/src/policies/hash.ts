/**
 * Hash of a stretch of a text, in 52 bits: two rounds of FNV-1a with different multipliers over UTF-16 code units, each
 * mixed at the end. Not for secrets.
 *
 * @param seed - the hash of what comes before, to chain blocks.
 */
export function hashText(text: string, start: number, end: number, seed: number): number {
  let low = (0x811c9dc5 ^ seed) >>> 0;
  let high = (0x9e3779b9 ^ Math.floor(seed / 4_294_967_296)) >>> 0;
  for (let index = start; index < end; index++) {
    const code = text.charCodeAt(index);
    low = Math.imul(low ^ code, 0x01000193);
    high = Math.imul(high ^ code, 0x85ebca6b);
  }
  return mix(low) + (mix(high) & 0xfffff) * 4_294_967_296;
}

function mix(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x7feb352d);
  mixed ^= mixed >>> 15;
  mixed = Math.imul(mixed, 0x846ca68b);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
