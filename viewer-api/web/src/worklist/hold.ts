import type { WorkRow } from '../api/types';

export interface ShownRow {
  row: WorkRow;
  /** No longer in the list; stays in its place until the hand is off the list. */
  gone: boolean;
}

/**
 * The order must not jump under the mouse: while a row is pointed at, rows keep their places with fresh content, new
 * rows are counted only, lost rows stay and say so.
 */
export function keepOrder(shown: readonly ShownRow[], fresh: readonly WorkRow[]): { rows: ShownRow[]; waiting: number } {
  const byId = new Map(fresh.map((row) => [row.id, row]));
  const rows = shown.map(({ row }) => {
    const now = byId.get(row.id);
    byId.delete(row.id);
    return now ? { row: now, gone: false } : { row, gone: true };
  });
  return { rows, waiting: byId.size };
}

export const inOrder = (fresh: readonly WorkRow[]): ShownRow[] => fresh.map((row) => ({ row, gone: false }));
