import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useRef, useState } from 'react';
import { BACKGROUND, api, take } from '../api/client';
import { isProblem } from '../api/problem';
import { addsToOwn, awaitsAudit } from '../api/rules';
import { useSession } from '../api/session';
import type { Study } from '../api/types';

/** Input renews the lease at most so often; the shortest lease is two minutes. */
const RENEW_EVERY_MS = 20_000;
/** Input of a person, anywhere on the page. */
const INPUTS = ['keydown', 'pointerdown', 'wheel'] as const;

export type Work = 'write' | 'audit' | 'amend';

export interface Held {
  epoch: number;
  work: Work;
}

const workOf = (study: Study, me: string | undefined): Work => {
  if (awaitsAudit(study.row)) return addsToOwn(study.row, me) ? 'amend' : 'audit';
  return study.row.state === 'claimed' || study.row.state === 'drafted' ? 'write' : 'amend';
};

export const studyKey = (item: number) => ['study', item] as const;

export function useStudy(item: number) {
  return useQuery({
    queryKey: studyKey(item),
    queryFn: ({ signal }) => take(api.GET('/api/v1/worklist/{item}/study', { params: { path: { item } }, headers: BACKGROUND, signal })),
  });
}

/**
 * The caller's hold on a work item. Once held it stays on the page until he signs or gives it back, also when the lease
 * is lost: his words stay, writing stops until he claims again.
 */
export function useDesk(item: number, study: Study | undefined) {
  const cache = useQueryClient();
  const { me } = useSession();
  const [held, setHeld] = useState<Held>();
  /** Epochs whose end is known: signed or given back here, or refused by the county. */
  const [finished, setFinished] = useState(0);
  const [refused, setRefused] = useState(0);
  const row = study?.row;
  const mineEpoch = row?.mine ? row.lease?.epoch : undefined;

  const heldEpoch = held?.epoch;
  const lost = heldEpoch !== undefined && (refused === heldEpoch || (study !== undefined && mineEpoch !== heldEpoch));
  if (study && mineEpoch !== undefined && heldEpoch === undefined && mineEpoch > finished) {
    setHeld({ epoch: mineEpoch, work: workOf(study, me?.id) });
  }

  const refresh = useCallback(() => cache.invalidateQueries({ queryKey: studyKey(item) }), [cache, item]);

  const claim = useCallback(async () => {
    const { lease } = await take(api.POST('/api/v1/worklist/{item}/claim', { params: { path: { item } } }));
    const fresh = await cache.fetchQuery({
      queryKey: studyKey(item), staleTime: 0,
      queryFn: () => take(api.GET('/api/v1/worklist/{item}/study', { params: { path: { item } } })),
    });
    setHeld((before) => ({ epoch: lease.epoch, work: before?.work ?? workOf(fresh, me?.id) }));
    return lease;
  }, [cache, item, me?.id]);

  const letGo = useCallback(() => {
    setFinished(heldEpoch ?? 0);
    setHeld(undefined);
  }, [heldEpoch]);

  const release = useCallback(async () => {
    if (heldEpoch === undefined) return;
    await take(api.POST('/api/v1/worklist/{item}/release', { params: { path: { item } }, body: { epoch: heldEpoch } }));
    letGo();
  }, [heldEpoch, item, letGo]);

  /** The work is done: nothing is held any more. */
  const done = useCallback(async () => {
    letGo();
    await refresh();
    await cache.invalidateQueries({ queryKey: ['worklist'] });
  }, [cache, letGo, refresh]);

  /** Takes note of an error that means that the lease is gone. */
  const noticed = useCallback((error: unknown) => {
    if (isProblem(error, 'LEASE_LOST')) setRefused(heldEpoch ?? 0);
  }, [heldEpoch]);

  const renewedAt = useRef(0);
  const epoch = lost ? undefined : heldEpoch;
  useEffect(() => {
    if (epoch === undefined) return undefined;
    const renew = () => {
      if (performance.now() - renewedAt.current < RENEW_EVERY_MS) return;
      renewedAt.current = performance.now();
      take(api.POST('/api/v1/worklist/{item}/renew', { params: { path: { item } }, body: { epoch } })).catch(noticed);
    };
    for (const input of INPUTS) window.addEventListener(input, renew, { passive: true });
    return () => {
      for (const input of INPUTS) window.removeEventListener(input, renew);
    };
  }, [epoch, item, noticed]);

  return { held, lost, claim, release, done, noticed, refresh };
}

export type Desk = ReturnType<typeof useDesk>;
