/** Views of the first elements of an array, made once for each length, for callees that take exact lengths. */
export class PrefixViews<A extends Int32Array | Float32Array> {
  private readonly views: (A | undefined)[] = [];
  private readonly array: A;
  private readonly stride: number;

  /** @param stride - elements of one item. */
  constructor(array: A, stride: number) {
    this.array = array;
    this.stride = stride;
  }

  /** The first `items` items. */
  of(items: number): A {
    const known = this.views[items];
    if (known !== undefined) return known;
    const view = this.array.subarray(0, items * this.stride) as A;
    while (this.views.length < items) this.views.push(undefined);
    this.views[items] = view;
    return view;
  }
}
