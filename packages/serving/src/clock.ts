/** Where time comes from; tests pass their own. */
export interface Clock {
  /** Monotonic time in integer microseconds. */
  nowUs(): number;
  /** Wall-clock time in whole seconds since 1970, for the `created` fields. */
  unixSeconds(): number;
}

/** The machine's clock. */
export const systemClock: Clock = {
  nowUs: () => Math.round(performance.now() * 1000),
  unixSeconds: () => Math.floor((performance.timeOrigin + performance.now()) / 1000),
};
