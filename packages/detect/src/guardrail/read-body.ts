/** A body is longer than it may be. */
export class BodyTooLargeError extends Error {}

/** Reads a body as text and stops at its limit. */
export async function readText(message: Request | Response, maximumBytes: number): Promise<string> {
  const reader = message.body?.getReader();
  if (reader === undefined) return '';
  const decoder = new TextDecoder();
  let size = 0;
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    size += value.length;
    if (size > maximumBytes) {
      // Not awaited: a branch of a cloned body is only cancelled once the other one is.
      reader.cancel().catch(() => undefined);
      throw new BodyTooLargeError(`expected a body of at most ${maximumBytes} bytes, got more`);
    }
    text += decoder.decode(value, { stream: true });
  }
}
