import { expect, test } from 'vitest';
import type { FrameInfo } from '../../api/types';
import { autoWindow, defaultVoi, greyTable, modalityValue, orderedWords, voiGrey } from './pixel';

const info = (more: Partial<FrameInfo> = {}): FrameInfo => ({
  frame: 1, frames: 1, rows: 1, columns: 4, samples_per_pixel: 1, photometric: 'MONOCHROME2', raw_bits: 16,
  bits_allocated: 16, bits_stored: 12, signed: false, rescale_slope: 1, rescale_intercept: 0, windows: [],
  voi_function: 'linear', invert: false, lossy: false, transfer_syntax: '1.2.840.10008.1.2.1', ...more,
});
const grey = (pixel: number | undefined) => (pixel ?? 0) & 0xff;
const bytes = (values: number[]) => new Uint8Array(Uint16Array.from(values).buffer);

test('LINEAR has the half-pixel terms of the standard', () => {
  const voi = { center: 2048, width: 4096, fn: 'linear' as const };
  expect(voiGrey(0, voi)).toBe(0);
  expect(voiGrey(4095, voi)).toBeCloseTo(255, 9);
  expect(voiGrey(2047.5, voi)).toBe(127.5);
  // PS3.3 C.11.2.1.2.1: c = 2048, w = 1 maps 2047 to black and 2048 to white.
  const step = { center: 2048, width: 1, fn: 'linear' as const };
  expect([voiGrey(2047, step), voiGrey(2048, step)]).toEqual([0, 255]);
});

test('LINEAR_EXACT has none', () => {
  const voi = { center: 2048, width: 4096, fn: 'linear_exact' as const };
  expect([voiGrey(0, voi), voiGrey(2048, voi), voiGrey(4096, voi), voiGrey(4097, voi)]).toEqual([0, 127.5, 255, 255]);
});

test('SIGMOID is half at its centre and never clips', () => {
  const voi = { center: 100, width: 50, fn: 'sigmoid' as const };
  expect(voiGrey(100, voi)).toBe(127.5);
  expect(voiGrey(125, voi)).toBeCloseTo(255 / (1 + Math.exp(-2)), 9);
  expect(voiGrey(-1000, voi)).toBeGreaterThan(0);
});

test('MONOCHROME1 and the reader’s inversion cancel each other', () => {
  const voi = { center: 128, width: 256, fn: 'linear' as const };
  expect(grey(greyTable(info(), voi, false)[255])).toBe(255);
  expect(grey(greyTable(info({ invert: true }), voi, false)[255])).toBe(0);
  expect(grey(greyTable(info({ invert: true }), voi, true)[255])).toBe(255);
});

test('signed samples keep their order and their value', () => {
  const words = orderedWords(bytes([0xfc18, 0, 1000]), true);
  expect([...words]).toEqual([0x8000 - 1000, 0x8000, 0x8000 + 1000]);
  const table = greyTable(info({ signed: true }), { center: 0, width: 2000, fn: 'linear_exact' }, false);
  expect([...words].map((word) => grey(table[word]))).toEqual([0, 128, 255]);
});

test('rescale and modality LUT come before the window', () => {
  expect(modalityValue(info({ rescale_slope: 2, rescale_intercept: -10 }), 7)).toBe(4);
  const lut = { first: 10, bits: 16, entries: [100, 200, 300], explanation: '' };
  expect([0, 10, 11, 99].map((v) => modalityValue(info({ modality_lut: lut }), v))).toEqual([100, 100, 200, 300]);
});

test('a VOI LUT is scaled by its bits', () => {
  const lut = { first: 0, bits: 12, entries: [0, 2047, 4095], explanation: '' };
  expect([0, 1, 2, 50].map((v) => Math.round(voiGrey(v, { lut })))).toEqual([0, 127, 255, 255]);
});

test('padding is black and not counted', () => {
  const words = orderedWords(bytes([...Array(300).fill(0), ...Array(300).fill(1000), ...Array(300).fill(2000)]), false);
  const padded = info({ padding: { low: 0, high: 0 }, invert: true });
  expect(autoWindow(padded, words)).toEqual({ center: 1500.5, width: 1001 });
  expect(grey(greyTable(padded, { center: 1500, width: 1001, fn: 'linear' }, false)[0])).toBe(0);
});

test('the default is the first window, then the VOI LUT, then the samples', () => {
  const words = orderedWords(bytes(Array(90).fill(5)), false);
  const window = { center: 40, width: 80, explanation: '' };
  expect(defaultVoi(info({ windows: [window], voi_function: 'sigmoid' }), words)).toEqual({ center: 40, width: 80, fn: 'sigmoid' });
  const lut = { first: 0, bits: 8, entries: [0], explanation: '' };
  expect(defaultVoi(info({ voi_lut: lut }), words)).toEqual({ lut });
  expect(defaultVoi(info(), words)).toMatchObject({ fn: 'linear', width: 2 });
});
