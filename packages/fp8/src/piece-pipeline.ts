/** What happens to one piece of a longer job; `slot` names the buffers it may use. */
export interface PieceStages {
  /** Fetches a piece. Runs while an earlier piece is converted or written. */
  readonly read: (piece: number, slot: number) => Promise<void>;
  /** Turns it into its result; synchronous, since it is what keeps the thread busy. */
  readonly convert: (piece: number, slot: number) => void;
  /** Stores the result. Runs while later pieces are read and converted. */
  readonly write: (piece: number, slot: number) => Promise<void>;
}

/** Pieces in memory at a time: one converted, the others being read or written. */
export const PIPELINE_SLOTS = 4;

/**
 * Takes pieces `0 .. count - 1` in order through the stages, overlapped; at most {@link PIPELINE_SLOTS} are under way,
 * and a slot is free again when its piece is written.
 *
 * @throws what a stage throws, once everything under way has ended: buffers and files are the caller's again then.
 */
export async function runPieces(count: number, stages: PieceStages): Promise<void> {
  if (count === 0) return;
  const underWay = new Set<Promise<void>>();
  const track = (work: Promise<void>): Promise<void> => {
    underWay.add(work);
    work.then(
      () => underWay.delete(work),
      // Reported where it is awaited.
      () => undefined,
    );
    return work;
  };
  const slots = Math.min(PIPELINE_SLOTS, count);
  const reads = Array.from({ length: slots }, (_, slot) => track(stages.read(slot, slot)));
  const writes: Promise<void>[] = [];
  try {
    for (let piece = 0; piece < count; piece++) {
      const slot = piece % slots;
      await reads[slot];
      stages.convert(piece, slot);
      const writing = track(stages.write(piece, slot));
      writes[slot] = writing;
      const next = piece + slots;
      // The slot takes its next piece as soon as this one is written.
      if (next < count) reads[slot] = track(writing.then(() => stages.read(next, slot)));
    }
    await Promise.all(writes);
  } finally {
    await Promise.allSettled(underWay);
  }
}
