import { expect, test } from 'vitest';
import { drawGrey } from './draw';
import { fitted } from './geometry';
import { levelFor, levelsOf } from './mip';

const table = Uint32Array.from({ length: 65_536 }, (_, word) => word);

test('levels halve by averaging and the coarsest sufficient one is taken', () => {
  const levels = levelsOf(Uint16Array.from({ length: 1024 * 1024 }, (_, i) => (i % 2 === 0 ? 10 : 20)), 1024, 1024);
  expect(levels.map((level) => level.step)).toEqual([1, 2, 4]);
  expect(levels[1]?.words[5]).toBe(15);
  expect(levelFor(levels, 0.6).step).toBe(1);
  expect(levelFor(levels, 0.5).step).toBe(2);
  expect(levelFor(levels, 0.01).step).toBe(4);
});

test('at one to one every pixel is the sample itself', () => {
  const words = Uint16Array.from([1, 2, 3, 4, 5, 6]);
  const levels = levelsOf(words, 3, 2);
  const size = { x: 3, y: 2 };
  const out = new Uint32Array(6);
  for (const smooth of [false, true]) {
    drawGrey(out, size, levels, fitted(size, size, 1), 1, table, smooth);
    expect([...out]).toEqual([1, 2, 3, 4, 5, 6]);
  }
});

test('turned and mirrored samples land where they belong', () => {
  const levels = levelsOf(Uint16Array.from([1, 2, 3, 4, 5, 6]), 3, 2);
  const out = new Uint32Array(6);
  const size = { x: 2, y: 3 };
  drawGrey(out, size, levels, fitted({ x: 3, y: 2 }, size, 1, 1), 1, table, false);
  expect([...out]).toEqual([4, 1, 5, 2, 6, 3]);
  drawGrey(out, size, levels, { ...fitted({ x: 3, y: 2 }, size, 1, 1), flipH: true }, 1, table, false);
  expect([...out]).toEqual([1, 4, 2, 5, 3, 6]);
});

test('outside the film is black', () => {
  const levels = levelsOf(Uint16Array.from([7]), 1, 1);
  const out = new Uint32Array(9);
  drawGrey(out, { x: 3, y: 3 }, levels, { zoom: 1, centre: { x: 0.5, y: 0.5 }, turns: 0, flipH: false, flipV: false }, 1, table, false);
  expect(out[4]).toBe(7);
  expect([...out].filter((pixel) => pixel === 0xff000000)).toHaveLength(8);
});
