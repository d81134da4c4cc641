import { MismatchError } from '../errors.js';
import type { LinkFit } from '../schedule/link-fit.js';
import { algorithms, collectiveOps, dtypes, type Operation, reductions } from './operation.js';

/** First number of a call that its rank could not make; text follows. */
const REFUSED = -1;
const PROPOSED = 1;
const EXCHANGED = 2;
const HEADER = 13;
const MAX_TEXT = 300;

/** What all ranks agreed on. */
export interface Agreed {
  /** First tag that is free on every rank. */
  readonly tagBase: number;
  /** As in ScheduleRequest: the whole matrix for allToAll. */
  readonly counts: ArrayLike<number>;
}

/** What one rank proposes, as bytes for the control plane. */
export function encodeProposal(operation: Operation, tagBase: number, fit: LinkFit): Uint8Array {
  const values = [
    PROPOSED,
    collectiveOps.indexOf(operation.op),
    algorithms.indexOf(operation.algorithm),
    dtypes.indexOf(operation.dtype),
    reductions.indexOf(operation.reduction),
    operation.root,
    operation.variable ? 1 : 0,
    tagBase,
    fit.intra.alphaSeconds,
    fit.intra.bytesPerSecond,
    fit.inter.alphaSeconds,
    fit.inter.bytesPerSecond,
    fit.reduceBytesPerSecond,
    ...operation.counts,
    ...operation.receiveCounts,
  ];
  return new Uint8Array(Float64Array.from(values).buffer);
}

/** Tells the other ranks that this one rejected its own arguments, so that they do not wait for it. */
export function encodeRefusal(reason: string): Uint8Array {
  const text = new TextEncoder().encode(reason.slice(0, MAX_TEXT));
  const bytes = new Uint8Array(8 + text.length);
  bytes.set(new Uint8Array(Float64Array.of(REFUSED).buffer));
  bytes.set(text, 8);
  return bytes;
}

/** Numbers that every rank learns of every rank. */
export function encodeNumbers(values: ArrayLike<number>): Uint8Array {
  return new Uint8Array(Float64Array.from([EXCHANGED, ...Array.from(values)]).buffer);
}

/** The numbers of all ranks. @throws MismatchError when a rank made another call, or rejected its arguments. */
export function decodeNumbers(payloads: readonly Uint8Array[]): readonly Float64Array[] {
  return decodeCalls(payloads, EXCHANGED).map((numbers) => numbers.subarray(1));
}

/** Checks that all ranks made the same kind of call. */
function decodeCalls(payloads: readonly Uint8Array[], kind: number): readonly Float64Array[] {
  const calls = payloads.map(
    (bytes) => new Float64Array(bytes.slice(0, bytes.length - (bytes.length % 8)).buffer),
  );
  const refused = calls.flatMap((call, rank) => (call[0] === REFUSED ? [rank] : []));
  if (refused.length > 0) {
    const text = new TextDecoder().decode((payloads[refused[0] as number] as Uint8Array).slice(8));
    throw new MismatchError('arguments', refused, `rank ${refused[0]} rejected its own arguments: ${text}`);
  }
  const first = (calls[0] as Float64Array)[0];
  const foreign = calls.flatMap((call, rank) => (call[0] === first ? [] : [rank]));
  if (foreign.length > 0 || first !== kind) {
    throw new MismatchError('call', foreign, `rank ${foreign[0] ?? 0} made another kind of collective call`);
  }
  return calls;
}

interface Field {
  readonly name: string;
  readonly index: number;
  readonly show: (value: number) => string;
}

const named =
  (names: readonly string[]) =>
  (value: number): string =>
    names[value] ?? String(value);

const fields: readonly Field[] = [
  { name: 'op', index: 1, show: named(collectiveOps) },
  { name: 'algorithm', index: 2, show: named(algorithms) },
  { name: 'dtype', index: 3, show: named(dtypes) },
  { name: 'reduction', index: 4, show: named(reductions) },
  { name: 'root', index: 5, show: String },
  { name: 'variable', index: 6, show: (value) => String(value === 1) },
  ...[8, 9, 10, 11, 12].map((index) => ({ name: 'fit', index, show: String })),
];

/**
 * Compares the proposals of all ranks; pure, so every rank comes to the same verdict.
 *
 * @throws MismatchError naming the first field that differs and the ranks that differ from rank 0.
 */
export function compareProposals(payloads: readonly Uint8Array[], operation: Operation): Agreed {
  const proposals = decodeCalls(payloads, PROPOSED);
  const first = proposals[0] as Float64Array;
  for (const { name, index, show } of fields) {
    requireSame(proposals, name, index, show);
  }
  requireCounts(proposals, HEADER + operation.counts.length + operation.receiveCounts.length);
  let tagBase = 0;
  for (const proposal of proposals) tagBase = Math.max(tagBase, proposal[7] as number);
  if (operation.op === 'allToAll') return { tagBase, counts: allToAllMatrix(proposals) };
  const counts = Array.from(first.subarray(HEADER));
  for (let entry = 0; entry < counts.length; entry++) {
    const name = counts.length === 1 ? 'count' : `counts[${entry}]`;
    requireSame(
      proposals,
      counts.length === 1 ? 'count' : 'counts',
      HEADER + entry,
      (value) => `${name} ${value}`,
    );
  }
  return { tagBase, counts };
}

/** Every count is a whole number, and every rank sent as many as this one: what comes from elsewhere is not trusted. */
function requireCounts(proposals: readonly Float64Array[], length: number): void {
  const bad: number[] = [];
  proposals.forEach((proposal, rank) => {
    const counts = proposal.subarray(HEADER);
    const whole = counts.every((count) => Number.isSafeInteger(count) && count >= 0);
    const tag = proposal[7] as number;
    if (proposal.length !== length || !whole || !Number.isSafeInteger(tag) || tag < 0) bad.push(rank);
  });
  if (bad.length > 0)
    throw new MismatchError('counts', bad, `rank ${bad[0]} sent other counts than the operation has`);
}

function requireSame(
  proposals: readonly Float64Array[],
  name: string,
  index: number,
  show: (value: number) => string,
): void {
  const reference = (proposals[0] as Float64Array)[index] as number;
  const ranks: number[] = [];
  proposals.forEach((proposal, rank) => {
    if (proposal[index] !== reference) ranks.push(rank);
  });
  if (ranks.length === 0) return;
  const other = ranks[0] as number;
  const seen = (proposals[other] as Float64Array)[index] as number;
  throw new MismatchError(name, ranks, `rank 0 has ${show(reference)}, rank ${other} has ${show(seen)}`);
}

/** What each rank sends to each, row-major [from, to]; refused when a receiver expects another count. */
function allToAllMatrix(proposals: readonly Float64Array[]): Float64Array {
  const size = proposals.length;
  const matrix = new Float64Array(size * size);
  for (let from = 0; from < size; from++) {
    for (let to = 0; to < size; to++) {
      const sent = (proposals[from] as Float64Array)[HEADER + to] as number;
      const expected = (proposals[to] as Float64Array)[HEADER + size + from] as number;
      if (sent !== expected) {
        const ranks = from === to ? [from] : [Math.min(from, to), Math.max(from, to)];
        throw new MismatchError(
          'receiveCounts',
          ranks,
          `rank ${from} sends ${sent} elements to rank ${to}, which expects ${expected}`,
        );
      }
      matrix[from * size + to] = sent;
    }
  }
  return matrix;
}
