/** What happens to one piece of a longer job; `slot` names the buffers it may use. */
export interface PieceStages {
  /** Fetches a piece. Runs while an earlier piece is converted or written. */
  readonly read: (piece: number, slot: number) => Promise<void>;
  /** Turns it into its result; synchronous, since it is what keeps the thread busy. */
  readonly convert: (piece: number, slot: number) => void;
  /** Stores the result. Runs while later pieces are read and converted. */
  readonly write: (piece: number, slot: number) => Promise<void>;
}

/** Pieces in memory at a time: one that is read, one converted, one written. */
export const PIPELINE_SLOTS = 3;

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
  const writes: (Promise<void> | undefined)[] = [];
  try {
    let reading = track(stages.read(0, 0));
    for (let piece = 0; piece < count; piece++) {
      const slot = piece % PIPELINE_SLOTS;
      const current = reading;
      await current;
      if (piece + 1 < count) {
        const next = (piece + 1) % PIPELINE_SLOTS;
        await writes[next];
        reading = track(stages.read(piece + 1, next));
      }
      stages.convert(piece, slot);
      writes[slot] = track(stages.write(piece, slot));
    }
    await Promise.all(writes);
  } finally {
    await Promise.allSettled(underWay);
  }
}
