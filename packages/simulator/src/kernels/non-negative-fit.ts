/**
 * Coefficients of at least 0 that minimise the squared relative error of features [rows, columns] against positive targets, by coordinate
 * descent on the normal equations. The problem is convex, so the order of the updates decides nothing but the speed.
 */
export function fitNonNegative(features: readonly Float64Array[], targets: Float64Array): Float64Array {
  const columns = features[0]?.length ?? 0;
  const gram = new Float64Array(columns * columns);
  const right = new Float64Array(columns);
  features.forEach((row, r) => {
    const weight = 1 / targets[r]!;
    for (let i = 0; i < columns; i++) {
      const scaled = row[i]! * weight;
      right[i]! += scaled;
      for (let j = 0; j < columns; j++) gram[i * columns + j]! += scaled * row[j]! * weight;
    }
  });
  const coefficients = new Float64Array(columns);
  for (let sweep = 0; sweep < 3000; sweep++) {
    let change = 0;
    for (let i = 0; i < columns; i++) {
      const diagonal = gram[i * columns + i]!;
      if (diagonal === 0) continue;
      let gradient = right[i]!;
      for (let j = 0; j < columns; j++) gradient -= gram[i * columns + j]! * coefficients[j]!;
      const next = Math.max(0, coefficients[i]! + gradient / diagonal);
      change = Math.max(change, Math.abs(next - coefficients[i]!) * Math.sqrt(diagonal));
      coefficients[i] = next;
    }
    if (change < 1e-9) break;
  }
  return coefficients;
}
