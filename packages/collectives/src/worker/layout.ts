// Where things lie in the shared memory, in 32-bit words from the start of each block. What different threads write often lies 128
// bytes apart, since processors fetch cache lines in pairs.

/** Bytes of one aligned unit; blocks start at multiples of it. */
export const LINE_BYTES = 128;
const LINE_WORDS = 32;

export const MAGIC = 0x6d6f6532;
export const MAXIMUM_RANKS = 256;

/** World block: one line of header, one of counters, then the ranks. */
export const WORLD_MAGIC = 0;
export const WORLD_RANKS = 1;
/** Grows whenever a rank fails or exits. */
export const WORLD_CHANGES: number = LINE_WORDS;
const WORLD_HEADER_LINES = 2;

/** Rank record of four lines. Its activity is what its thread waits on. */
export const RANK_ACTIVITY = 0;
/** 1 while the rank may be blocked, so that peers must wake it. */
export const RANK_SLEEPING: number = LINE_WORDS;
/** 0 not attached, 1 attached, 2 has left, 3 failed and its thread has ended, so that it touches no memory any more. */
export const RANK_STATE: number = 2 * LINE_WORDS;
/** 1 once the rank is known to have failed; never goes back. */
export const RANK_FAILED: number = 2 * LINE_WORDS + 1;
/** Length in bytes of the reason, 0 while it is unknown. */
export const RANK_REASON_LENGTH: number = 2 * LINE_WORDS + 2;
export const RANK_REASON: number = 2 * LINE_WORDS + 4;
export const REASON_BYTES = 240;
const RANK_LINES = 4;

export const NOT_ATTACHED = 0;
export const ATTACHED = 1;
export const EXITED = 2;
export const DEAD = 3;

export function worldBytes(ranks: number): number {
  return (WORLD_HEADER_LINES + ranks * RANK_LINES) * LINE_BYTES;
}

/** Word of rank `rank`'s record in the world block at word `world`. */
export function rankWord(world: number, rank: number): number {
  return world + (WORLD_HEADER_LINES + rank * RANK_LINES) * LINE_WORDS;
}

/** Group block: header line, one line for each member, the directory of slot chunks, world ranks. */
export const GROUP_SIZE = 0;
/** Grows whenever a member closes or is missed. */
export const GROUP_CHANGES = 1;
/** Address of the group that shrinking this one gave, 0 before. */
export const GROUP_SUCCESSOR = 2;

/** Member line. 0 open, 1 abandoned, 2 closed, 3 closed and without memory that belongs to the group. */
export const MEMBER_STATE = 0;
export const MEMBER_AGREED = 1;
/** Address and length of the payload of odd and even agreements. */
export const MEMBER_PAYLOAD = 2;
export const MEMBER_LENGTH = 4;
/** Number and address of the last split that this member led, and number of the last that it has completed. */
export const MEMBER_SPLIT_LED = 6;
export const MEMBER_SPLIT_BLOCK = 7;
export const MEMBER_SPLIT_DONE = 8;
export const MEMBER_SHRINKS = 9;
/** 1 once this member had left when another still expected something of it. */
export const MEMBER_MISSED = 10;

export const OPEN = 0;
export const ABANDONED = 1;
export const CLOSED = 2;
export const SWEPT = 3;

export const TAG_LIMIT = 1024;
const CHUNK_TAGS = 16;
const CHUNKS = TAG_LIMIT / CHUNK_TAGS;
/** Slots of 16 tags of one ordered pair of ranks. */
export const CHUNK_BYTES: number = CHUNK_TAGS * 2 * LINE_BYTES;

export function groupBytes(size: number): number {
  return (1 + size) * LINE_BYTES + (size * size * CHUNKS + size) * 4;
}

export function memberWord(group: number, member: number): number {
  return group + (1 + member) * LINE_WORDS;
}

/** Word that holds the address of the chunk with the slot of `tag` from `sender` to `receiver`. */
export function chunkWord(
  group: number,
  size: number,
  sender: number,
  receiver: number,
  tag: number,
): number {
  return group + (1 + size) * LINE_WORDS + (sender * size + receiver) * CHUNKS + (tag >> 4);
}

export function worldRankWord(group: number, size: number, member: number): number {
  return group + (1 + size) * LINE_WORDS + size * size * CHUNKS + member;
}

/** Slot of `tag` within its chunk: a line that the sender writes and one that the receiver writes. */
export function slotWord(chunkAddress: number, tag: number): number {
  return chunkAddress / 4 + (tag % CHUNK_TAGS) * 2 * LINE_WORDS;
}

/** Messages posted so far; one of a slot is under way at a time. */
export const SLOT_POSTED = 0;
/** Length and address of the last one. */
export const SLOT_BYTES = 1;
export const SLOT_ADDRESS = 2;
/** Messages taken so far. */
export const SLOT_TAKEN: number = LINE_WORDS;
/** Number of the last message that did not fit. */
export const SLOT_REFUSED: number = LINE_WORDS + 1;
