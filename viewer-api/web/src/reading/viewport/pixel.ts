import type { FrameInfo, Lut, VoiFunction } from '../../api/types';

/** How values become grey: a window, or the file's own VOI LUT. */
export type Voi = { center: number; width: number; fn: VoiFunction } | { lut: Lut };

/** Number of distinct 16-bit words: a table over all of them makes a frame one look-up a pixel. */
export const WORDS = 65_536;
const SIGN = 0x8000;

/** Raw samples as words whose order is the order of the values: two's complement is shifted by half the range. */
export function orderedWords(raw: Uint8Array<ArrayBuffer>, signed: boolean): Uint16Array<ArrayBuffer> {
  const words = new Uint16Array(raw.buffer, raw.byteOffset, raw.byteLength >> 1);
  if (signed) for (let i = 0; i < words.length; i++) words[i]! ^= SIGN;
  return words;
}

export const storedValue = (word: number, signed: boolean): number => (signed ? word - SIGN : word);

function lookUp(lut: Lut, value: number): number {
  const at = Math.min(Math.max(Math.round(value) - lut.first, 0), lut.entries.length - 1);
  return lut.entries[at] ?? 0;
}

/** Modality transformation (PS3.3 C.11.1): the LUT where there is one, else slope and intercept. */
export function modalityValue(info: FrameInfo, stored: number): number {
  return info.modality_lut ? lookUp(info.modality_lut, stored) : stored * info.rescale_slope + info.rescale_intercept;
}

/** VOI transformation to 0…255, not rounded (PS3.3 C.11.2.1.2 LINEAR, C.11.2.1.3 LINEAR_EXACT and SIGMOID). */
export function voiGrey(value: number, voi: Voi): number {
  if ('lut' in voi) return (lookUp(voi.lut, value) / (2 ** voi.lut.bits - 1)) * 255;
  const { center, width, fn } = voi;
  if (fn === 'sigmoid') return 255 / (1 + Math.exp((-4 * (value - center)) / width));
  if (fn === 'linear_exact') {
    if (value <= center - width / 2) return 0;
    if (value > center + width / 2) return 255;
    return ((value - center) / width + 0.5) * 255;
  }
  const half = (width - 1) / 2;
  if (value <= center - 0.5 - half) return 0;
  if (value > center - 0.5 + half) return 255;
  return ((value - (center - 0.5)) / (width - 1) + 0.5) * 255;
}

function isPadding(info: FrameInfo, stored: number): boolean {
  return info.padding != null && stored >= info.padding.low && stored <= info.padding.high;
}

/** Grey of every word, as an opaque RGBA pixel of this machine's byte order. Padding is black, whatever is inverted. */
export function greyTable(info: FrameInfo, voi: Voi, invert: boolean): Uint32Array<ArrayBuffer> {
  const table = new Uint32Array(WORDS);
  const flip = info.invert !== invert;
  for (let word = 0; word < WORDS; word++) {
    const stored = storedValue(word, info.signed);
    let grey = 0;
    if (!isPadding(info, stored)) {
      grey = Math.round(voiGrey(modalityValue(info, stored), voi));
      if (flip) grey = 255 - grey;
    }
    // The same byte three times and a full alpha: only alpha's place depends on the byte order, and canvases are
    // read as bytes R, G, B, A. Every browser that runs this page is little-endian.
    table[word] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return table;
}

/** Word counts, without padding. */
export function histogram(info: FrameInfo, words: Uint16Array): Uint32Array {
  const counts = new Uint32Array(WORDS);
  // Every third pixel of a film is enough for percentiles.
  for (let i = 0; i < words.length; i += 3) counts[words[i]!]!++;
  if (info.padding) {
    for (let word = 0; word < WORDS; word++) if (isPadding(info, storedValue(word, info.signed))) counts[word] = 0;
  }
  return counts;
}

/** A window over the values between two shares of the pixels: for files that state none, and for *full range*. */
export function autoWindow(info: FrameInfo, words: Uint16Array, low = 0.005, high = 0.995): { center: number; width: number } {
  const counts = histogram(info, words);
  let total = 0;
  for (const count of counts) total += count;
  const at = (share: number): number => {
    let sum = 0;
    for (let word = 0; word < WORDS; word++) {
      sum += counts[word]!;
      if (sum > share * total) return modalityValue(info, storedValue(word, info.signed));
    }
    return modalityValue(info, storedValue(WORDS - 1, info.signed));
  };
  const [a, b] = [at(low), at(high)];
  const [min, max] = [Math.min(a, b), Math.max(a, b)];
  return { center: (min + max + 1) / 2, width: Math.max(2, max - min + 1) };
}

/** The file's default: its first window, else its VOI LUT, else one from the samples. */
export function defaultVoi(info: FrameInfo, words: Uint16Array): Voi {
  const first = info.windows[0];
  if (first) return { center: first.center, width: first.width, fn: info.voi_function };
  if (info.voi_lut) return { lut: info.voi_lut };
  return { ...autoWindow(info, words), fn: 'linear' };
}

/** A window that begins where a VOI LUT's input does: dragging starts from what is seen. */
export function asWindow(voi: Voi): { center: number; width: number; fn: VoiFunction } {
  if (!('lut' in voi)) return voi;
  const width = voi.lut.entries.length;
  return { center: voi.lut.first + width / 2, width, fn: 'linear' };
}

/** Smallest width that the function allows. */
export const narrowest = (fn: VoiFunction): number => (fn === 'linear' ? 2 : 0.001);
