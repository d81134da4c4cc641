const units = [
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
] as const;

/** A count in few characters: 950, 1.2k, 34M. */
export function compact(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  for (const [unit, letter] of units) {
    // 999.6 would be rounded to 1000.
    if (size < unit * 0.9995) continue;
    return `${(value / unit).toFixed(size < unit * 9.95 ? 1 : 0)}${letter}`;
  }
  return value.toFixed(size >= 9.95 || Number.isInteger(value) ? 0 : 1);
}

/** Milliseconds as people read them: 0.8 ms, 42 ms, 1.25 s. */
export function milliseconds(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return '–';
  if (value >= 59_950) return `${(value / 60_000).toFixed(1)} min`;
  if (value >= 999.5) return `${(value / 1000).toFixed(value >= 9995 ? 1 : 2)} s`;
  return `${value.toFixed(value > 0 && value < 9.95 ? 1 : 0)} ms`;
}

/** A share as per cent. */
export function percent(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return '–';
  const hundred = value * 100;
  return `${hundred.toFixed(hundred > 0 && hundred < 9.95 ? 1 : 0)} %`;
}

/** Bytes with a decimal unit. */
export function bytes(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return '–';
  return `${compact(value).replace(/([kMG])?$/, ' $1B')}`;
}

/** How long something has lasted: 42 s, 3 min, 2 h 5 min, 3 d 4 h. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Round values for an axis from 0 to at least `maximum`: a step of 1, 2 or 5 times a power of ten. */
export function ticks(maximum: number, count = 4): number[] {
  const top = maximum > 0 && Number.isFinite(maximum) ? maximum : 1;
  const rough = top / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999) ?? rough;
  const values: number[] = [];
  for (let index = 0; index <= Math.ceil((top / step) * 0.999); index++) values.push(index * step);
  return values;
}
