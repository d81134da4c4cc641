type WaitAsync = (
  words: Int32Array,
  index: number,
  value: number,
  milliseconds: number,
) =>
  | { readonly async: false; readonly value: string }
  | { readonly async: true; readonly value: Promise<string> };

// Node 20 has it; the ES2023 library does not declare it yet.
const waitAsync = (Atomics as unknown as { waitAsync?: WaitAsync }).waitAsync;
/** Interval of polling where the engine cannot wait without blocking. */
const POLL_MILLISECONDS = 2;

/** Resolves when `words[index]` is notified or differs from `value`, or after some time. The event loop turns at least once, and stays alive. */
export async function sleepUntil(
  words: Int32Array,
  index: number,
  value: number,
  milliseconds: number,
): Promise<void> {
  const wait = waitAsync?.(words, index, value, milliseconds);
  if (wait?.async === false) {
    await new Promise<void>((resolve) => void setImmediate(resolve));
    return;
  }
  await new Promise<void>((resolve) => {
    // The engine's own timer keeps no event loop alive: this one does.
    const timer = setTimeout(
      resolve,
      wait === undefined ? Math.min(milliseconds, POLL_MILLISECONDS) : milliseconds,
    );
    void wait?.value.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
