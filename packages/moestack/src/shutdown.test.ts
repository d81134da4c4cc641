import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { aborted, abortOnSignal } from './shutdown.js';

function setUp() {
  const source = new EventEmitter();
  const forced: string[] = [];
  const clock = { nowMs: 0 };
  const interrupt = abortOnSignal(source, {
    force: (signal) => forced.push(signal),
    nowMs: () => clock.nowMs,
  });
  return { source, forced, clock, ...interrupt };
}

describe('abortOnSignal', () => {
  it('aborts once, and takes an echo of the signal for what it is', async () => {
    const { source, signal, forced, clock } = setUp();
    const done = aborted(signal);
    source.emit('SIGINT');
    clock.nowMs = 200;
    source.emit('SIGTERM');
    await done;
    expect(signal.aborted).toBe(true);
    expect(forced).toEqual([]);
  });

  it('gives up when asked again later', () => {
    const { source, forced, clock } = setUp();
    source.emit('SIGINT');
    clock.nowMs = 1500;
    source.emit('SIGINT');
    expect(forced).toEqual(['SIGINT']);
    expect(source.listenerCount('SIGINT') + source.listenerCount('SIGTERM')).toBe(0);
  });

  it('leaves no listener behind', () => {
    const { source, dispose } = setUp();
    dispose();
    expect(source.listenerCount('SIGINT') + source.listenerCount('SIGTERM')).toBe(0);
  });
});
