import type { Backend, BackendBase, BackendHealth, BackendMetrics, ServedModel } from '../backend.js';
import { ServingError, unknownModel } from '../errors.js';
import type { ForwardingBackend } from '../forward.js';

/** Anything that a gateway can stand before. */
export type AnyBackend = Backend | ForwardingBackend;

/** Whether requests are passed on as they are. */
export function isForwarding(backend: AnyBackend): backend is ForwardingBackend {
  return 'forward' in backend;
}

/** The backends of a gateway, by the models they serve. */
export class BackendSet implements BackendBase {
  readonly name: string;
  readonly all: readonly AnyBackend[];

  /** @throws {@link ServingError} for none, or two of one name. */
  constructor(backends: readonly AnyBackend[]) {
    const names = backends.map((backend) => backend.name);
    if (backends.length === 0 || new Set(names).size < names.length) {
      throw new ServingError({
        code: 'serving/bad-backends',
        message: `expected one or more backends with different names, got ${names.join(', ') || 'none'}`,
        remedy: 'name each backend differently',
        value: names,
      });
    }
    this.all = backends;
    this.name = names.join('+');
  }

  /** Whether every request is passed on as it is. */
  get onlyForwards(): boolean {
    return this.all.every(isForwarding);
  }

  /**
   * The backend of a model; without a model, the only one's.
   *
   * @throws {@link ServingError} 404 naming the models that are served.
   */
  async choose(model: string | undefined): Promise<AnyBackend> {
    const [first] = this.all;
    // A pool knows best what it serves; its own 404 names the models.
    if (this.all.length === 1 && isForwarding(first!) && first.serves(model ?? '') !== false) return first;
    for (const backend of this.all) {
      if (isForwarding(backend) && model !== undefined && backend.serves(model) === true) return backend;
    }
    const served: string[] = [];
    for (const backend of this.all) {
      const ids = (await modelsOf(backend)).map((card) => card.id);
      if (model === undefined ? ids.length > 0 : ids.includes(model)) return backend;
      served.push(...ids);
    }
    throw unknownModel(model ?? '', served);
  }

  /** Models of all; a pool that cannot say is left out. */
  async models(): Promise<readonly ServedModel[]> {
    const lists = await Promise.all(this.all.map(modelsOf));
    return lists.flat();
  }

  metrics(): BackendMetrics {
    const all = this.all.map((backend) => backend.metrics());
    const [first] = all;
    if (all.length === 1) return first!;
    const sum = (field: 'runningRequests' | 'waitingRequests' | 'handoverBytes' | 'handovers') =>
      all.reduce((total, one) => total + (one[field] ?? 0), 0);
    const withBatches = all.find((one) => one.decodeBatchSize !== undefined);
    return {
      runningRequests: sum('runningRequests'),
      waitingRequests: sum('waitingRequests'),
      handoverBytes: sum('handoverBytes'),
      handovers: sum('handovers'),
      stages: all.flatMap((one) => one.stages ?? []),
      ...(withBatches?.decodeBatchSize && { decodeBatchSize: withBatches.decodeBatchSize }),
    };
  }

  /** Well while any backend is. */
  health(): BackendHealth {
    const reports = this.all.map((backend) => backend.health());
    const failed = reports.filter((report) => report.status !== 'ok');
    const detail = failed.map((report) => report.detail ?? 'a backend failed').join('; ');
    return {
      status: failed.length < reports.length ? 'ok' : 'failed',
      ...(failed.length > 0 && { detail }),
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((backend) => backend.close()));
  }
}

async function modelsOf(backend: AnyBackend): Promise<readonly ServedModel[]> {
  if (!isForwarding(backend)) return backend.models();
  return backend.models().catch(() => []);
}
