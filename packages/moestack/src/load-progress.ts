import { SingleBar } from 'cli-progress';
import type { Reporter } from './reporter.js';

/** How much of the weights is loaded. */
export interface LoadedBytes {
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

/** Shows a load: a bar on a terminal, a line per quarter elsewhere, events with `--json`. */
export class LoadProgress {
  readonly #reporter: Reporter;
  readonly #bar: SingleBar | undefined;
  #quarters = 0;
  #running = false;

  constructor(reporter: Reporter) {
    this.#reporter = reporter;
    const { stderr } = reporter.streams;
    if (reporter.json || stderr.isTTY !== true) return;
    this.#bar = new SingleBar({
      stream: stderr,
      format: 'loading {bar} {percentage}% of {megabytes} MB',
      barCompleteChar: '#',
      barIncompleteChar: '-',
      hideCursor: true,
      clearOnComplete: true,
    });
  }

  update({ loadedBytes, totalBytes }: LoadedBytes): void {
    const megabytes = (totalBytes / 1e6).toFixed(1);
    if (this.#bar !== undefined) {
      if (!this.#running) this.#bar.start(totalBytes, 0, { megabytes });
      this.#running = true;
      this.#bar.update(loadedBytes);
      return;
    }
    const quarters = Math.floor((4 * loadedBytes) / Math.max(1, totalBytes));
    if (quarters <= this.#quarters) return;
    this.#quarters = quarters;
    this.#reporter.note(
      { event: 'loading', loadedBytes, totalBytes },
      `loading: ${quarters * 25}% of ${megabytes} MB`,
    );
  }

  /** Ends the display, also after a failure. */
  stop(): void {
    if (this.#running) this.#bar?.stop();
    this.#running = false;
  }
}
