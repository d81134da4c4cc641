import { z } from 'zod';
import { ExpertSkew, Mtp, Precision, Slo, Workload } from '../cost/deployment.js';
import { SimulatorError } from '../errors.js';
import { Accelerator } from '../hardware/accelerator.js';
import { ModelShape } from '../model/model-shape.js';
import type { LayoutSpace } from './layouts.js';

/** What is to be planned, as it stands in a file. */
export const PlanRequest = z
  .strictObject({
    accelerator: Accelerator,
    model: ModelShape,
    workload: Workload,
    slo: Slo,
    gpus: z.int().min(1).max(65_536).describe('most GPUs that may be used'),
    goal: z
      .enum(['demand', 'cluster'])
      .default('demand')
      .describe(
        'demand: the cheapest deployment for the workload; cluster: the most requests of such a workload that the GPUs can serve',
      ),
    precision: Precision.default({ weights: 'fp8', attention: 'bf16', dispatch: 'fp8' }),
    mtp: Mtp.default({ enabled: false, draftTokens: 1, acceptance: 0.85 }),
    skew: ExpertSkew.default({ kind: 'powerLaw', alpha: 0.4 }),
    blockSizeTokens: z.int().min(1).max(4096).default(64),
  })
  .refine(
    ({ accelerator, precision }) => precision.weights !== 'fp4' || accelerator.flopsPerSecond.fp4 !== null,
    'expected an accelerator with FP4 tensor cores for weights in fp4',
  );
export type PlanRequest = z.infer<typeof PlanRequest>;

/** How far a search is. */
export interface PlanProgress {
  readonly stage: 'layouts' | 'combinations' | 'simulation';
  readonly done: number;
  readonly total: number;
}

/** Options of {@link plan}: the request, and how to search. */
export interface PlanOptions extends z.input<typeof PlanRequest> {
  readonly space?: {
    readonly prefill?: LayoutSpace;
    readonly decode?: LayoutSpace;
    /** Most new tokens of a rank in a prefill step that are tried; default 2,048 to 32,768. */
    readonly prefillTokens?: readonly number[];
    /** Whether one pool may prefill and decode; default true. */
    readonly mixed?: boolean;
  };
  /** Candidates that are returned; default 10. */
  readonly keep?: number;
  /** How many candidates a simulation by events shall confirm; default 3, 0 for estimates alone. */
  readonly simulate?: number;
  /** Requests of each simulation; default: enough to fill the batches, 2,000 to 40,000. */
  readonly simulatedRequests?: number;
  /** Seed of the simulations; default 1. */
  readonly seed?: number;
  /** Called as layouts are priced and candidates simulated. */
  readonly onProgress?: (progress: PlanProgress) => void;
  readonly signal?: AbortSignal;
}

/** Reads a request; the error names the first field that is wrong. */
export function readRequest(options: PlanOptions): PlanRequest {
  const { accelerator, model, workload, slo, gpus, goal, precision, mtp, skew, blockSizeTokens } = options;
  const fields = { accelerator, model, workload, slo, gpus, goal, precision, mtp, skew, blockSizeTokens };
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  const result = PlanRequest.safeParse(given);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue?.path.join('.') ?? '';
  throw new SimulatorError({
    code: 'simulator/bad-config',
    message: `wrong plan request${path === '' ? '' : ` at ${path}`}: ${issue?.message}`,
    value: path,
    remedy: path === '' ? 'pass accelerator, model, workload, slo and gpus' : `correct ${path}`,
  });
}
