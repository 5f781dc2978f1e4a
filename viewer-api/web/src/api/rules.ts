import type { WorkRow } from './types';

/** The newest signed version waits for its second signature. */
export const awaitsAudit = (row: WorkRow): boolean => row.state === 'signed' && row.report?.kind === 'preliminary';

/** Something came after his signature and before the audit: the author adds to his own report. */
export const addsToOwn = (row: WorkRow, me: string | undefined): boolean => awaitsAudit(row) && row.author === me && row.attention_reasons.length > 0;
