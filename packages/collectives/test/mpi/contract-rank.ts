import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createTopology } from '../../src/index.js';
import { connectMpi } from '../../src/mpi/index.js';
import { casesFor, runCase } from '../contract-suite/index.js';
import { nativeCases } from './native-cases.js';

/** What one rank reports for the test that started it. */
export interface RankReport {
  readonly rank: number;
  readonly size: number;
  readonly results: { readonly name: string; readonly error?: string }[];
}

const folder = process.argv[2] as string;
const nodes = process.argv[3];
const pieceBytes = process.argv[4];
const library = process.argv[5];

const comm = connectMpi({
  timeoutSeconds: 20,
  ...(nodes === undefined || nodes === '' ? {} : { topology: createTopology(nodes.split(',').map(Number)) }),
  ...(library === undefined ? {} : { library }),
  ...(pieceBytes === undefined ? {} : { pieceBytes: Number(pieceBytes) }),
});
const results: { name: string; error?: string }[] = [];
const own = nativeCases.filter((entry) => comm.size >= (entry.minimumRanks ?? 1));
for (const entry of [...casesFor(comm.size, { breaking: false }), ...own]) {
  try {
    await runCase(comm, entry);
    results.push({ name: entry.name });
  } catch (error) {
    results.push({
      name: entry.name,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    break;
  }
}
const report: RankReport = { rank: comm.rank, size: comm.size, results };
writeFileSync(join(folder, `rank-${comm.rank}.json`), JSON.stringify(report));
comm.close();
