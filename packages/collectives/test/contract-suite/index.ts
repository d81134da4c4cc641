import type { Communicator } from '../../src/communicator/communicator.js';
import { agreements } from './agreement-cases.js';
import { groups } from './group-cases.js';
import { operations } from './operation-cases.js';
import type { ContractCase } from './support.js';

/** Everything that a transport must do. */
export const contractCases: readonly ContractCase[] = [...operations, ...agreements, ...groups];

/** The cases that make sense for a group of `size` ranks. */
export function casesFor(size: number, options: { readonly breaking: boolean }): readonly ContractCase[] {
  return contractCases.filter(
    (entry) => size >= (entry.minimumRanks ?? 1) && (options.breaking || entry.breaks !== true),
  );
}

/** Runs a case on this rank, on a duplicate of `comm` of its own, so that what it leaves behind does not reach the next one. */
export async function runCase(comm: Communicator, entry: ContractCase): Promise<void> {
  const own = await comm.dup();
  try {
    await entry.run(own);
    if (entry.breaks !== true) await own.barrier();
  } finally {
    own.close();
  }
}

export type { ContractCase };
