import { type Placement, type Point, toImage } from './geometry';
import { type Level, levelFor } from './mip';

/** Position along one image axis for every canvas pixel of one canvas axis: lower sample and weight of the next (of 256). */
interface Axis {
  low: Int32Array;
  weight: Uint8Array;
}

function axis(count: number, from: number, step: number, samples: number): Axis {
  const low = new Int32Array(count);
  const weight = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const at = from + step * i;
    // Sample centres are at half coordinates.
    const inner = Math.max(0, Math.min(at - 0.5, samples - 1.001));
    const floor = Math.floor(inner);
    low[i] = at < 0 || at >= samples ? -1 : floor;
    weight[i] = Math.round((inner - floor) * 255);
  }
  return { low, weight };
}

/**
 * Draws words through a grey table into RGBA pixels. Quarter turns and mirrors keep the axes apart, so the inner loop
 * only adds two table entries; `smooth` blends four samples (for a still picture), else the nearest is taken (while
 * dragging). Pixels outside the film are black.
 */
export function drawGrey(
  out: Uint32Array, size: Point, levels: readonly Level[], place: Placement, rowAspect: number, table: Uint32Array, smooth: boolean,
): void {
  const level = levelFor(levels, place.zoom * Math.min(1, rowAspect));
  const { words, columns, rows, step } = level;
  const origin = toImage({ x: 0.5, y: 0.5 }, place, size, rowAspect);
  const right = toImage({ x: 1.5, y: 0.5 }, place, size, rowAspect);
  const down = toImage({ x: 0.5, y: 1.5 }, place, size, rowAspect);
  const swapped = place.turns % 2 === 1;
  const alongX = swapped
    ? axis(size.x, origin.y / step, (right.y - origin.y) / step, rows)
    : axis(size.x, origin.x / step, (right.x - origin.x) / step, columns);
  const alongY = swapped
    ? axis(size.y, origin.x / step, (down.x - origin.x) / step, columns)
    : axis(size.y, origin.y / step, (down.y - origin.y) / step, rows);
  const strideX = swapped ? columns : 1;
  const strideY = swapped ? 1 : columns;
  const black = 0xff000000;
  for (let y = 0, o = 0; y < size.y; y++) {
    const lowY = alongY.low[y]!;
    if (lowY < 0) {
      out.fill(black, o, o + size.x);
      o += size.x;
      continue;
    }
    const base = lowY * strideY;
    const wy = alongY.weight[y]!;
    for (let x = 0; x < size.x; x++, o++) {
      const lowX = alongX.low[x]!;
      if (lowX < 0) {
        out[o] = black;
        continue;
      }
      const i = base + lowX * strideX;
      const wx = alongX.weight[x]!;
      if (!smooth) {
        out[o] = table[words[i + (wx > 127 ? strideX : 0) + (wy > 127 ? strideY : 0)]!]!;
        continue;
      }
      const top = words[i]! * (255 - wx) + words[i + strideX]! * wx;
      const low = words[i + strideY]! * (255 - wx) + words[i + strideY + strideX]! * wx;
      out[o] = table[Math.round((top * (255 - wy) + low * wy) / 65_025)]!;
    }
  }
}
