/** Tenants of one engine by number, as the scheduler wants them. */
export class TenantTable {
  readonly #numbers = new Map<string, number>();
  readonly #weights = new Map<string, number>();
  readonly #most: number;
  readonly #setWeight: (tenant: number, weight: number) => void;

  /** @param most - numbers that there are; when they are used up, further tenants share the last one. */
  constructor(most: number, setWeight: (tenant: number, weight: number) => void) {
    this.#most = most;
    this.#setWeight = setWeight;
  }

  /** Number 0 is for requests of nobody in particular. */
  numberOf(tenant: { readonly id: string; readonly weight?: number } | undefined): number {
    if (tenant === undefined) return 0;
    const { id, weight = 1 } = tenant;
    let number = this.#numbers.get(id);
    if (number === undefined) {
      if (this.#numbers.size >= this.#most - 2) return this.#most - 1;
      number = this.#numbers.size + 1;
      this.#numbers.set(id, number);
    }
    if (this.#weights.get(id) !== weight) {
      this.#weights.set(id, weight);
      this.#setWeight(number, weight);
    }
    return number;
  }
}
