import type { Key } from '../i18n/zh';
import type { ProblemBody } from './types';

/** A refusal of the county: a code of its list, with the words people see. */
export class ApiProblem extends Error {
  constructor(readonly body: ProblemBody) {
    super(`${body.code}: ${body.field}: ${body.reason}`);
    this.name = 'ApiProblem';
  }

  get code(): string {
    return this.body.code;
  }
}

/** The county did not answer at all. */
export class Unreachable extends Error {
  constructor(cause: unknown) {
    super('the county does not answer', { cause });
    this.name = 'Unreachable';
  }
}

export function isProblem(error: unknown, code?: string): error is ApiProblem {
  return error instanceof ApiProblem && (code === undefined || error.code === code);
}

/** What to tell a person about any error: the county's own words, or that it did not answer. */
export function problemText(error: unknown, t: (key: Key) => string, language: 'zh-CN' | 'en'): string {
  if (error instanceof ApiProblem) {
    const { body } = error;
    const title = language === 'en' ? body.title_en : body.title;
    const words = PLAIN[`${body.code}/${body.field}`] ?? PLAIN[body.code];
    return words ? t(words) : `${title}${body.field ? ` (${body.field})` : ''}`;
  }
  return t(error instanceof Unreachable ? 'error.unreachable' : 'error.unknown');
}

/** Codes for which the page has plainer words than the list. */
const PLAIN: Record<string, Key | undefined> = {
  'UNAUTHENTICATED/login': 'error.login',
  'STATE_CONFLICT/study_revision': 'error.studyRevision',
  'STATE_CONFLICT/replaces': 'error.draftElsewhere',
  'STATE_CONFLICT/draft_revision': 'error.draftElsewhere',
  PIN_WRONG: 'error.pin',
  LEASE_LOST: 'error.leaseLost',
  REVIEWER_IS_AUTHOR: 'error.reviewerIsAuthor',
};
