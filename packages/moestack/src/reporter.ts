import { MoestackError } from '@moestack/schemas/errors';

/** Where a command writes. */
export interface CliStreams {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

/** Something a command tells; `event` names it, the rest is its data. */
export interface CliEvent {
  readonly event: string;
  readonly [field: string]: unknown;
}

/** Writes what a command tells: lines for people, or with `json` one JSON object a line, all on stdout. */
export class Reporter {
  readonly json: boolean;
  readonly streams: CliStreams;

  constructor(streams: CliStreams, json: boolean) {
    this.streams = streams;
    this.json = json;
  }

  /**
   * A result.
   *
   * @param lines - the same for people.
   */
  result(event: CliEvent, lines: readonly string[]): void {
    if (this.json) this.#write(event);
    else for (const line of lines) this.streams.stdout.write(`${line}\n`);
  }

  /** Something on the way, for people on stderr. */
  note(event: CliEvent, line: string): void {
    if (this.json) this.#write(event);
    else this.streams.stderr.write(`${line}\n`);
  }

  /** A failure: what was wrong and what to do. */
  error(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (!MoestackError.isInstance(error)) {
      this.note({ event: 'error', code: 'internal', message }, `error: ${message}`);
      return;
    }
    const { code, remedy } = error;
    this.note({ event: 'error', code, message, remedy }, `error: ${message}\n${remedy} (${code})`);
  }

  #write(event: CliEvent): void {
    this.streams.stdout.write(`${JSON.stringify(event)}\n`);
  }
}
