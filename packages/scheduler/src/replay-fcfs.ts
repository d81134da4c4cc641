import { SchedulerError } from './errors.js';

/** A request for {@link replayFcfs}. */
export interface FcfsRequest {
  arrivalUs: number;
  serviceUs: number;
}

/** What happened to the requests of {@link replayFcfs}. */
export interface FcfsResult {
  /** Time from arrival to the start of service, in the order given. */
  waitUs: Float64Array;
  /** When the last service ends, counted from time 0. */
  makespanUs: number;
  /** Time that servers worked over `servers * makespanUs`; 0 without requests. */
  busyFraction: number;
}

/**
 * First come, first served on equal servers: each request, by arrival, goes to the server that is free first. A queue
 * that shares nothing, as the baseline and the check of larger models.
 *
 * @throws SchedulerError `scheduler/bad-request` for times that are none or no whole number of servers.
 */
export function replayFcfs(requests: readonly FcfsRequest[], servers: number): FcfsResult {
  if (!Number.isInteger(servers) || servers < 1 || servers > 1 << 24) throw bad('servers', servers);
  for (const { arrivalUs, serviceUs } of requests) {
    if (!Number.isFinite(arrivalUs)) throw bad('arrivalUs', arrivalUs);
    if (!(serviceUs >= 0 && Number.isFinite(serviceUs))) throw bad('serviceUs', serviceUs);
  }
  const order = requests
    .map((_, row) => row)
    .sort((a, b) => requests[a]!.arrivalUs - requests[b]!.arrivalUs || a - b);
  // A binary heap of the times at which servers become free; all zero is one.
  const freeUs = new Float64Array(servers).fill(Number.NEGATIVE_INFINITY);
  const waitUs = new Float64Array(requests.length);
  let makespanUs = 0;
  let busyUs = 0;
  for (const row of order) {
    const { arrivalUs, serviceUs } = requests[row]!;
    const startUs = Math.max(arrivalUs, freeUs[0]!);
    waitUs[row] = startUs - arrivalUs;
    busyUs += serviceUs;
    makespanUs = Math.max(makespanUs, startUs + serviceUs);
    replaceFirst(freeUs, startUs + serviceUs);
  }
  return { waitUs, makespanUs, busyFraction: makespanUs > 0 ? busyUs / (servers * makespanUs) : 0 };
}

function replaceFirst(heap: Float64Array, value: number): void {
  let place = 0;
  for (;;) {
    let child = 2 * place + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
    if (heap[child]! >= value) break;
    heap[place] = heap[child]!;
    place = child;
  }
  heap[place] = value;
}

function bad(name: string, value: number): SchedulerError {
  return new SchedulerError({
    code: 'scheduler/bad-request',
    message: `got ${value} for ${name}`,
    value,
    remedy: 'pass finite times, services of at least 0, and a whole number of servers from 1 on',
  });
}
