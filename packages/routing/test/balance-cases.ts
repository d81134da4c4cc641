import { readFixtureJson } from '@moestack/fixtures';

/** One file of the balance fixtures; see their README. */
export interface BalanceCase {
  B: number;
  S: number;
  T: number;
  E: number;
  K: number;
  G: number;
  L: number;
  D: number;
  logits: number[][];
  bias: number[];
  routed_sigmoid_indices: number[][];
  plain_sigmoid_indices: number[][];
  routed_softmax_indices: number[][];
  losses: {
    v3_sequence_plain: { alpha: number; value: number; grad_logits: number[][] };
    v3_sequence_routed: { alpha: number; value: number };
    v2_expert: { alpha: number; f: number[]; P: number[]; value: number };
    v2_device: { alpha: number; f: number[]; P: number[]; value: number };
    v2_communication: { alpha: number; M: number; f: number[]; P: number[]; value: number };
    switch_topk_normalised: { coeff: number; counts: number[]; value: number; grad_logits: number[][] };
    mixtral_hf_unnormalised: { value: number };
    gshard_top1: { value: number };
    micro_batch: { values: number[] };
    global_batch: { values: number[] };
    z_loss: { coeff: number; value: number; grad_logits: number[][] };
    importance_cv2: { value: number };
  };
  bias_update: {
    gamma: number;
    counts: number[];
    sign: number[];
    proportional: number[];
    tie_example: { counts: number[]; bias: number[]; gamma: number; new: number[] };
    load: Record<string, number>;
  };
  bias_trajectory: { gamma: number; steps: number; maxVio_at: Record<string, number>; final_bias: number[] };
  capacity: Record<
    string,
    {
      capacity: number;
      position_keep: number[][];
      probs_keep: number[][];
      dropped_assignments: number;
      tokens_fully_dropped_position: number;
      tokens_fully_dropped_probs: number;
    }
  >;
  expert_choice: { capacity: number; tokens: number[][] };
  sinkhorn: {
    tol: number;
    eps: number;
    iterations: number;
    row_sums_times_T: [number, number];
    top1: number[];
    counts: number[];
    counts_softmax: number[];
  };
  permute: {
    sorted_flat: number[];
    sorted_token: number[];
    counts: number[];
    offsets: number[];
    inverse: number[];
    align4: AlignedCase;
    align16: AlignedCase;
    align128: AlignedCase;
    combine: { x: number[][]; expert_scale: number[]; weights: number[][]; y: number[][] };
  };
  dispatch: {
    devices: number;
    experts_per_device: number;
    is_token_in_rank: number[][];
    tokens_per_rank: number[];
    assignments_per_rank: number[];
    mean_devices_per_token: number;
  };
}

/** Padded layout of one alignment. */
export interface AlignedCase {
  padded_counts: number[];
  padded_offsets: number[];
  padded_total: number;
  block_expert_ids: number[];
  sorted_ids: number[] | null;
  pad_value: number;
}

export const balanceCases: readonly { name: string; data: BalanceCase }[] = ['case_a', 'case_b'].map(
  (name) => ({
    name,
    data: readFixtureJson<BalanceCase>(`routing/balance/${name}.json`),
  }),
);

/** Indices of a fixture as one row-major array. */
export function flat(rows: readonly number[][]): Int32Array {
  return Int32Array.from(rows.flat());
}

/** Logits of a fixture in float64. */
export function logitsOf(data: BalanceCase): Float64Array {
  return Float64Array.from(data.logits.flat());
}
