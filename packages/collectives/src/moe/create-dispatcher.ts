import type { Communicator, RunOptions, WaitOptions } from '../communicator/communicator.js';
import { blockUntil, waitUntil } from '../communicator/waiting.js';
import { compareConfigs, encodeConfig } from './agree-config.js';
import { invalidConfig } from './checks.js';
import { type DispatcherConfig, type DispatcherOptions, resolveConfig } from './config.js';
import { LowLatencyDispatcher } from './low-latency-dispatcher.js';
import { Dispatcher } from './normal-dispatcher.js';

/** The dispatcher of one mode. */
export type ModeDispatcher<Mode> = Mode extends 'low-latency' ? LowLatencyDispatcher : Dispatcher;

/** The dispatcher of the mode in `Options`; of either kind when the mode is not known to the compiler. */
export type DispatcherOf<Options extends DispatcherOptions> = ModeDispatcher<Options['mode']>;

/**
 * Opens a dispatcher on a communicator of its own (a `dup`), with every buffer that it will need. Collective.
 *
 * @throws MismatchError on every rank when options differ; {@link CollectivesError} for options that do not fit the communicator, at once.
 *
 * @example
 * ```ts
 * import { createDispatcher, createLoopback } from '@moestack/collectives';
 *
 * const ranks = createLoopback(2);
 * const received = await Promise.all(
 *   ranks.map(async (comm) => {
 *     const dispatcher = await createDispatcher(comm, {
 *       mode: 'direct',
 *       experts: 4,
 *       topK: 1,
 *       hidden: 2,
 *       maxTokensPerRank: 1,
 *       payload: 'f32',
 *     });
 *     const { rows, srcRank } = await dispatcher.dispatch({
 *       x: Float32Array.of(comm.rank, 1),
 *       topkIdx: Int32Array.of(3 - comm.rank), // rank 0 asks for expert 3, rank 1 for expert 2
 *     });
 *     return [rows, ...srcRank.subarray(0, rows)];
 *   }),
 * );
 * console.log(received); // [0], [2, 0, 1]
 * ```
 */
export async function createDispatcher<const Options extends DispatcherOptions>(
  comm: Communicator,
  options: Options & WaitOptions,
): Promise<DispatcherOf<Options>> {
  const config = configFor(comm, options);
  const wait: WaitOptions = options.signal === undefined ? {} : { signal: options.signal };
  const timeoutSeconds = options.timeoutSeconds ?? comm.timeoutSeconds;
  const own = await comm.dup({ ...wait, timeoutSeconds });
  const agreement = own.transport.agree(encodeConfig(config));
  await waitUntil(own.transport, 'agreement on the dispatcher', agreement, { ...wait, timeoutSeconds });
  return open(own, config, agreement.result()) as DispatcherOf<Options>;
}

/** {@link createDispatcher} for ranks in their own thread or process: blocks. */
export function createDispatcherSync<const Options extends DispatcherOptions>(
  comm: Communicator,
  options: Options & RunOptions,
): DispatcherOf<Options> {
  const config = configFor(comm, options);
  const timeoutSeconds = options.timeoutSeconds ?? comm.timeoutSeconds;
  const own = comm.dupSync({ timeoutSeconds });
  const agreement = own.transport.agree(encodeConfig(config));
  blockUntil(own.transport, 'agreement on the dispatcher', agreement, timeoutSeconds);
  return open(own, config, agreement.result()) as DispatcherOf<Options>;
}

function configFor(comm: Communicator, options: DispatcherOptions): DispatcherConfig {
  const { nodes, ranksPerNode, size } = comm.topology;
  // Without equal nodes of consecutive ranks there is no same local index to forward through; the other modes only need rank numbers.
  if (ranksPerNode === 0 && options.mode === 'hierarchical') {
    throw invalidConfig('mode', options.mode, 'direct or low-latency on nodes of different sizes');
  }
  return resolveConfig(
    options,
    ranksPerNode === 0 ? { nodes: 1, ranksPerNode: size } : { nodes, ranksPerNode },
  );
}

function open(
  comm: Communicator,
  config: DispatcherConfig,
  payloads: readonly Uint8Array[],
): Dispatcher | LowLatencyDispatcher {
  try {
    compareConfigs(payloads);
    return config.mode === 'low-latency'
      ? new LowLatencyDispatcher(comm, config)
      : new Dispatcher(comm, config);
  } catch (error) {
    comm.close();
    throw error;
  }
}
