/** A station of identical servers in the steady state. */
export interface Station {
  readonly servers: number;
  /** Mean time that a server is busy with one customer. */
  readonly serviceSeconds: number;
  /** Share of the servers' time in use, below 1. */
  readonly utilisation: number;
  /** Squared coefficients of variation of the gaps between arrivals and of the service times. */
  readonly arrivalVariation: number;
  readonly serviceVariation: number;
}

/** Mean wait in a G/G/c queue: Sakasegawa's approximation, exact for M/M/1. */
export function meanWaitSeconds(station: Station): number {
  const { servers, serviceSeconds, utilisation, arrivalVariation, serviceVariation } = station;
  if (!(utilisation < 1)) return Number.POSITIVE_INFINITY;
  const variation = (arrivalVariation + serviceVariation) / 2;
  return (
    (variation * utilisation ** (Math.sqrt(2 * (servers + 1)) - 1) * serviceSeconds) /
    (servers * (1 - utilisation))
  );
}

/**
 * Wait below which a share of the customers stays: those that wait at all do so for an exponentially distributed time, which is exact
 * for M/M/c and holds in heavy traffic.
 */
export function waitQuantileSeconds(station: Station, share: number): number {
  const mean = meanWaitSeconds(station);
  if (!Number.isFinite(mean) || mean === 0) return mean;
  const waiting = station.utilisation ** (Math.sqrt(2 * (station.servers + 1)) - 1);
  return Math.max(0, (mean / waiting) * Math.log(waiting / (1 - share)));
}
