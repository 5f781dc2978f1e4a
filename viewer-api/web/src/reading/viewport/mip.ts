/** A film and its halvings: what is drawn follows the size on the screen, not the size of the film. */
export interface Level {
  words: Uint16Array;
  columns: number;
  rows: number;
  /** Film columns of one column here: 1, 2, 4 … */
  step: number;
}

/** Below this a level is not halved again. */
const SMALLEST = 256;

function halved(level: Level): Level {
  const columns = level.columns >> 1;
  const rows = level.rows >> 1;
  const words = new Uint16Array(columns * rows);
  const from = level.words;
  for (let y = 0, out = 0; y < rows; y++) {
    let a = 2 * y * level.columns;
    let b = a + level.columns;
    for (let x = 0; x < columns; x++, a += 2, b += 2) {
      words[out++] = (from[a]! + from[a + 1]! + from[b]! + from[b + 1]! + 2) >> 2;
    }
  }
  return { words, columns, rows, step: level.step * 2 };
}

export function levelsOf(words: Uint16Array, columns: number, rows: number): Level[] {
  const levels: Level[] = [{ words, columns, rows, step: 1 }];
  for (let last = levels[0]!; Math.min(last.columns, last.rows) >= 2 * SMALLEST; ) {
    last = halved(last);
    levels.push(last);
  }
  return levels;
}

/** The coarsest level that still has a sample for every canvas pixel. */
export function levelFor(levels: readonly Level[], zoom: number): Level {
  let best = levels[0]!;
  for (const level of levels) if (level.step * zoom <= 1) best = level;
  return best;
}
