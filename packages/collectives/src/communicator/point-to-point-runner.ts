import { CollectivesError } from '../errors.js';
import type { Runner } from './runner.js';
import type { Channel, ReceiveChannel, SendChannel, Transport } from './transport.js';

/** One end of a stream of messages. */
export interface Stream {
  readonly transport: Transport;
  readonly peer: number;
  readonly tag: number;
  readonly region: Uint8Array;
  /** One entry: elements to send, or received. */
  readonly counts: Int32Array;
  readonly elementBytes: number;
  onClose(): void;
}

abstract class StreamRunner<C extends Channel> implements Runner {
  readonly tagEnd = 0;
  protected readonly stream: Stream;
  protected readonly channel: C;

  protected constructor(stream: Stream, channel: C) {
    this.stream = stream;
    this.channel = channel;
  }

  abstract start(): void;
  abstract test(): boolean;

  missing(): readonly number[] {
    return [this.channel.peer];
  }

  close(): void {
    this.channel.close();
    this.stream.onClose();
  }
}

/** Sends `counts[0]` elements. */
export class SendRunner extends StreamRunner<SendChannel> {
  constructor(stream: Stream) {
    super(stream, stream.transport.openSend(stream.peer, stream.tag, stream.region));
  }

  start(): void {
    const count = this.stream.counts[0] as number;
    const bytes = count * this.stream.elementBytes;
    if (count < 0 || bytes > this.stream.region.length) {
      throw new CollectivesError({
        code: 'collectives/bad-shape',
        message: `expected at most ${this.stream.region.length / this.stream.elementBytes} elements to send, got ${count}`,
        value: count,
        remedy: 'plan a larger count',
      });
    }
    this.channel.start(bytes);
  }

  test(): boolean {
    return this.channel.test();
  }
}

/** Receives; `counts[0]` tells how many elements came. */
export class ReceiveRunner extends StreamRunner<ReceiveChannel> {
  constructor(stream: Stream) {
    super(stream, stream.transport.openReceive(stream.peer, stream.tag, stream.region));
  }

  start(): void {
    this.channel.start();
  }

  test(): boolean {
    if (!this.channel.test()) return false;
    this.stream.counts[0] = this.channel.transferredBytes / this.stream.elementBytes;
    return true;
  }
}
