import { CollectivesError } from '../errors.js';
import type { Route } from './route.js';

/**
 * The routing of one dispatch on this rank: what a combine needs to return rows, and what a cached dispatch replays. Valid until its slot is used
 * again, `inFlight` dispatches later; {@link DispatchHandle.retain} makes a copy that stays.
 */
export class DispatchHandle {
  /** Tokens that this rank sent. */
  readonly tokens: number;
  readonly #route: Route;
  readonly #owner: object;
  readonly #isCurrent: () => boolean;

  /** @internal */
  constructor(owner: object, route: Route, isCurrent: () => boolean) {
    this.#owner = owner;
    this.#route = route;
    this.#isCurrent = isCurrent;
    this.tokens = route.tokens;
  }

  /** Whether the routing can still be used. */
  get valid(): boolean {
    return this.#isCurrent();
  }

  /** Rows that this rank received. */
  get rows(): number {
    return this.#route.rows;
  }

  /** A handle over a copy of the routing, for example for a backward pass. */
  retain(): DispatchHandle {
    return new DispatchHandle(this.#owner, this.routeOf(this.#owner).copy(), always);
  }

  /**
   * The route, for the dispatcher that made it.
   *
   * @internal
   */
  routeOf(owner: object): Route {
    if (owner !== this.#owner || !this.#isCurrent()) {
      const foreign = owner !== this.#owner;
      throw new CollectivesError({
        code: 'collectives/bad-config',
        message: foreign
          ? 'the handle comes from another dispatcher'
          : 'the handle was overwritten by a later dispatch',
        remedy: foreign
          ? 'pass a handle of this dispatcher'
          : 'combine before inFlight further dispatches, raise inFlight, or retain() the handle',
      });
    }
    return this.#route;
  }
}

function always(): boolean {
  return true;
}
