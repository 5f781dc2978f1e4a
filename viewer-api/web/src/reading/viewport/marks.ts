import { angleAt, type Basis, type Placement, type Point, lengthOf, ratioOf, toCanvas } from './geometry';
import type { Spacing } from '../../api/types';

export type MarkKind = 'length' | 'angle' | 'ctr';

/** A measurement in image points. */
export interface Mark {
  kind: MarkKind;
  points: Point[];
}

/** Points that a finished mark has. */
export const POINTS: Record<MarkKind, number> = { length: 2, angle: 3, ctr: 4 };

/** What is said beside a mark; the words of a basis come from the page. */
export function markText(mark: Mark, spacing: Spacing | null | undefined, rowAspect: number, basisWords: Record<Basis, string>): string {
  const [a, b, c, d] = mark.points;
  if (mark.kind === 'length' && a && b) {
    const { value, unit, basis } = lengthOf(a, b, spacing);
    return unit === 'px' ? `${value.toFixed(0)} px（${basisWords.unknown}）` : `${value.toFixed(1)} mm（${basisWords[basis]}）`;
  }
  if (mark.kind === 'angle' && a && b && c) return `${angleAt(a, b, c, rowAspect).toFixed(1)}°`;
  if (mark.kind === 'ctr' && a && b && c && d) return `CTR ${ratioOf([a, b], [c, d], rowAspect).toFixed(2)}`;
  return '';
}

interface Scene {
  place: Placement;
  size: Point;
  rowAspect: number;
  spacing: Spacing | null | undefined;
  basisWords: Record<Basis, string>;
  /** Device pixels per CSS pixel. */
  ratio: number;
}

const LINE = '#ffd666';
const END_RADIUS = 3;

/** Draws marks over the picture. */
export function drawMarks(pen: CanvasRenderingContext2D, marks: readonly Mark[], scene: Scene): void {
  pen.font = `${13 * scene.ratio}px sans-serif`;
  pen.lineWidth = 1.5 * scene.ratio;
  for (const mark of marks) {
    const at = mark.points.map((p) => toCanvas(p, scene.place, scene.size, scene.rowAspect));
    pen.strokeStyle = LINE;
    pen.fillStyle = LINE;
    pen.beginPath();
    if (mark.kind === 'ctr') {
      for (let i = 0; i + 1 < at.length; i += 2) {
        pen.moveTo(at[i]!.x, at[i]!.y);
        pen.lineTo(at[i + 1]!.x, at[i + 1]!.y);
      }
    } else {
      for (const [i, p] of at.entries()) {
        if (i === 0) pen.moveTo(p.x, p.y);
        else pen.lineTo(p.x, p.y);
      }
    }
    pen.stroke();
    for (const p of at) {
      pen.beginPath();
      pen.arc(p.x, p.y, END_RADIUS * scene.ratio, 0, 2 * Math.PI);
      pen.fill();
    }
    const text = markText(mark, scene.spacing, scene.rowAspect, scene.basisWords);
    const last = at[mark.kind === 'angle' ? 1 : at.length - 1];
    if (text && last) label(pen, text, last, scene);
  }
}

function label(pen: CanvasRenderingContext2D, text: string, at: Point, { ratio, size }: Scene): void {
  const width = pen.measureText(text).width;
  const x = Math.min(at.x + 8 * ratio, size.x - width - 6 * ratio);
  const y = Math.max(at.y - 8 * ratio, 16 * ratio);
  pen.fillStyle = 'rgba(0,0,0,.65)';
  pen.fillRect(x - 3 * ratio, y - 13 * ratio, width + 6 * ratio, 17 * ratio);
  pen.fillStyle = LINE;
  pen.fillText(text, x, y);
}
