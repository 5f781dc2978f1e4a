import { expect, test } from 'vitest';
import type { EcgLead } from '../../api/types';
import { layoutOf, PULSE_S, readingOf, STANDARD_LEADS, xOf, yOf } from './layout';
import { leadName, millivolts, spans } from './samples';

const paper = { layout: '3x4', speed: 25, gain: 10 } as const;
const lead = (samples: number[], more: Partial<EcgLead> = {}): EcgLead =>
  ({ label: 'II', rate_hz: 500, start_s: 0, scale: 1, offset: 0, unit: 'uV', derived: false, samples, ...more });

test('1 mV is 10 mm and 1 s is 25 mm at the standard scale', () => {
  const { traces } = layoutOf(paper, 10, STANDARD_LEADS);
  const trace = traces[0]!;
  expect(yOf(trace, 0, 10) - yOf(trace, 1, 10)).toBeCloseTo(10, 9);
  expect(xOf(trace, 1, 25) - xOf(trace, 0, 25)).toBeCloseTo(25, 9);
  expect(yOf(trace, 0, 20) - yOf(trace, 1, 20)).toBeCloseTo(20, 9);
  expect(PULSE_S * 25).toBe(5);
});

test('3×4+1: column k starts at k × 2.5 s, without gap or overlap, and II runs below', () => {
  const { traces, pulses, columns } = layoutOf(paper, 10, STANDARD_LEADS);
  expect(traces).toHaveLength(13);
  expect(pulses).toHaveLength(4);
  const upper = traces.slice(0, 4);
  expect(upper.map(({ lead }) => lead)).toEqual(['I', 'aVR', 'V1', 'V4']);
  expect(upper.map(({ from }) => from)).toEqual([0, 2.5, 5, 7.5]);
  for (const [i, trace] of upper.entries()) {
    const next = upper[i + 1];
    if (next) expect(xOf(trace, trace.to, 25)).toBeCloseTo(next.x, 9);
  }
  expect(columns).toHaveLength(3);
  expect(traces[12]).toMatchObject({ lead: 'II', from: 0, to: 10 });
});

test('6×2 and 12×1 show every lead, 12×1 also those beyond the twelve', () => {
  expect(layoutOf({ ...paper, layout: '6x2' }, 10, STANDARD_LEADS).traces).toHaveLength(12);
  const all = layoutOf({ ...paper, layout: '12x1' }, 10, [...STANDARD_LEADS, 'V7', 'V4R']);
  expect(all.traces.map(({ lead }) => lead).slice(12)).toEqual(['V7', 'V4R']);
  expect(all.traces.every(({ from, to }) => from === 0 && to === 10)).toBe(true);
});

test('calipers tell ms, bpm and mV', () => {
  const reading = readingOf({ x: 10, y: 50 }, { x: 30, y: 40 }, paper);
  expect(reading).toEqual({ ms: 800, bpm: 75, mV: 1 });
  expect(readingOf({ x: 1, y: 1 }, { x: 1, y: 1 }, paper).bpm).toBeUndefined();
});

test('no peak is lost when 5000 samples become 100 columns', () => {
  const samples = Array.from({ length: 5000 }, () => 0);
  samples[2501] = 1500;
  samples[2502] = -700;
  const columns = spans(lead(samples), 0, 10, 100);
  expect(Math.max(...columns.map((c) => c?.max ?? 0))).toBe(1.5);
  expect(Math.min(...columns.map((c) => c?.min ?? 0))).toBe(-0.7);
});

test('units, offsets and missing samples', () => {
  expect(millivolts(lead([], { scale: 4.88, offset: 12 }), 100)).toBeCloseTo(0.5, 9);
  expect(millivolts(lead([], { unit: 'mV', scale: 0.001 }), 500)).toBeCloseTo(0.5, 9);
  expect(millivolts(lead([], { missing: -32768 }), -32768)).toBeUndefined();
  const columns = spans(lead([1, -32768, 3, 4], { missing: -32768, rate_hz: 4 }), 0, 1, 4);
  expect(columns.map((c) => c !== undefined)).toEqual([true, false, true, true]);
});

test('leads are named as on paper', () => {
  expect(['aVR, augmented voltage, right', 'Lead I (Einthoven)', 'AVF', 'v4R', 'II'].map(leadName)).toEqual(['aVR', 'I', 'aVF', 'V4R', 'II']);
});

test('a lead that starts later leaves its beginning empty', () => {
  const columns = spans(lead([1, 1], { rate_hz: 2, start_s: 1 }), 0, 2, 4);
  expect(columns.map((c) => c !== undefined)).toEqual([false, false, true, true]);
});
