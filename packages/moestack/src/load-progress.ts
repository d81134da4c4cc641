import { megabytes, ProgressDisplay } from './progress-display.js';
import type { Reporter } from './reporter.js';

/** How much of the weights is loaded. */
export interface LoadedBytes {
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

/** Shows a load: a bar on a terminal, a line per quarter elsewhere, events with `--json`. */
export class LoadProgress {
  readonly #display: ProgressDisplay;

  constructor(reporter: Reporter) {
    const fields = ['loadedBytes', 'totalBytes'] as const;
    this.#display = new ProgressDisplay(reporter, { label: 'loading', total: megabytes, lines: 4, fields });
  }

  update({ loadedBytes, totalBytes }: LoadedBytes): void {
    this.#display.update(loadedBytes, totalBytes);
  }

  /** Ends the display, also after a failure. */
  stop(): void {
    this.#display.stop();
  }
}
