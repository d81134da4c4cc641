import { readFileSync } from 'node:fs';
import {
  type CalibrationRow,
  calibrationTable,
  deepEpPublished,
  interpolateLowLatencyUs,
  interpolationCalibration,
  leaveOneOutErrors,
  lowLatencyCalibration,
  normalCalibration,
} from '@moestack/collectives/cost';
import { readFixtureJson } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';

interface Published {
  v1_low_latency: { rows: { ranks: number; dispatch_us: number; combine_us: number }[] };
  v1_normal: { rows: { ranks: number; bottleneck: string; dispatch_GBps: number; combine_GBps: number }[] };
}
const published = readFixtureJson<Published>('collectives/deepep_published.json');

const worst = (rows: readonly CalibrationRow[]) => Math.max(...rows.map((row) => Math.abs(row.error)));

describe('published figures', () => {
  it('are the ones of the fixture', () => {
    expect(deepEpPublished.normal.rows).toEqual(
      published.v1_normal.rows.map((row) => ({
        ranks: row.ranks,
        bottleneck: row.bottleneck,
        dispatchGBps: row.dispatch_GBps,
        combineGBps: row.combine_GBps,
      })),
    );
    expect(deepEpPublished.lowLatency.rows).toEqual(
      published.v1_low_latency.rows.map((row) => ({
        ranks: row.ranks,
        dispatchUs: row.dispatch_us,
        combineUs: row.combine_us,
      })),
    );
  });

  it('of the normal kernels follow from two rates within 8 %', () => {
    const rows = normalCalibration();
    expect(rows).toHaveLength(8);
    expect(worst(rows)).toBeLessThan(0.08);
    const note = (ranks: number) => rows.find((row) => row.ranks === ranks)?.note;
    expect([note(8), note(16), note(32), note(64)]).toEqual([
      'NVLink decides',
      'NVLink decides',
      'network decides',
      'network decides',
    ]);
  });

  it('of the low-latency kernels follow from alpha and two rates within 16 %', () => {
    const rows = lowLatencyCalibration();
    expect(rows).toHaveLength(12);
    expect(worst(rows)).toBeLessThan(0.16);
  });

  it('of the low-latency kernels are met by interpolation, and every error without the row itself is reported', () => {
    for (const { ranks, dispatchUs, combineUs } of deepEpPublished.lowLatency.rows) {
      expect(interpolateLowLatencyUs(ranks, 'dispatch') / dispatchUs).toBeCloseTo(1, 12);
      expect(interpolateLowLatencyUs(ranks, 'combine') / combineUs).toBeCloseTo(1, 12);
    }
    expect(interpolateLowLatencyUs(24, 'dispatch')).toBeGreaterThan(118);
    const rows = interpolationCalibration();
    expect(rows).toHaveLength(12);
    expect(worst(rows.filter((row) => row.note === 'between neighbours'))).toBeLessThan(0.09);
    expect(worst(rows)).toBeCloseTo(0.1778, 3);
    expect(leaveOneOutErrors('dispatch').map(({ error }) => Math.round(error * 1e4) / 1e4)).toEqual([
      0.0519, -0.0169, -0.0613, 0.0029, -0.0443, 0.0876,
    ]);
  });

  it('stand in the README as computed', () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
    expect(readme).toContain(calibrationTable());
  });
});
