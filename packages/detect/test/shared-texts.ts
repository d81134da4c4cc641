import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

const INSIDE = 'golden/detect/texts';

/** Folder with texts that may not be in the repository: in `MOESTACK_SHARED`, or in a `shared` folder next to a parent; or undefined. */
export function sharedTexts(): string | undefined {
  const named = process.env['MOESTACK_SHARED'];
  if (named !== undefined) return existsSync(join(named, INSIDE)) ? join(named, INSIDE) : undefined;
  for (let folder = import.meta.dirname; folder !== dirname(folder); folder = dirname(folder)) {
    const candidate = join(folder, 'shared', INSIDE);
    if (existsSync(candidate)) return candidate;
  }
  return undefined;
}
