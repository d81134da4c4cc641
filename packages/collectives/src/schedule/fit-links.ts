import { CollectivesError } from '../errors.js';
import type { LinkFit, LinkModel } from './link-fit.js';

/** Time of one message. */
export interface LinkSample {
  readonly bytes: number;
  readonly seconds: number;
}

/** No link is faster than a nanosecond and 10 TB/s; keeps a fit of noise usable. */
const LEAST_ALPHA_SECONDS = 1e-9;
const LEAST_SECONDS_PER_BYTE = 1e-13;

/**
 * Fits seconds = alpha + bytes / rate by least squares of the relative errors, so that short messages count as much as long ones.
 *
 * @throws CollectivesError `collectives/bad-shape` for fewer than two sizes, or times that are not positive.
 */
export function fitLink(samples: readonly LinkSample[]): LinkModel {
  if (
    new Set(samples.map((sample) => sample.bytes)).size < 2 ||
    samples.some(({ seconds }) => !(seconds > 0))
  ) {
    throw new CollectivesError({
      code: 'collectives/bad-shape',
      message: `expected positive times of at least two sizes, got ${JSON.stringify(samples.slice(0, 4))}`,
      remedy: 'measure messages of different sizes',
    });
  }
  // Normal equations with weights 1 / seconds^2.
  let w = 0;
  let wx = 0;
  let wxx = 0;
  let wy = 0;
  let wxy = 0;
  for (const { bytes, seconds } of samples) {
    const weight = 1 / (seconds * seconds);
    w += weight;
    wx += weight * bytes;
    wxx += weight * bytes * bytes;
    wy += weight * seconds;
    wxy += weight * bytes * seconds;
  }
  const slope = (w * wxy - wx * wy) / (w * wxx - wx * wx);
  const secondsPerByte = Math.max(slope, LEAST_SECONDS_PER_BYTE);
  const alphaSeconds = Math.max((wy - secondsPerByte * wx) / w, LEAST_ALPHA_SECONDS);
  return { alphaSeconds, bytesPerSecond: 1 / secondsPerByte };
}

/** Validates a fit, for example one read from a file. @throws CollectivesError `collectives/bad-config`. */
export function checkFit(fit: LinkFit): LinkFit {
  const numbers = {
    'intra.alphaSeconds': fit?.intra?.alphaSeconds,
    'intra.bytesPerSecond': fit?.intra?.bytesPerSecond,
    'inter.alphaSeconds': fit?.inter?.alphaSeconds,
    'inter.bytesPerSecond': fit?.inter?.bytesPerSecond,
    reduceBytesPerSecond: fit?.reduceBytesPerSecond,
  };
  for (const [name, value] of Object.entries(numbers)) {
    if (typeof value === 'number' && Number.isFinite(value) && value > 0 && fit.schemaVersion === 1) continue;
    throw new CollectivesError({
      code: 'collectives/bad-config',
      message: `expected a fit of version 1 with a positive ${name}, got version ${fit?.schemaVersion} and ${value}`,
      value,
      remedy: 'pass what measureLinks returned',
    });
  }
  return fit;
}
