import { describe, expect, it } from 'vitest';
import { EventQueue } from './event-queue.js';

const usage = { promptTokens: 1, completionTokens: 1, cachedTokens: 0 };
const finish = { type: 'finish', reason: 'stop', usage } as const;

describe('EventQueue', () => {
  it('keeps the order start, text, finish', async () => {
    const queue = new EventQueue();
    queue.pushDelta({ type: 'delta', text: 'a' });
    queue.finish(finish);
    queue.start({ type: 'start', promptTokens: 1 });
    expect((await queue.next()).type).toBe('start');
    expect(await queue.next()).toEqual({ type: 'delta', text: 'a' });
    expect(await queue.next()).toEqual(finish);
  });

  it('joins texts that wait for a slow reader', async () => {
    const queue = new EventQueue();
    const entry = { id: 1, token: 'a', bytes: [97], logprob: -1, top: [] };
    for (const text of ['a', 'b', 'c']) queue.pushDelta({ type: 'delta', text, logprobs: [entry] });
    expect(await queue.next()).toEqual({ type: 'delta', text: 'abc', logprobs: [entry, entry, entry] });
  });

  it('wakes a reader that waits', async () => {
    const queue = new EventQueue();
    const next = queue.next();
    queue.pushDelta({ type: 'delta', text: 'a' });
    expect(await next).toEqual({ type: 'delta', text: 'a' });
  });

  it('fails a reader that waits, and drops what was there', async () => {
    const queue = new EventQueue();
    const next = queue.next();
    queue.fail(new Error('first'));
    queue.fail(new Error('second'));
    await expect(next).rejects.toThrow('first');
    queue.pushDelta({ type: 'delta', text: 'a' });
    await expect(queue.next()).rejects.toThrow('first');
  });
});
