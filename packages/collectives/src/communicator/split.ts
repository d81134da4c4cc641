import { CollectivesError } from '../errors.js';
import type { ControlTicket } from './control-queue.js';
import type { Waitable } from './waiting.js';

/** The exchange of colors and keys that comes before a split. */
export class SplitExchange implements Waitable {
  readonly #ticket: ControlTicket<readonly Uint8Array[], readonly Float64Array[]>;
  readonly #rank: number;

  constructor(ticket: ControlTicket<readonly Uint8Array[], readonly Float64Array[]>, rank: number) {
    this.#ticket = ticket;
    this.#rank = rank;
  }

  test(): boolean {
    return this.#ticket.test();
  }

  missing(): readonly number[] {
    return this.#ticket.missing();
  }

  /** Ranks of the group of this rank, by key then rank; empty for a negative color. */
  members(): number[] {
    const all = this.#ticket.result();
    const color = (all[this.#rank] as Float64Array)[0] as number;
    if (color < 0) return [];
    const key = (rank: number): number => (all[rank] as Float64Array)[1] as number;
    return all
      .flatMap((numbers, rank) => (numbers[0] === color ? [rank] : []))
      .sort((a, b) => key(a) - key(b) || a - b);
  }
}

/** Validates the arguments of a split. */
export function checkSplit(color: number, key: number): void {
  if (Number.isSafeInteger(color) && Number.isSafeInteger(key)) return;
  throw new CollectivesError({
    code: 'collectives/bad-config',
    message: `expected whole numbers for color and key, got ${color} and ${key}`,
    value: { color, key },
    remedy: 'pass a color of at least 0, or a negative one to join no group',
  });
}
