import { expect, test } from 'vitest';
import type { Spacing } from '../../api/types';
import { angleAt, aspect, basisOf, fitted, lengthOf, type Placement, ratioOf, toCanvas, toImage } from './geometry';

const spacing = (row: number, column: number, basis: Spacing['basis'] = 'detector'): Spacing => ({ row_mm: row, column_mm: column, basis });
const at = (x: number, y: number) => ({ x, y });

test('a length is told with its basis', () => {
  expect(lengthOf(at(0, 0), at(300, 400), spacing(0.1, 0.1))).toEqual({ value: 50, unit: 'mm', basis: 'detector' });
  expect(lengthOf(at(0, 0), at(300, 400), spacing(0.2, 0.1))).toMatchObject({ unit: 'mm' });
  expect(lengthOf(at(0, 0), at(300, 400), spacing(0.2, 0.1)).value).toBeCloseTo(Math.hypot(30, 80), 9);
});

test('absent, zero and impossible spacing are unknown: pixels, never millimetres', () => {
  for (const bad of [null, undefined, spacing(0, 0), spacing(0.1, 0), spacing(Number.NaN, 0.1), spacing(-1, -1)]) {
    expect(lengthOf(at(0, 0), at(3, 4), bad)).toEqual({ value: 5, unit: 'px', basis: 'unknown' });
    expect(basisOf(bad)).toBe('unknown');
    expect(aspect(bad)).toBe(1);
  }
});

test('angles are right on pixels that are not square', () => {
  expect(angleAt(at(10, 0), at(0, 0), at(0, 10), 1)).toBeCloseTo(90, 9);
  expect(angleAt(at(10, 0), at(0, 0), at(10, 5), 2)).toBeCloseTo(45, 9);
  expect(angleAt(at(0, 0), at(0, 0), at(1, 1), 1)).toBe(0);
});

test('the cardiothoracic ratio needs no scale', () => {
  expect(ratioOf([at(0, 0), at(130, 0)], [at(0, 50), at(260, 50)], 1)).toBe(0.5);
  expect(ratioOf([at(0, 0), at(1, 0)], [at(5, 5), at(5, 5)], 1)).toBe(0);
});

test('canvas and image points agree in every placement', () => {
  const size = at(1600, 900);
  for (const turns of [0, 1, 2, 3] as const) {
    for (const flipH of [false, true]) {
      for (const flipV of [false, true]) {
        const place: Placement = { zoom: 0.37, centre: at(900, 1100), turns, flipH, flipV };
        const back = toImage(toCanvas(at(123, 456), place, size, 1.3), place, size, 1.3);
        expect(back.x).toBeCloseTo(123, 6);
        expect(back.y).toBeCloseTo(456, 6);
      }
    }
  }
});

test('a turn is clockwise and a mirror is as seen', () => {
  const size = at(100, 100);
  const place: Placement = { zoom: 1, centre: at(0, 0), turns: 1, flipH: false, flipV: false };
  expect(toCanvas(at(10, 0), place, size, 1)).toEqual(at(50, 60));
  expect(toCanvas(at(10, 0), { ...place, turns: 0, flipH: true }, size, 1)).toEqual(at(40, 50));
});

test('a fitted film fills the narrower side', () => {
  expect(fitted(at(2000, 1000), at(1000, 900), 1).zoom).toBe(0.5);
  expect(fitted(at(2000, 1000), at(1000, 900), 1, 1).zoom).toBe(0.45);
  expect(fitted(at(1000, 1000), at(1000, 1000), 2).zoom).toBe(0.5);
});
