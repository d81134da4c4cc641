/** An error as plain JSON data; see `encodeError`. */
export interface EncodedError {
  /** Format version, and the mark that tells it from other data. */
  moestackError: 1;
  name: string;
  message: string;
  isMoestack: boolean;
  code?: string;
  value?: unknown;
  remedy?: string;
  stack?: string;
  cause?: EncodedError;
}

const TEXTS = ['code', 'remedy', 'stack'] as const;
const MAX_DEPTH = 16;

/** Whether `data`, which may come from another process, has the form of an {@link EncodedError}. */
export function isEncodedError(data: unknown, depth = 0): data is EncodedError {
  if (typeof data !== 'object' || data === null || depth > MAX_DEPTH) return false;
  const record = data as Record<string, unknown>;
  return (
    record['moestackError'] === 1 &&
    typeof record['name'] === 'string' &&
    typeof record['message'] === 'string' &&
    TEXTS.every((key) => record[key] === undefined || typeof record[key] === 'string') &&
    (record['cause'] === undefined || isEncodedError(record['cause'], depth + 1))
  );
}
