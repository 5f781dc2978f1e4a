import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { BACKGROUND, api, take } from '../api/client';
import { LiveEvents } from '../api/events';
import type { LiveEvent } from '../api/types';
import { useI18n } from '../i18n';
import { ring } from '../ui/sound';
import { type Filter, queryOf } from './filters';

/** Rows of one answer; a county's worst day is below it. */
const LIMIT = 500;
/** Events come in bursts; the list is read once for all of them. */
const GATHER_MS = 250;
/** Should an event ever be lost, the list is not older than this. */
const POLL_MS = 60_000;

/** One list of the county. Refetches count as the page's own, not as use of the session. */
export function useRows(filter: Filter) {
  const query = queryOf(filter);
  return useQuery({
    queryKey: ['worklist', query],
    queryFn: ({ signal }) =>
      take(api.GET('/api/v1/worklist', { params: { query: { ...query, limit: LIMIT } }, headers: BACKGROUND, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: POLL_MS,
  });
}

export type LiveState = 'connecting' | 'live' | 'lost';

/** Live events of the whole page: lists follow, urgent arrivals ring. */
export function useLive(onEvent?: (event: LiveEvent) => void): LiveState {
  const cache = useQueryClient();
  const { t } = useI18n();
  const [state, setState] = useState<LiveState>('connecting');
  const current = useRef({ onEvent, t });
  useEffect(() => {
    current.current = { onEvent, t };
  });

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const refresh = () => {
      clearTimeout(timer);
      timer = setTimeout(() => void cache.invalidateQueries({ queryKey: ['worklist'] }), GATHER_MS);
    };
    const events = new LiveEvents({
      onOpen: () => {
        setState('live');
        refresh();
      },
      onEvent: (event) => {
        refresh();
        current.current.onEvent?.(event);
        const urgent = event.class === 'green' || event.class === 'emergency';
        if (urgent && event.kind === 'study.arrived') {
          const { t } = current.current;
          ring(t('list.notification', { class: t(`class.${event.class as 'green'}`), clinic: event.clinic ?? '' }));
        }
      },
      onLost: () => setState('lost'),
    });
    return () => {
      clearTimeout(timer);
      events.close();
    };
  }, [cache]);
  return state;
}
