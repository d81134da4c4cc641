/**
 * The assignment of rows to columns of the highest total value (Jonker and Volgenant's shortest augmenting paths).
 *
 * @param values - [n, n], integers of at least 0.
 * @returns the column of each row.
 */
export function assign(values: Int32Array, n: number): Int32Array {
  // Costs are negated values; potentials u (rows) and v (columns) keep reduced costs at or above 0. Column 0 is virtual.
  const u = new Int32Array(n + 1);
  const v = new Int32Array(n + 1);
  const rowOf = new Int32Array(n + 1);
  const way = new Int32Array(n + 1);
  const least = new Int32Array(n + 1);
  const used = new Uint8Array(n + 1);
  for (let row = 1; row <= n; row++) {
    rowOf[0] = row;
    let column = 0;
    least.fill(0x7fffffff);
    used.fill(0);
    do {
      used[column] = 1;
      const r = rowOf[column]!;
      let delta = 0x7fffffff;
      let next = 0;
      for (let j = 1; j <= n; j++) {
        if (used[j] === 1) continue;
        const reduced = -values[(r - 1) * n + j - 1]! - u[r]! - v[j]!;
        if (reduced < least[j]!) {
          least[j] = reduced;
          way[j] = column;
        }
        if (least[j]! < delta) {
          delta = least[j]!;
          next = j;
        }
      }
      for (let j = 0; j <= n; j++) {
        if (used[j] === 1) {
          u[rowOf[j]!]! += delta;
          v[j]! -= delta;
        } else {
          least[j]! -= delta;
        }
      }
      column = next;
    } while (rowOf[column] !== 0);
    do {
      const back = way[column]!;
      rowOf[column] = rowOf[back]!;
      column = back;
    } while (column !== 0);
  }
  const columnOf = new Int32Array(n);
  for (let j = 1; j <= n; j++) columnOf[rowOf[j]! - 1] = j - 1;
  return columnOf;
}
