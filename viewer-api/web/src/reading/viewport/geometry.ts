import type { Spacing, SpacingBasis } from '../../api/types';

export interface Point {
  x: number;
  y: number;
}

/** Where the image lies on the canvas. `zoom` is canvas pixels per image column. */
export interface Placement {
  zoom: number;
  /** Image point (columns, rows) that is shown at the middle of the canvas. */
  centre: Point;
  /** Quarter turns clockwise. */
  turns: 0 | 1 | 2 | 3;
  flipH: boolean;
  flipV: boolean;
}

/** Height of an image row in units of an image column; 1 where pixels are square or unknown. */
export const aspect = (spacing: Spacing | null | undefined): number => (usable(spacing) ? spacing.row_mm / spacing.column_mm : 1);

function usable(spacing: Spacing | null | undefined): spacing is Spacing {
  return spacing != null && [spacing.row_mm, spacing.column_mm].every((mm) => Number.isFinite(mm) && mm > 0);
}

const TURNS: readonly (readonly [number, number])[] = [[1, 0], [0, 1], [-1, 0], [0, -1]];

/** Image point → canvas point. First scaled, then mirrored as seen, then turned. */
export function toCanvas(p: Point, at: Placement, size: Point, rowAspect: number): Point {
  let dx = (p.x - at.centre.x) * at.zoom;
  let dy = (p.y - at.centre.y) * at.zoom * rowAspect;
  const [cos, sin] = TURNS[at.turns]!;
  [dx, dy] = [dx * cos - dy * sin, dx * sin + dy * cos];
  if (at.flipH) dx = -dx;
  if (at.flipV) dy = -dy;
  return { x: size.x / 2 + dx, y: size.y / 2 + dy };
}

/** Canvas point → image point. */
export function toImage(p: Point, at: Placement, size: Point, rowAspect: number): Point {
  let dx = p.x - size.x / 2;
  let dy = p.y - size.y / 2;
  if (at.flipH) dx = -dx;
  if (at.flipV) dy = -dy;
  const [cos, sin] = TURNS[at.turns]!;
  [dx, dy] = [dx * cos + dy * sin, -dx * sin + dy * cos];
  return { x: at.centre.x + dx / at.zoom, y: at.centre.y + dy / (at.zoom * rowAspect) };
}

/** The whole image in the canvas, upright. */
export function fitted(image: Point, size: Point, rowAspect: number, turns: Placement['turns'] = 0): Placement {
  const shown = { x: image.x, y: image.y * rowAspect };
  const [w, h] = turns % 2 === 0 ? [shown.x, shown.y] : [shown.y, shown.x];
  return {
    zoom: Math.min(size.x / w, size.y / h), centre: { x: image.x / 2, y: image.y / 2 }, turns, flipH: false, flipV: false,
  };
}

/** On what a length rests. */
export type Basis = SpacingBasis | 'unknown';

export interface Length {
  value: number;
  unit: 'mm' | 'px';
  basis: Basis;
}

/**
 * A length between two image points. Spacing that is absent, zero, negative or no number is *unknown*: then pixels are
 * told, never millimetres. Pixels that are not square are corrected even then only where both spacings are known.
 */
export function lengthOf(a: Point, b: Point, spacing: Spacing | null | undefined): Length {
  if (!usable(spacing)) return { value: Math.hypot(b.x - a.x, b.y - a.y), unit: 'px', basis: 'unknown' };
  const value = Math.hypot((b.x - a.x) * spacing.column_mm, (b.y - a.y) * spacing.row_mm);
  return { value, unit: 'mm', basis: spacing.basis };
}

/** Angle at `b` between `a` and `c` in degrees, 0…180; needs no scale, only the pixel's shape. */
export function angleAt(a: Point, b: Point, c: Point, rowAspect: number): number {
  const u = { x: a.x - b.x, y: (a.y - b.y) * rowAspect };
  const v = { x: c.x - b.x, y: (c.y - b.y) * rowAspect };
  const product = Math.hypot(u.x, u.y) * Math.hypot(v.x, v.y);
  if (product === 0) return 0;
  return (Math.acos(Math.min(1, Math.max(-1, (u.x * v.x + u.y * v.y) / product))) * 180) / Math.PI;
}

/**
 * Cardiothoracic ratio of two lines: heart width over thorax width, both measured along the second line's direction as
 * drawn. A ratio needs no scale.
 */
export function ratioOf(heart: readonly [Point, Point], thorax: readonly [Point, Point], rowAspect: number): number {
  const long = (p: Point, q: Point) => Math.hypot(q.x - p.x, (q.y - p.y) * rowAspect);
  const whole = long(thorax[0], thorax[1]);
  return whole === 0 ? 0 : long(heart[0], heart[1]) / whole;
}

export const basisOf = (spacing: Spacing | null | undefined): Basis => (usable(spacing) ? spacing.basis : 'unknown');
