import type { Kind, Me, WorkRow, WorkState } from '../api/types';
import { examName, personName } from '../ui/names';
import { initials } from '../ui/pinyin';
import { awaitsAudit } from '../api/rules';

export const FILTERS = ['open', 'mine', 'audit', 'retake', 'done', 'critical'] as const;
export type Filter = (typeof FILTERS)[number];

const OPEN: readonly WorkState[] = ['waiting', 'claimed', 'drafted', 'signed', 'retake_requested'];
const EVERY: readonly WorkState[] = [...OPEN, 'audited', 'closed'];
const DONE: readonly WorkState[] = ['signed', 'audited', 'closed'];

/** What to ask the county for a filter. Most filters look at the same open list, so that counts cost nothing. */
export function queryOf(filter: Filter): { states: string; mine?: boolean } {
  if (filter === 'done') return { states: DONE.join(',') };
  if (filter === 'mine') return { states: EVERY.join(','), mine: true };
  if (filter === 'critical') return { states: EVERY.join(',') };
  return { states: OPEN.join(',') };
}

export const isMine = (row: WorkRow, me: Me): boolean => row.mine || row.author === me.id;

/** Whether a row of the answer belongs under the filter. */
export function belongs(filter: Filter, row: WorkRow, me: Me): boolean {
  switch (filter) {
    case 'open':
      return row.state === 'waiting' || row.state === 'claimed' || row.state === 'drafted';
    case 'mine':
      return isMine(row, me);
    case 'audit':
      return awaitsAudit(row);
    case 'retake':
      return row.state === 'retake_requested';
    case 'done':
      return row.state === 'audited' || row.state === 'closed' || (row.state === 'signed' && !awaitsAudit(row));
    case 'critical':
      return row.critical_open;
  }
}

/** Free text over name, its initials, numbers and clinic; every word must be found. */
export function matches(row: WorkRow, text: string, kind: Kind | undefined): boolean {
  if (kind && row.kind !== kind) return false;
  const words = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const { local_id: localId, national_id: nationalId } = row.patient;
  const name = personName(row.patient.name);
  const hay = [name, initials(name), localId, nationalId, row.clinic_name, row.item, examName(row.item, true), row.study_uid].join('\n').toLowerCase();
  return words.every((word) => hay.includes(word));
}
