/** The first bytes of a region; remembers its last view, since most transfers are whole chunks or end alike run after run. */
export class PrefixView {
  #region: Uint8Array | undefined;
  #part: Uint8Array | undefined;

  of(region: Uint8Array, bytes: number): Uint8Array {
    if (bytes === region.length) return region;
    if (this.#part === undefined || this.#region !== region || this.#part.length !== bytes) {
      this.#region = region;
      this.#part = region.subarray(0, bytes);
    }
    return this.#part;
  }
}
