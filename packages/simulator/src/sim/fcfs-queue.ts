import { badConfig } from '../cost/read.js';
import { EventQueue } from './event-queue.js';

/** What {@link fcfsQueue} found. Times in microseconds. */
export interface FcfsResult {
  /** Wait of each request before its service. */
  readonly waitUs: Float64Array;
  /** End of the last service. */
  readonly makespanUs: number;
  /** Share of the servers' time until then that they worked. */
  readonly busyFraction: number;
}

/**
 * First come, first served on identical servers: exact waits, the reference for queueing in this package.
 *
 * @param requests - in order of arrival.
 *
 * @example
 * ```ts
 * import { fcfsQueue } from '@moestack/simulator';
 *
 * const requests = [0, 10, 20].map((arrivalUs) => ({ arrivalUs, serviceUs: 30 }));
 * console.log(fcfsQueue(requests, { servers: 1 }).waitUs); // 0, 20, 40
 * ```
 */
export function fcfsQueue(
  requests: readonly { arrivalUs: number; serviceUs: number }[],
  options: { servers: number },
): FcfsResult {
  const { servers } = options;
  if (!Number.isInteger(servers) || servers < 1 || servers > 1 << 20) {
    throw badConfig(
      `expected an integer from 1 to ${1 << 20} for servers, got ${servers}`,
      servers,
      'servers',
    );
  }
  const free = new EventQueue();
  for (let server = 0; server < servers; server++) free.push(0, server);
  const waitUs = new Float64Array(requests.length);
  let makespanUs = 0;
  let workUs = 0;
  requests.forEach(({ arrivalUs, serviceUs }, i) => {
    const startUs = Math.max(arrivalUs, free.nextTime);
    free.push(startUs + serviceUs, free.pop());
    waitUs[i] = startUs - arrivalUs;
    makespanUs = Math.max(makespanUs, startUs + serviceUs);
    workUs += serviceUs;
  });
  return { waitUs, makespanUs, busyFraction: makespanUs === 0 ? 0 : workUs / (servers * makespanUs) };
}
