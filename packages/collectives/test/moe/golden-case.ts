import { createHash } from 'node:crypto';
import { readFixture, readFixtureJson } from '@moestack/fixtures';

type LinkName = 'self' | 'intra_send' | 'intra_recv' | 'inter_send' | 'inter_recv';

/** Token messages per rank by link class. */
export type Copies = Record<LinkName, number[]>;

/** `case.json` of a collectives fixture, the parts that tests read. */
export interface CaseFile {
  name: string;
  config: {
    nodes: number;
    ranks_per_node: number;
    num_ranks: number;
    num_experts: number;
    num_topk: number;
    hidden: number;
    num_tokens: number[];
    node_limit: number;
    expert_alignment: number;
    bias: boolean;
  };
  layout: {
    num_tokens_per_rank: number[];
    num_tokens_per_rdma_rank: number[] | null;
    num_tokens_per_expert: number[];
    is_token_in_rank_sha256: string;
  }[];
  rank_prefix_matrix: number[][];
  recv: {
    num_recv_tokens: number;
    num_recv_tokens_per_expert_list: number[];
    sha256?: Record<'src_rank' | 'src_idx' | 'topk_idx' | 'topk_weights' | 'x_bf16' | 'y_bf16', string>;
  }[];
  traffic: {
    message_bytes: Record<string, number>;
    copies: Record<'direct_per_expert' | 'direct_per_rank' | 'hierarchical', Copies>;
    dispatch_bytes: Record<string, Record<string, number>>;
    hierarchical_own_node_staging_tokens: number[];
    hierarchical_logical_rdma_tokens: number[];
  };
  combine?: {
    direct_sha256: string;
    hierarchical_sha256: string;
    elements_differing_direct_vs_hierarchical: number;
  }[];
  low_latency?: {
    num_max_dispatch_tokens_per_rank: number;
    masked_rank?: number;
    ranks: {
      recv_count: number[];
      layout_range_count_begin: [number, number][][];
      recv_src_rank_token: [number, number][][];
    }[];
  };
  data_bin: Record<string, { offset: number; bytes: number; dtype: string; shape: number[] }>;
}

export const caseNames: readonly string[] = [
  'tiny-2n2g',
  'edge-skew-empty',
  'intranode-1n8g',
  'll-1n4g-masked',
  'mini-2n4g-grouped',
  'mini-4n2g-top8',
];

/** A case with its arrays. */
export class GoldenCase {
  readonly file: CaseFile;
  readonly #bytes: Uint8Array;

  constructor(name: string) {
    this.file = readFixtureJson<CaseFile>(`collectives/${name}/case.json`);
    this.#bytes = Uint8Array.from(readFixture(`collectives/${name}/data.bin`));
  }

  has(name: string): boolean {
    return name in this.file.data_bin;
  }

  i32(name: string): Int32Array {
    return new Int32Array(this.#slice(name, 'i32'));
  }

  f32(name: string): Float32Array {
    return new Float32Array(this.#slice(name, 'f32'));
  }

  bf16(name: string): Uint16Array {
    return new Uint16Array(this.#slice(name, 'bf16'));
  }

  u8(name: string): Uint8Array {
    return new Uint8Array(this.#slice(name, 'u8'));
  }

  bool8(name: string): Uint8Array {
    return new Uint8Array(this.#slice(name, 'bool8'));
  }

  #slice(name: string, dtype: string): ArrayBuffer {
    const entry = this.file.data_bin[name];
    if (entry?.dtype !== dtype) throw new Error(`expected ${dtype} array ${name}, got ${entry?.dtype}`);
    return this.#bytes.slice(entry.offset, entry.offset + entry.bytes).buffer;
  }
}

/** SHA-256 of the bytes of an array. */
export function sha256(array: ArrayBufferView): string {
  return createHash('sha256')
    .update(new Uint8Array(array.buffer as ArrayBuffer, array.byteOffset, array.byteLength))
    .digest('hex');
}
