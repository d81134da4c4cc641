import { z } from 'zod';

const Seconds = z.number().nonnegative();
const Count = z.int().nonnegative();

/** Order statistics of a latency in seconds; percentiles interpolate linearly between order statistics. */
export const LatencySummary = z.strictObject({
  count: Count,
  mean: Seconds,
  minimum: Seconds,
  p50: Seconds,
  p90: Seconds,
  p95: Seconds,
  p99: Seconds,
  maximum: Seconds,
});
export type LatencySummary = z.infer<typeof LatencySummary>;

/** What became of a request that was sent. `rejected`: the server said 429 or 503 at once. */
export const LoadOutcome = z.enum(['completed', 'rejected', 'failed', 'timeout', 'aborted']);
export type LoadOutcome = z.infer<typeof LoadOutcome>;

/** Requests that ended badly, by what the client saw. */
export const LoadErrorCount = z.strictObject({
  kind: z
    .enum(['http', 'stream', 'connection', 'protocol', 'timeout', 'aborted'])
    .describe('status line, error frame, socket, broken stream, deadline, or the client left by plan'),
  status: z.int().optional().describe('HTTP status, where there was one'),
  code: z.string().optional().describe('`error.code` of the body or frame'),
  count: z.int().positive(),
  example: z.string().max(500).describe('the first message seen'),
});
export type LoadErrorCount = z.infer<typeof LoadErrorCount>;

/** One request of a load test. */
export const LoadRequestRow = z.strictObject({
  index: Count.describe('row of the trace'),
  scheduledSeconds: Seconds.describe('when it was due, from the start of the test'),
  sentSeconds: Seconds,
  outcome: LoadOutcome,
  inputTokens: Count.describe('as asked for'),
  promptTokens: Count.describe('as the server counted; 0 if it did not say'),
  cachedTokens: Count,
  completionTokens: Count,
  ttftSeconds: Seconds.optional(),
  tpotSeconds: Seconds.optional().describe('mean time between tokens after the first; absent for one token'),
  e2eSeconds: Seconds.optional(),
});
export type LoadRequestRow = z.infer<typeof LoadRequestRow>;

/** Result of a load test against an OpenAI-compatible server. */
export const LoadReport = z.strictObject({
  schemaVersion: z.literal(1),
  target: z.strictObject({
    url: z.string().min(1),
    model: z.string().min(1),
    endpoint: z.enum(['completions', 'chat']),
  }),
  workload: z.strictObject({
    trace: z.string().min(1).describe('name of the trace, or `synthetic`'),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional()
      .describe('digest of the trace as read'),
    requests: Count,
    arrivals: z.enum(['open', 'closed']).describe('by the clock, or as earlier requests end'),
    concurrency: z.int().positive().optional().describe('most requests at once'),
    timeScale: z.number().positive().describe('arrival times are multiplied by it'),
    inputScale: z.number().positive(),
    outputScale: z.number().positive(),
    seed: z.int().nonnegative(),
  }),
  slo: z
    .strictObject({
      ttftSeconds: z.number().positive().optional(),
      tpotSeconds: z.number().positive().optional(),
    })
    .optional(),
  durationSeconds: Seconds.describe('first request sent to last request ended'),
  requests: z.strictObject({
    sent: Count,
    completed: Count,
    rejected: Count,
    failed: Count,
    timeout: Count,
    aborted: Count,
  }),
  tokens: z.strictObject({ prompt: Count, cached: Count, completion: Count }),
  throughput: z.strictObject({
    requestsPerSecond: z.number().nonnegative(),
    promptTokensPerSecond: z.number().nonnegative(),
    completionTokensPerSecond: z.number().nonnegative(),
    goodputRequestsPerSecond: z.number().nonnegative().describe('completed within the SLO'),
    goodputTokensPerSecond: z.number().nonnegative(),
  }),
  attainment: z
    .strictObject({
      all: z.number().min(0).max(1),
      ttft: z.number().min(0).max(1),
      tpot: z.number().min(0).max(1),
    })
    .optional()
    .describe('fractions of the requests sent, those aborted by plan left out; present with an SLO'),
  latency: z.strictObject({
    ttftSeconds: LatencySummary.optional().describe('request sent to first text; absent without completions'),
    tpotSeconds: LatencySummary.optional(),
    interTokenSeconds: LatencySummary.optional().describe('between chunks with text'),
    e2eSeconds: LatencySummary.optional(),
    sendDelaySeconds: LatencySummary.optional().describe(
      'how late the client itself was: a check of the test',
    ),
  }),
  errors: z.array(LoadErrorCount),
  timeline: z
    .array(
      z.strictObject({
        second: Count,
        sent: Count,
        ended: Count,
        completionTokens: Count,
        running: Count.describe('at the end of that second'),
      }),
    )
    .max(86_400),
  rows: z.array(LoadRequestRow).optional().describe('every request, when asked for'),
});
export type LoadReport = z.infer<typeof LoadReport>;
