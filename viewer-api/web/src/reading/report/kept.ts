import type { DraftText } from '../../api/types';

/** Words that the county does not have yet, kept on this PC. */
export interface Kept {
  text: DraftText;
  atMs: number;
}

const keyOf = (person: string, item: number): string => `relay.draft.${person}.${item}`;

export function readKept(person: string, item: number): Kept | undefined {
  try {
    const stored = localStorage.getItem(keyOf(person, item));
    const kept = stored ? (JSON.parse(stored) as Kept) : undefined;
    return typeof kept?.text?.findings === 'string' ? kept : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps unsaved words, or forgets them as soon as the county has them. */
export function keep(person: string, item: number, text: DraftText | undefined): void {
  try {
    if (text) localStorage.setItem(keyOf(person, item), JSON.stringify({ text, atMs: Date.now() } satisfies Kept));
    else localStorage.removeItem(keyOf(person, item));
  } catch {
    // A full or forbidden store takes away the second copy only; saving to the county goes on.
  }
}
