import type { WorkRow } from './types';

/** The newest signed version waits for its second signature. */
export const awaitsAudit = (row: WorkRow): boolean => row.state === 'signed' && row.report?.kind === 'preliminary';
