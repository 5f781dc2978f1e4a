import createClient, { type Middleware } from 'openapi-fetch';
import { serverClock } from './clock';
import type { paths } from './generated';
import { ApiProblem, Unreachable } from './problem';
import type { ProblemBody } from './types';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Writes carry a header that no form of another site can set. */
const guard: Middleware = {
  onRequest({ request }) {
    if (!SAFE_METHODS.has(request.method)) request.headers.set('X-Relay', '1');
    return request;
  },
};

export const api = createClient<paths>({ credentials: 'same-origin' });
api.use(guard);

/** Header of a request that the page makes by itself: it must not keep the session of an empty chair alive. */
export const BACKGROUND = { 'X-Relay-Background': '1' } as const;

type SessionEnd = () => void;
let onSessionEnd: SessionEnd = () => undefined;
/** Counts logins: an answer to a question of an earlier session says nothing about this one. */
let logins = 0;

/** Called when somebody has logged in. */
export function sessionBegun(): void {
  logins += 1;
}

/** Called when the county says that the session has ended. */
export function whenSessionEnds(act: SessionEnd): void {
  onSessionEnd = act;
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

function asProblem(error: unknown, response: Response): ApiProblem {
  const body = error as Partial<ProblemBody> | undefined;
  const code = typeof body?.code === 'string' ? body.code : response.status === 401 ? 'UNAUTHENTICATED' : 'INTERNAL';
  return new ApiProblem({
    type: body?.type ?? 'about:blank',
    title: body?.title ?? `HTTP ${response.status}`,
    title_en: body?.title_en ?? `HTTP ${response.status}`,
    status: response.status,
    code,
    field: body?.field ?? '',
    reason: body?.reason ?? response.statusText,
  });
}

/** The answer's body, or a thrown problem. Syncs the clock with every answer that tells the time. */
export async function take<T>(call: Promise<Answer<T>>): Promise<T> {
  const askedIn = logins;
  let answer: Answer<T>;
  try {
    answer = await call;
  } catch (cause) {
    throw new Unreachable(cause);
  }
  if (!answer.response.ok) {
    const problem = asProblem(answer.error, answer.response);
    const ended = problem.code === 'UNAUTHENTICATED' && problem.body.field === 'session';
    if (ended && askedIn === logins) onSessionEnd();
    throw problem;
  }
  const told = (answer.data as { now_ms?: unknown } | undefined)?.now_ms;
  if (typeof told === 'number') serverClock.sync(told);
  return answer.data as T;
}

/** Path of an instance route. */
export function instancePath(at: { clinic: string; study_uid: string; hash: string }): string {
  const part = encodeURIComponent;
  return `/api/v1/studies/${part(at.clinic)}/${part(at.study_uid)}/instances/${part(at.hash)}`;
}

/** Bytes with progress; aborts with the signal. */
export async function fetchBytes(
  url: string,
  signal: AbortSignal,
  onProgress: (received: number, total: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  let response: Response;
  try {
    response = await fetch(url, { signal, credentials: 'same-origin' });
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw new Unreachable(cause);
  }
  if (!response.ok) throw asProblem(await response.json().catch(() => undefined), response);
  const total = Number(response.headers.get('content-length') ?? 0);
  if (!response.body || total === 0) return new Uint8Array(await response.arrayBuffer());
  const bytes = new Uint8Array(total);
  let received = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes.set(value, received);
    received += value.length;
    onProgress(received, total);
  }
  if (received !== total) throw new Unreachable(new Error(`${received} of ${total} bytes`));
  return bytes;
}
