/** A magnitude as the power of two it is in: `2^-7`; zero as `0`. */
export function binade(value: number): string {
  return value === 0 ? '0' : `2^${Math.floor(Math.log2(value))}`;
}

/** A share as a percentage that tells none from few. */
export function percent(part: number, whole: number): string {
  if (part === 0 || whole === 0) return '0';
  const share = (100 * part) / whole;
  return share < 0.001 ? '<0.001%' : `${share < 0.1 ? share.toFixed(3) : share.toFixed(1)}%`;
}

/** A small number in three digits. */
export function short(value: number): string {
  if (value === 0) return '0';
  return Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4 ? value.toPrecision(3) : value.toExponential(2);
}

/** Bytes in the largest decimal unit that leaves a number of at least 1. */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** A count with thin grouping: `2 803 712`. */
export function countText(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ' ');
}
