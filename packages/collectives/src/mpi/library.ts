import { createRequire } from 'node:module';
import { CollectivesError } from '../errors.js';
import { type Abi, bindFunctions, type Call, type MpiFunctions, mpichAbi, openMpiAbi } from './abi.js';

/** The part of koffi that is used. */
interface Koffi {
  load(path: string | null, options?: { readonly global?: boolean; readonly lazy?: boolean }): KoffiLibrary;
  address(value: unknown): bigint;
}

interface KoffiLibrary {
  func(declaration: string): Call;
  symbol(name: string, type: string): bigint;
}

const CANDIDATES = {
  openmpi: ['libmpi.so.40', 'libmpi.so.80', 'libmpi.so', 'libmpi.dylib'],
  mpich: ['libmpich.so.12', 'libmpi.so.12', 'libmpich.so', 'libmpi.12.dylib'],
} as const;

/**
 * Defaults for UCX, which MPICH and some builds of Open MPI sit on. It would patch malloc, sbrk and mmap in place while Node's other threads use them, which was seen
 * to unmap live heap; without the patches it registers memory for each RDMA transfer instead of remembering it. And its handler of SIGSEGV would hide
 * the one by which V8 turns bad WebAssembly accesses into exceptions. What the user has set stays.
 */
const ucxDefaults: Readonly<Record<string, string>> = {
  UCX_MEM_MMAP_HOOK_MODE: 'none',
  UCX_MEM_MALLOC_HOOKS: 'n',
  UCX_MEM_MALLOC_RELOC: 'n',
  UCX_ERROR_SIGNALS: '',
};

/** An MPI library bound to this process. */
export interface MpiLibrary {
  readonly path: string;
  readonly abi: Abi;
  readonly mpi: MpiFunctions;
  /** Address of a typed array's first byte; memory of an ArrayBuffer does not move. */
  address(view: ArrayBufferView): number;
  /** Lets another process run. */
  yieldProcessor(): void;
}

/**
 * Loads the MPI library that fits how this process was started.
 *
 * @param path - a library to load instead of the usual names.
 * @throws CollectivesError `collectives/unsupported` when koffi or MPI is not installed.
 */
export function loadMpi(path: string | undefined): MpiLibrary {
  const koffi = loadKoffi();
  for (const [name, value] of Object.entries(ucxDefaults)) process.env[name] ??= value;
  const names = path === undefined ? candidates() : [path];
  const problems: string[] = [];
  for (const name of names) {
    let library: KoffiLibrary;
    try {
      // Plugins of older Open MPI builds expect its symbols in the global scope.
      library = koffi.load(name, { global: true, lazy: true });
    } catch (error) {
      problems.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      continue;
    }
    const abi = probe(library);
    const yieldCall = koffi.load(null).func('int sched_yield()');
    return {
      path: name,
      abi,
      mpi: bindFunctions(abi, (declaration) => library.func(declaration)),
      address: (view) => (view.byteLength === 0 ? 0 : Number(koffi.address(view))),
      yieldProcessor: () => void yieldCall(),
    };
  }
  throw new CollectivesError({
    code: 'collectives/unsupported',
    message: `no MPI library could be loaded: ${problems.join('; ')}`,
    value: names,
    remedy: 'install Open MPI or MPICH, or pass the path of its library as `library`',
  });
}

/** Asks the process manager's environment which implementation started this process. */
function candidates(): string[] {
  const { env } = process;
  const preferMpich =
    env['OMPI_COMM_WORLD_SIZE'] === undefined &&
    (env['PMI_SIZE'] ?? env['PMI_RANK'] ?? env['PMI_FD']) !== undefined;
  return preferMpich
    ? [...CANDIDATES.mpich, ...CANDIDATES.openmpi]
    : [...CANDIDATES.openmpi, ...CANDIDATES.mpich];
}

function probe(library: KoffiLibrary): Abi {
  try {
    library.symbol('ompi_mpi_comm_world', 'void *');
  } catch {
    return mpichAbi;
  }
  return openMpiAbi((symbol) => Number(library.symbol(symbol, 'void *')));
}

function loadKoffi(): Koffi {
  try {
    return createRequire(import.meta.url)('koffi') as Koffi;
  } catch (cause) {
    throw new CollectivesError({
      code: 'collectives/unsupported',
      message: 'the mpi transport needs the package koffi, which is not installed',
      remedy: 'install koffi next to @moestack/collectives',
      cause,
    });
  }
}
