import type { Deployment, Pool } from './deployment.js';

const common = {
  schemaVersion: 1,
  precision: { weights: 'fp8', attention: 'bf16', dispatch: 'fp8' },
  mtp: { enabled: false, draftTokens: 1, acceptance: 0.85 },
  skew: { kind: 'balanced' },
  blockSizeTokens: 64,
} as const satisfies Partial<Deployment>;

const prefill: Pool = {
  units: 1,
  gpusPerNode: 8,
  tp: 1,
  dp: 32,
  ep: 32,
  redundantExperts: 32,
  maxTokensPerRank: 16_384,
  maxSequencesPerRank: 64,
  overlap: { enabled: true, communicationSms: 24 },
};

const decode: Pool = {
  units: 1,
  gpusPerNode: 8,
  tp: 1,
  dp: 144,
  ep: 144,
  redundantExperts: 32,
  maxTokensPerRank: 256,
  maxSequencesPerRank: 256,
  overlap: { enabled: true, communicationSms: 0 },
};

/**
 * Layouts of DeepSeek-V3 on H800s that were published: `report` (technical report, section 3.4: 32 + 320 GPUs), `profile` (profile-data: EP32 and
 * EP128), `online` (inference system overview: EP32 and EP144).
 */
export function publishedDeployment(name: 'report' | 'profile' | 'online'): Deployment {
  if (name === 'online') return { ...common, prefill, decode };
  if (name === 'profile') {
    return { ...common, prefill, decode: { ...decode, dp: 128, ep: 128, redundantExperts: 0 } };
  }
  return {
    ...common,
    prefill: { ...prefill, tp: 4, dp: 8, overlap: { enabled: true, communicationSms: 20 } },
    decode: { ...decode, tp: 4, dp: 80, ep: 320, redundantExperts: 64 },
  };
}
