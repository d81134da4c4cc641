/** Options of `moestack serve`; what is left out comes from the configuration, else from defaults. */
export interface ServeOptions {
  readonly config?: string;
  readonly printConfig?: boolean;
  readonly model?: string;
  readonly name?: string;
  readonly host?: string;
  readonly allowedHost?: string[];
  readonly port?: number;
  readonly maxBatch?: number;
  readonly maxWaiting?: number;
  readonly kvBlocks?: number;
  readonly context?: number;
  readonly precision?: 'f32' | 'bf16' | 'fp8-weights' | 'w8a8';
  readonly attention?: 'auto' | 'naive' | 'absorbed';
  readonly mixed?: boolean;
  readonly prefillRanks?: number;
  readonly decodeRanks?: number;
  readonly prefillTensor?: number;
  readonly decodeTensor?: number;
  readonly redundantExperts?: number;
  readonly rebalanceSeconds?: number;
  readonly maxBodyBytes?: number;
  readonly drainSeconds?: number;
  readonly sloTtftMs?: number;
  readonly sloTpotMs?: number;
  readonly accessLog?: string;
  /** False with `--no-dashboard`. */
  readonly dashboard?: boolean;
  readonly adminKeyEnv?: string;
}
