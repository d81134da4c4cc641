/** A number of three digits, thousands apart. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}

/** A share in percent. */
export function percent(share: number): string {
  const value = 100 * share;
  return `${Math.abs(value) < 10 && value !== 0 ? value.toFixed(1) : Math.round(value)}%`;
}

/** Seconds in the unit that fits. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '-';
  if (seconds >= 1) return `${short(seconds)} s`;
  return `${short(1000 * seconds)} ms`;
}

/** Bytes in binary gigabytes. */
export function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

/** Dollars, cents where they matter. */
export function usd(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (Number.isInteger(value) && value < 100) return `$${value}`;
  return value >= 100
    ? `$${Math.round(value).toLocaleString('en-US')}`
    : `$${value.toFixed(value < 10 ? 3 : 2)}`;
}

/** A noun with its number. */
export function count(value: number, noun: string): string {
  return `${value.toLocaleString('en-US')} ${noun}${value === 1 ? '' : 's'}`;
}
