/**
 * What differs between MPI implementations below their common C interface: handles are addresses of data in Open MPI and integers in
 * MPICH and its relatives (Intel MPI, MVAPICH, Cray MPICH share its ABI). Values of the MPICH column are fixed by the MPICH ABI initiative.
 */
export interface Abi {
  readonly name: 'openmpi' | 'mpich';
  /** C type of communicators, datatypes, operations and error handlers, as an integer of the same width. */
  readonly handleType: 'int64_t' | 'int';
  readonly requestBytes: 8 | 4;
  readonly byte: number;
  readonly float: number;
  readonly int: number;
  readonly sum: number;
  readonly max: number;
  readonly min: number;
  readonly world: number;
  readonly errorsReturn: number;
  readonly undefinedColor: number;
  readonly inPlace: number;
  /** Error class of a message longer than its receive. */
  readonly truncate: number;
  /** Where MPI_Status holds the bytes received: index of the low and the high half in 32-bit words, and how far the high half is shifted. */
  readonly countLow: number;
  readonly countHigh: number;
  readonly countHighShift: number;
}

/** Large enough for MPI_Status of either. */
export const STATUS_BYTES = 64;

/** The constants of Open MPI; `address` gives the address of a data symbol. */
export function openMpiAbi(address: (symbol: string) => number): Abi {
  return {
    name: 'openmpi',
    handleType: 'int64_t',
    requestBytes: 8,
    byte: address('ompi_mpi_byte'),
    float: address('ompi_mpi_float'),
    int: address('ompi_mpi_int'),
    sum: address('ompi_mpi_op_sum'),
    max: address('ompi_mpi_op_max'),
    min: address('ompi_mpi_op_min'),
    world: address('ompi_mpi_comm_world'),
    errorsReturn: address('ompi_mpi_errors_return'),
    undefinedColor: -32766,
    inPlace: 1,
    truncate: 15,
    countLow: 4,
    countHigh: 5,
    countHighShift: 0,
  };
}

/** The constants of MPICH and implementations with its ABI. */
export const mpichAbi: Abi = {
  name: 'mpich',
  handleType: 'int',
  requestBytes: 4,
  byte: 0x4c00010d,
  float: 0x4c00040a,
  int: 0x4c000405,
  sum: 0x58000003,
  max: 0x58000001,
  min: 0x58000002,
  world: 0x44000000,
  errorsReturn: 0x54000001,
  undefinedColor: -32766,
  inPlace: -1,
  truncate: 14,
  countLow: 0,
  countHigh: 1,
  countHighShift: 1,
};

/** A C function of integer arguments; pointers are passed as addresses. */
export type Call = (...values: number[]) => number;

/** Prototypes: `p` a pointer, `i` an int, `h` a handle. */
const prototypes = {
  MPI_Initialized: 'p',
  MPI_Finalized: 'p',
  MPI_Init_thread: 'ppip',
  MPI_Finalize: '',
  MPI_Abort: 'hi',
  MPI_Comm_rank: 'hp',
  MPI_Comm_size: 'hp',
  MPI_Comm_dup: 'hp',
  MPI_Comm_split: 'hiip',
  MPI_Comm_free: 'p',
  MPI_Comm_set_errhandler: 'hh',
  MPI_Error_class: 'ip',
  MPI_Error_string: 'ipp',
  MPI_Isend: 'pihiihp',
  MPI_Irecv: 'pihiihp',
  MPI_Send_init: 'pihiihp',
  MPI_Recv_init: 'pihiihp',
  MPI_Start: 'p',
  MPI_Test: 'ppp',
  MPI_Request_free: 'p',
  MPI_Barrier: 'h',
  MPI_Allreduce: 'ppihhh',
  MPI_Reduce_scatter: 'ppphhh',
  MPI_Allgatherv: 'pihppphh',
  MPI_Alltoallv: 'ppphppphh',
  MPI_Bcast: 'pihih',
  MPI_Reduce: 'ppihhih',
  MPI_Gatherv: 'pihppphih',
  MPI_Scatterv: 'ppphpihih',
  MPI_Ibarrier: 'hp',
  MPI_Iallreduce: 'ppihhhp',
  MPI_Ireduce_scatter: 'ppphhhp',
  MPI_Iallgatherv: 'pihppphhp',
  MPI_Ialltoallv: 'ppphppphhp',
  MPI_Ibcast: 'pihihp',
  MPI_Ireduce: 'ppihhihp',
  MPI_Igatherv: 'pihppphihp',
  MPI_Iscatterv: 'ppphpihihp',
} as const;

/** Every MPI function that is used. */
export type MpiFunctions = { readonly [Name in keyof typeof prototypes]: Call };

/** Binds all functions through `bind`, which takes a C declaration. */
export function bindFunctions(abi: Abi, bind: (declaration: string) => Call): MpiFunctions {
  const types: Readonly<Record<string, string>> = { p: 'int64_t', i: 'int', h: abi.handleType };
  const entries = Object.entries(prototypes).map(([name, letters]) => {
    const parameters = [...letters].map((letter, index) => `${types[letter]} a${index}`);
    return [name, bind(`int ${name}(${parameters.join(', ')})`)] as const;
  });
  return Object.fromEntries(entries) as unknown as MpiFunctions;
}
