export interface Piece {
  kind: 'same' | 'added' | 'removed';
  text: string;
}

/** Chinese by character, latin words and numbers whole: `右肺` → `左肺` shows one character, `12 mm` → `15 mm` one number. */
function tokens(text: string): string[] {
  return text.match(/[A-Za-z]+|\d+(?:\.\d+)?|\s|[^A-Za-z\d\s]/gu) ?? [];
}

/** Longer texts are compared line by line, so that the table below stays small. */
const LONGEST_TABLE = 4_000_000;

/** What was changed, as the shortest script of removed and added pieces. */
export function diff(before: string, after: string): Piece[] {
  let [a, b] = [tokens(before), tokens(after)];
  if (a.length * b.length > LONGEST_TABLE) [a, b] = [before.split(/(?<=\n)/), after.split(/(?<=\n)/)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const pieces: Piece[] = [];
  const put = (kind: Piece['kind'], text: string) => {
    const last = pieces.at(-1);
    if (!text) return;
    if (last?.kind === kind) last.text += text;
    else pieces.push({ kind, text });
  };
  put('same', a.slice(0, start).join(''));
  middle(a.slice(start, a.length - end), b.slice(start, b.length - end), put);
  put('same', a.slice(a.length - end).join(''));
  return pieces;
}

function middle(a: string[], b: string[], put: (kind: Piece['kind'], text: string) => void): void {
  // common[i][j]: longest common subsequence of a from i and b from j.
  const width = b.length + 1;
  const common = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * width + j] = a[i] === b[j] ? common[(i + 1) * width + j + 1]! + 1 : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
    }
  }
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      put('same', a[i]!);
      i++;
      j++;
    } else if (common[(i + 1) * width + j]! >= common[i * width + j + 1]!) put('removed', a[i++]!);
    else put('added', b[j++]!);
  }
  put('removed', a.slice(i).join(''));
  put('added', b.slice(j).join(''));
}
