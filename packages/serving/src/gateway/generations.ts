import type { Backend, BackendEvent, GenerateRequest } from '../backend.js';
import { ServingError } from '../errors.js';

type Start = Extract<BackendEvent, { type: 'start' }>;
type Finish = Extract<BackendEvent, { type: 'finish' }>;
type Delta = Extract<BackendEvent, { type: 'delta' }>;

/** A generation that its backend has admitted. */
export interface Admitted {
  readonly request: GenerateRequest;
  readonly start: Start;
  readonly events: AsyncIterator<BackendEvent>;
}

/** A finished continuation. */
export interface Collected {
  readonly start: Start;
  readonly text: string;
  readonly logprobs: NonNullable<Delta['logprobs']>;
  readonly finish: Finish;
}

/**
 * Starts all generations of one HTTP request and waits until each is admitted, so that what can fail early fails with
 * an HTTP status. If one fails, `abort` ends the others.
 */
export async function admitAll(
  backend: Backend,
  requests: readonly GenerateRequest[],
  signal: AbortSignal,
  abort: (reason: unknown) => void,
): Promise<Admitted[]> {
  const admissions = requests.map((request) => admit(backend, request, signal));
  try {
    return await Promise.all(admissions);
  } catch (error) {
    abort(error);
    const settled = await Promise.allSettled(admissions);
    await releaseAll(settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])));
    throw error;
  }
}

async function admit(backend: Backend, request: GenerateRequest, signal: AbortSignal): Promise<Admitted> {
  const events = backend.generate(request, { signal })[Symbol.asyncIterator]();
  const first = await events.next();
  if (first.done || first.value.type !== 'start') throw brokenBackend(backend, 'did not begin with "start"');
  return { request, start: first.value, events };
}

/**
 * Reads a generation to its end.
 *
 * @param observe - sees every event.
 */
export async function collect(
  backend: Backend,
  admitted: Admitted,
  observe: (event: BackendEvent) => void,
): Promise<Collected> {
  const logprobs: NonNullable<Delta['logprobs']>[number][] = [];
  let text = '';
  for (;;) {
    const next = await admitted.events.next();
    if (next.done) throw brokenBackend(backend, 'ended without "finish"');
    const event = next.value;
    observe(event);
    if (event.type === 'finish') {
      await admitted.events.return?.();
      return { start: admitted.start, text, logprobs, finish: event };
    }
    if (event.type !== 'delta') continue;
    text += event.text;
    for (const entry of event.logprobs ?? []) logprobs.push(entry);
  }
}

/**
 * The events of several generations as they come, each with its choice's index. Holds one event per generation at
 * most; ends after every one's `finish`. If one fails, `abort` ends the others.
 */
export async function* interleave(
  backend: Backend,
  all: readonly Admitted[],
  abort: (reason: unknown) => void,
): AsyncGenerator<{ index: number; event: Delta | Finish }> {
  type Settled = { index: number; result: IteratorResult<BackendEvent> };
  const pending = new Map<number, Promise<Settled>>();
  const ask = (index: number, admitted: Admitted) =>
    pending.set(
      index,
      admitted.events.next().then((result) => ({ index, result })),
    );
  all.forEach((admitted, index) => {
    ask(index, admitted);
  });
  try {
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      if (result.done) throw brokenBackend(backend, 'ended without "finish"');
      const event = result.value;
      if (event.type === 'start') throw brokenBackend(backend, 'sent "start" twice');
      // Removed and added again, so that it queues behind the others and a fast choice cannot starve them.
      pending.delete(index);
      if (event.type === 'finish') await all[index]?.events.return?.();
      else ask(index, all[index]!);
      yield { index, event };
    }
  } catch (error) {
    abort(error);
    throw error;
  } finally {
    // Promises left behind may still reject; nobody waits for them any more.
    for (const promise of pending.values()) promise.catch(() => undefined);
  }
}

/** Lets the backend tidy up behind generations that nobody reads on; call it after an abort. */
export async function releaseAll(all: readonly Admitted[]): Promise<void> {
  await Promise.allSettled(all.map((admitted) => admitted.events.return?.()));
}

function brokenBackend(backend: Backend, what: string): ServingError {
  return new ServingError({
    code: 'serving/broken-backend',
    message: `the backend ${backend.name} ${what}`,
    remedy: 'this is a defect of the backend: please report it',
    value: backend.name,
  });
}
