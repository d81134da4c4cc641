import { hashText } from './hash.js';
import { type Candidate, isOverloaded, type LoadGuard, leastLoaded, type Policy } from './policy.js';
import { PrefixIndex } from './prefix-index.js';

/** Options of {@link cacheAware}. */
export interface CacheAwareOptions extends LoadGuard {
  /** Default 256. */
  readonly blockCharacters?: number;
  /** Blocks remembered over all workers; default 100,000. */
  readonly maxBlocks?: number;
}

/**
 * The worker that has seen most of the prompt's beginning, unless it has too much to do; then, and for new prompts,
 * the least loaded.
 */
export function cacheAware(options: CacheAwareOptions = {}): Policy {
  const index = new PrefixIndex({
    blockCharacters: options.blockCharacters ?? 256,
    maxBlocks: options.maxBlocks ?? 100_000,
  });
  let next = 0;
  return {
    choose(candidates, { prompt }) {
      const blocks = index.blocks(prompt);
      const least = leastLoaded(candidates, next);
      next = (next + 1) % 0x7fff_ffff;
      let chosen = least;
      let deepest = 0;
      const matches = index.matches(blocks);
      for (const candidate of candidates) {
        const depth = matches.get(candidate.name) ?? 0;
        if (depth < deepest || depth === 0) continue;
        if (depth === deepest && candidate.running >= chosen.running) continue;
        deepest = depth;
        chosen = candidate;
      }
      if (isOverloaded(chosen, least, options)) chosen = least;
      index.add(blocks, chosen.name);
      return chosen;
    },
  };
}

/** Options of {@link sessionAffinity}. */
export interface SessionAffinityOptions extends LoadGuard {
  /** Header that names the session; default `x-session-id`. */
  readonly header?: string;
}

/**
 * The same worker for all requests of a session, by rendezvous hashing: when a worker comes or goes, only the sessions
 * it gains or loses move. Gives way to the session's next choice while a worker has too much to do; requests without
 * a session are spread by `otherwise`.
 */
export function sessionAffinity(otherwise: Policy, options: SessionAffinityOptions = {}): Policy {
  const { header, ...guard } = options;
  return {
    ...(header !== undefined && { sessionHeader: header.toLowerCase() }),
    choose(candidates, hint) {
      const { session } = hint;
      if (session === undefined) return otherwise.choose(candidates, hint);
      const least = leastLoaded(candidates);
      let best: (typeof candidates)[number] | undefined;
      let bestScore = -1;
      for (const candidate of candidates) {
        if (isOverloaded(candidate, least, guard)) continue;
        const score = rendezvous(session, candidate);
        if (score <= bestScore) continue;
        best = candidate;
        bestScore = score;
      }
      return best ?? least;
    },
  };
}

function rendezvous(session: string, candidate: Candidate): number {
  const name = hashText(candidate.name, 0, candidate.name.length, 0);
  return hashText(session, 0, session.length, name);
}
