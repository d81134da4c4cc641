import { SglangBackend, VllmBackend } from '../../src/index.js';
import type { EngineOptions, EngineServer, Fault } from './engine-server.js';
import { gatewayOver, type Running } from './gateway-over.js';
import { MooncakePair } from './mooncake-pair.js';
import { SglangPair } from './sglang-pair.js';
import { VllmPair } from './vllm-pair.js';

/** One kind of pool behind a gateway, with one view of its state for all kinds. */
export interface PoolSubject {
  readonly running: Running;
  /** Pinned blocks, open transfers or rooms. */
  readonly held: () => number;
  readonly busy: () => number;
  readonly violations: () => readonly string[];
  readonly servers: Readonly<Record<'prefill' | 'decode', EngineServer>>;
  readonly fail: (leg: 'prefill' | 'decode', fault: (index: number) => Fault | undefined) => void;
  readonly stop: () => Promise<void>;
}

type Make = (options?: EngineOptions, retries?: { maxAttempts: number }) => Promise<PoolSubject>;

const once = { maxAttempts: 1 };
const common = {
  name: 'pd',
  health: false,
  breaker: { failures: 1e6 },
} as const;

interface Pair {
  readonly prefill: EngineServer;
  readonly decode: EngineServer;
  readonly violations: readonly string[];
  readonly running: number;
  stop(): Promise<void>;
}

async function subject(
  pair: Pair,
  backend: SglangBackend | VllmBackend,
  held: () => number,
): Promise<PoolSubject> {
  const running = await gatewayOver({ backend });
  return {
    running,
    held,
    busy: () => pair.running,
    violations: () => pair.violations,
    servers: pair,
    fail: (leg, fault) => {
      pair[leg].fault = fault;
    },
    async stop() {
      await running.close();
      await pair.stop();
    },
  };
}

export const vllmSubject: Make = async (options = {}, retry = once) => {
  const pair = await new VllmPair({ splitBytes: true, ...options }).start();
  const backend = new VllmBackend({
    ...common,
    retry,
    // Prefills are short here, however slow the machine is.
    prefillGraceSeconds: 10,
    prefill: [{ url: pair.prefill.url }],
    decode: [{ url: pair.decode.url }],
  });
  return subject(pair, backend, () => pair.pinned);
};

const mooncakeSubject: Make = async (options = {}, retry = once) => {
  const pair = await new MooncakePair({ splitBytes: true, ...options }).start();
  const backend = new VllmBackend({
    ...common,
    retry,
    connector: 'mooncake',
    prefillGraceSeconds: 10,
    prefill: [{ url: pair.prefill.url, bootstrapPort: pair.bootstrapPort }],
    decode: [{ url: pair.decode.url }],
  });
  return subject(pair, backend, () => pair.openTransfers);
};

const sglangSubject: Make = async (options = {}, retry = once) => {
  const pair = await new SglangPair({ splitBytes: true, ...options }).start();
  const backend = new SglangBackend({
    ...common,
    retry,
    prefill: [{ url: pair.prefill.url }],
    decode: [{ url: pair.decode.url }],
  });
  return subject(pair, backend, () => pair.openRooms);
};

/** All kinds, by name. */
export const poolKinds: readonly (readonly [name: string, make: Make])[] = [
  ['vLLM', vllmSubject],
  ['vLLM Mooncake', mooncakeSubject],
  ['SGLang', sglangSubject],
];
