import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../random.js';
import { cacheAware, sessionAffinity } from './affinity-policies.js';
import type { Candidate, Policy } from './policy.js';
import { PrefixIndex } from './prefix-index.js';
import { leastLoadedPolicy, powerOfTwo, roundRobin } from './simple-policies.js';

const workers = (...running: number[]) =>
  running.map((load, index) => ({ name: `w${index}`, running: load }));
const hint = (prompt = '', session?: string) => ({ prompt, ...(session !== undefined && { session }) });
const all: [string, () => Policy][] = [
  ['round robin', roundRobin],
  ['least loaded', leastLoadedPolicy],
  ['power of two', () => powerOfTwo(seededRandom(1))],
  ['cache aware', () => cacheAware({ blockCharacters: 16 })],
  ['session affinity', () => sessionAffinity(roundRobin())],
];

describe.each(all)('%s', (_, make) => {
  it('chooses one of the candidates, whatever they are', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(fc.array(fc.nat(50), { minLength: 1, maxLength: 9 }), fc.string(), fc.option(fc.string())),
          { minLength: 1 },
        ),
        (calls) => {
          const policy = make();
          for (const [loads, prompt, session] of calls) {
            const candidates = workers(...loads);
            expect(candidates).toContain(policy.choose(candidates, hint(prompt, session ?? undefined)));
          }
        },
      ),
      { seed: 5, numRuns: 60 },
    );
  });

  it('spreads equal requests that come and go over equal workers', () => {
    const policy = make();
    const pool: { name: string; running: number; total: number }[] = workers(0, 0, 0, 0).map((worker) => ({
      ...worker,
      total: 0,
    }));
    for (let request = 0; request < 4000; request++) {
      const chosen = policy.choose(pool, hint(`prompt ${request} `.repeat(9), `session ${request}`));
      chosen.running += 1;
      chosen.total += 1;
      if (request >= 32) pool.toSorted((a, b) => b.running - a.running)[0]!.running -= 1;
    }
    for (const worker of pool) expect(worker.total).toBeGreaterThan(800);
  });
});

it('takes turns exactly', () => {
  const policy = roundRobin();
  const pool = workers(9, 0, 5);
  expect([0, 1, 2, 3].map(() => policy.choose(pool, hint()).name)).toEqual(['w0', 'w1', 'w2', 'w0']);
});

it('takes the least loaded', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(9), { minLength: 1 }), (loads) => {
      expect(leastLoadedPolicy().choose(workers(...loads), hint()).running).toBe(Math.min(...loads));
    }),
    { seed: 6 },
  );
});

it('never takes the most loaded of three or more with power of two', () => {
  const policy = powerOfTwo(seededRandom(3));
  for (let draw = 0; draw < 500; draw++) expect(policy.choose(workers(1, 2, 9), hint()).name).not.toBe('w2');
});

describe('cache aware', () => {
  const system = 'You are a helpful assistant. '.repeat(20);

  it('sends prompts with a common beginning to one worker and others elsewhere', () => {
    const policy = cacheAware({ blockCharacters: 32 });
    const pool = workers(0, 0, 0);
    const first = policy.choose(pool, hint(`${system}question one`));
    for (let index = 0; index < 20; index++) {
      expect(policy.choose(pool, hint(`${system}question ${index}`))).toBe(first);
    }
    const others = [1, 2, 3].map((n) => policy.choose(pool, hint(`${n}`.repeat(400))).name);
    expect(new Set(others).size).toBeGreaterThan(1);
  });

  it('prefers the longest match', () => {
    const policy = cacheAware({ blockCharacters: 16 });
    const [a, b] = workers(0, 0) as [Candidate, Candidate];
    policy.choose([a], hint(system));
    policy.choose([b], hint(`${system}and then much more of the same conversation`));
    expect(policy.choose([a, b], hint(`${system}and then much more of the same conversation, went on`))).toBe(
      b,
    );
  });

  it('gives way when the worker is loaded beyond both bounds, and only then', () => {
    const policy = () => {
      const made = cacheAware({ blockCharacters: 16, maxLoadGap: 4, maxLoadRatio: 2 });
      made.choose(workers(0), hint(system));
      return made;
    };
    expect(policy().choose(workers(4, 0), hint(system)).name).toBe('w0');
    expect(policy().choose(workers(5, 0), hint(system)).name).toBe('w1');
    expect(policy().choose(workers(15, 10), hint(system)).name).toBe('w0');
    expect(policy().choose(workers(21, 10), hint(system)).name).toBe('w1');
  });
});

describe('the prefix index', () => {
  it('never holds more than its bound and matches what a plain list of prompts would', () => {
    const prompt = fc
      .array(fc.constantFrom('aaaa', 'bbbb', 'cccc'), { maxLength: 6 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(prompt, fc.constantFrom('x', 'y')), { maxLength: 12 }),
        prompt,
        (added, asked) => {
          const index = new PrefixIndex({ blockCharacters: 4, maxBlocks: 1000 });
          for (const [text, worker] of added) index.add(index.blocks(text), worker);
          const expected = new Map<string, number>();
          for (const [text, worker] of added) {
            let blocks = 0;
            while (
              blocks < asked.length / 4 &&
              asked.startsWith(text.slice(0, (blocks + 1) * 4)) &&
              text.length > blocks * 4
            )
              blocks += 1;
            if (blocks > 0) expected.set(worker, Math.max(blocks, expected.get(worker) ?? 0));
          }
          expect(index.matches(index.blocks(asked))).toEqual(expected);
        },
      ),
      { seed: 7, numRuns: 300 },
    );
    const small = new PrefixIndex({ blockCharacters: 4, maxBlocks: 10 });
    for (let n = 0; n < 100; n++) small.add(small.blocks(`${n}`.padStart(4, '0').repeat(5)), 'x');
    expect(small.size).toBe(10);
  });
});

describe('session affinity', () => {
  it('keeps a session where it is and moves only what a lost worker had', () => {
    const policy = sessionAffinity(roundRobin());
    const pool = workers(0, 0, 0, 0, 0);
    const place = (candidates: Candidate[], session: string) =>
      policy.choose(candidates, hint('', session)).name;
    for (let n = 0; n < 300; n++) {
      const before = place(pool, `s${n}`);
      expect(place(pool, `s${n}`)).toBe(before);
      const after = place(
        pool.filter((worker) => worker.name !== 'w3'),
        `s${n}`,
      );
      if (before !== 'w3') expect(after).toBe(before);
    }
  });

  it('gives way under load', () => {
    const policy = sessionAffinity(roundRobin(), { maxLoadGap: 2, maxLoadRatio: 1 });
    const home = policy.choose(workers(0, 0), hint('', 's')).name;
    const loaded = workers(0, 0).map((worker) => ({ ...worker, running: worker.name === home ? 9 : 0 }));
    expect(policy.choose(loaded, hint('', 's')).name).not.toBe(home);
  });
});
