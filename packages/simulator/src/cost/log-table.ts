/** Grid points for each doubling. */
const STEPS = 2;

/** A positive function of one size, tabulated on half octaves as it is asked for and interpolated in logarithms. */
export class LogCurve {
  readonly #compute: (size: number) => number;
  readonly #logs: Float64Array;

  constructor(compute: (size: number) => number, octaves = 32) {
    this.#compute = compute;
    this.#logs = new Float64Array(octaves * STEPS + 2).fill(Number.NaN);
  }

  /** Value at `size`; below 1 as at 1. */
  at(size: number): number {
    const place = size <= 1 ? 0 : Math.min(Math.log2(size) * STEPS, this.#logs.length - 2);
    const low = Math.floor(place);
    const from = this.#log(low);
    const share = place - low;
    return Math.exp(share === 0 ? from : from + (this.#log(low + 1) - from) * share);
  }

  #log(index: number): number {
    let value = this.#logs[index]!;
    if (Number.isNaN(value)) {
      value = Math.log(this.#compute(2 ** (index / STEPS)));
      this.#logs[index] = value;
    }
    return value;
  }
}

/** A positive function of two sizes: {@link LogCurve} in both directions. */
export class LogSurface {
  readonly #compute: (x: number, y: number) => number;
  readonly #logs: Float64Array;
  readonly #width: number;

  constructor(compute: (x: number, y: number) => number, octaves = 24) {
    this.#compute = compute;
    this.#width = octaves * STEPS + 2;
    this.#logs = new Float64Array(this.#width * this.#width).fill(Number.NaN);
  }

  at(x: number, y: number): number {
    const most = this.#width - 2;
    const placeX = x <= 1 ? 0 : Math.min(Math.log2(x) * STEPS, most);
    const placeY = y <= 1 ? 0 : Math.min(Math.log2(y) * STEPS, most);
    const lowX = Math.floor(placeX);
    const lowY = Math.floor(placeY);
    const shareX = placeX - lowX;
    const shareY = placeY - lowY;
    const near = this.#log(lowX, lowY) * (1 - shareY) + this.#log(lowX, lowY + 1) * shareY;
    const far = this.#log(lowX + 1, lowY) * (1 - shareY) + this.#log(lowX + 1, lowY + 1) * shareY;
    return Math.exp(near + (far - near) * shareX);
  }

  #log(indexX: number, indexY: number): number {
    const at = indexX * this.#width + indexY;
    let value = this.#logs[at]!;
    if (Number.isNaN(value)) {
      value = Math.log(this.#compute(2 ** (indexX / STEPS), 2 ** (indexY / STEPS)));
      this.#logs[at] = value;
    }
    return value;
  }
}
