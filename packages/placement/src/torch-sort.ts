const THRESHOLD = 16;

/**
 * Writes to `order` the permutation 0 .. n-1 that sorts `keys` in descending order, as PyTorch's CPU sort does:
 * libstdc++'s introsort on (key, index) pairs, which leaves equal keys in an order of its own above 16 items.
 * `keys` is sorted along with it.
 */
export function torchSortDescending(keys: Float32Array, order: Int32Array, n: number): void {
  for (let i = 0; i < n; i++) order[i] = i;
  if (n < 2) return;
  introsort(keys, order, 0, n, 2 * (31 - Math.clz32(n)));
  const guarded = Math.min(n, THRESHOLD);
  for (let i = 1; i < guarded; i++) insert(keys, order, i, 0);
  // Beyond the threshold every element has a greater or equal one within its segment, so no lower limit is met.
  for (let i = guarded; i < n; i++) insert(keys, order, i, -1);
}

/** Stable descending sort of the same form. */
export function stableSortDescending(keys: Float32Array, order: Int32Array, n: number): void {
  const copy = keys.slice(0, n);
  const sorted = Array.from({ length: n }, (_, i) => i).sort((a, b) => copy[b]! - copy[a]! || a - b);
  for (let i = 0; i < n; i++) {
    order[i] = sorted[i]!;
    keys[i] = copy[sorted[i]!]!;
  }
}

function swap(keys: Float32Array, order: Int32Array, a: number, b: number): void {
  const key = keys[a]!;
  const index = order[a]!;
  keys[a] = keys[b]!;
  order[a] = order[b]!;
  keys[b] = key;
  order[b] = index;
}

function introsort(
  keys: Float32Array,
  order: Int32Array,
  first: number,
  last: number,
  depthLimit: number,
): void {
  while (last - first > THRESHOLD) {
    if (depthLimit === 0) {
      heapSort(keys, order, first, last);
      return;
    }
    depthLimit--;
    medianToFirst(keys, order, first, first + 1, first + ((last - first) >> 1), last - 1);
    const cut = partition(keys, order, first + 1, last, first);
    introsort(keys, order, cut, last, depthLimit);
    last = cut;
  }
}

function medianToFirst(
  keys: Float32Array,
  order: Int32Array,
  first: number,
  a: number,
  b: number,
  c: number,
): void {
  const ka = keys[a]!;
  const kb = keys[b]!;
  const kc = keys[c]!;
  let median: number;
  if (ka > kb) median = kb > kc ? b : ka > kc ? c : a;
  else median = ka > kc ? a : kb > kc ? c : b;
  swap(keys, order, first, median);
}

function partition(
  keys: Float32Array,
  order: Int32Array,
  first: number,
  last: number,
  pivot: number,
): number {
  for (;;) {
    while (keys[first]! > keys[pivot]!) first++;
    last--;
    while (keys[pivot]! > keys[last]!) last--;
    if (first >= last) return first;
    swap(keys, order, first, last);
    first++;
  }
}

function insert(keys: Float32Array, order: Int32Array, i: number, lowest: number): void {
  const key = keys[i]!;
  const index = order[i]!;
  let hole = i;
  while (hole > lowest && hole > 0 && key > keys[hole - 1]!) {
    keys[hole] = keys[hole - 1]!;
    order[hole] = order[hole - 1]!;
    hole--;
  }
  keys[hole] = key;
  order[hole] = index;
}

function heapSort(keys: Float32Array, order: Int32Array, first: number, last: number): void {
  const n = last - first;
  for (let parent = (n - 2) >> 1; parent >= 0; parent--) {
    siftDown(keys, order, first, parent, n, keys[first + parent]!, order[first + parent]!);
  }
  for (let end = n - 1; end > 0; end--) {
    const key = keys[first + end]!;
    const index = order[first + end]!;
    keys[first + end] = keys[first]!;
    order[first + end] = order[first]!;
    siftDown(keys, order, first, 0, end, key, index);
  }
}

function siftDown(
  keys: Float32Array,
  order: Int32Array,
  first: number,
  top: number,
  n: number,
  key: number,
  index: number,
): void {
  let hole = top;
  let child = hole;
  while (child < (n - 1) >> 1) {
    child = 2 * (child + 1);
    if (keys[first + child]! > keys[first + child - 1]!) child--;
    keys[first + hole] = keys[first + child]!;
    order[first + hole] = order[first + child]!;
    hole = child;
  }
  if ((n & 1) === 0 && child === (n - 2) >> 1) {
    child = 2 * (child + 1);
    keys[first + hole] = keys[first + child - 1]!;
    order[first + hole] = order[first + child - 1]!;
    hole = child - 1;
  }
  let parent = (hole - 1) >> 1;
  while (hole > top && keys[first + parent]! > key) {
    keys[first + hole] = keys[first + parent]!;
    order[first + hole] = order[first + parent]!;
    hole = parent;
    parent = (hole - 1) >> 1;
  }
  keys[first + hole] = key;
  order[first + hole] = index;
}
