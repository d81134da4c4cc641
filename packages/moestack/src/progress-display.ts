import { SingleBar } from 'cli-progress';
import type { Reporter } from './reporter.js';

/** Options of {@link ProgressDisplay}. */
export interface ProgressOptions {
  /** What happens, for people: `converting`. Also the event's name. */
  readonly label: string;
  /** What is counted, in the text behind the bar: `of 12.3 MB`. */
  readonly total: (total: number) => string;
  /** Lines and events there are in all, where there is no bar; default 10. */
  readonly lines?: number;
  /** Names of the fields of the event; default `done` and `total`. */
  readonly fields?: readonly [done: string, total: string];
}

/** Shows how far long work is: a bar on a terminal, some lines elsewhere, events with `--json`. */
export class ProgressDisplay {
  readonly #reporter: Reporter;
  readonly #options: ProgressOptions;
  readonly #bar: SingleBar | undefined;
  #shown = 0;
  #running = false;

  constructor(reporter: Reporter, options: ProgressOptions) {
    this.#reporter = reporter;
    this.#options = options;
    const { stderr } = reporter.streams;
    if (reporter.json || stderr.isTTY !== true) return;
    this.#bar = new SingleBar({
      stream: stderr,
      format: `${options.label} {bar} {percentage}% of {size}`,
      barCompleteChar: '#',
      barIncompleteChar: '-',
      hideCursor: true,
      clearOnComplete: true,
    });
  }

  update(done: number, total: number): void {
    const { label, lines = 10, fields = ['done', 'total'] } = this.#options;
    const size = this.#options.total(total);
    if (this.#bar !== undefined) {
      if (!this.#running) this.#bar.start(total, 0, { size });
      this.#running = true;
      this.#bar.update(done);
      return;
    }
    const step = Math.floor((lines * done) / Math.max(1, total));
    if (step <= this.#shown) return;
    this.#shown = step;
    const event = { event: label, [fields[0]]: done, [fields[1]]: total };
    this.#reporter.note(event, `${label}: ${Math.floor((100 * step) / lines)}% of ${size}`);
  }

  /** Ends the display, also after a failure. */
  stop(): void {
    if (this.#running) this.#bar?.stop();
    this.#running = false;
  }
}

/** Bytes in decimal megabytes. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
