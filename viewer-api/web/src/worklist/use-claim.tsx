import { useQueryClient } from '@tanstack/react-query';
import { App } from 'antd';
import { useCallback } from 'react';
import { useLocation } from 'wouter';
import { api, take } from '../api/client';
import { serverClock } from '../api/clock';
import { isProblem, problemText } from '../api/problem';
import { useSession } from '../api/session';
import type { Kind, WorkRow } from '../api/types';
import { useI18n } from '../i18n';
import { clockTime } from '../ui/format';
import { awaitsAudit } from '../api/rules';

/** Opening a case: claims where there is work for the caller, else opens it to read. */
export function useClaim() {
  const { t, language } = useI18n();
  const { me, can } = useSession();
  const { message, modal } = App.useApp();
  const cache = useQueryClient();
  const [, go] = useLocation();

  const open = useCallback(
    async (row: WorkRow) => {
      const show = () => go(`/study/${row.id}`);
      const reads = can('reader', 'reviewer');
      const audit = awaitsAudit(row);
      const mineToAudit = audit && can('reviewer') && row.author !== me?.id;
      const toRead = row.state === 'waiting' || row.state === 'claimed' || row.state === 'drafted';
      if (!reads || (!toRead && !mineToAudit)) return show();
      try {
        await take(api.POST('/api/v1/worklist/{item}/claim', { params: { path: { item: row.id } } }));
        await cache.invalidateQueries({ queryKey: ['study', row.id] });
        return show();
      } catch (error) {
        if (!isProblem(error, 'CLAIM_HELD')) return void message.error(problemText(error, t, language));
        return void modal.confirm(await heldBy(row));
      }

      async function heldBy(row: WorkRow) {
        const study = await take(
          api.GET('/api/v1/worklist/{item}/study', { params: { path: { item: row.id } } }),
        ).catch(() => undefined);
        const lease = study?.row.lease ?? row.lease;
        const since = lease?.claimed_at_ms ?? serverClock.now();
        const minutes = Math.max(0, Math.floor((serverClock.now() - since) / 60_000));
        return {
          title: t('list.held', { name: lease?.holder_name ?? '—' }),
          content: t('list.heldSince', { since: clockTime(since), minutes }),
          okText: t('list.readOnly'),
          cancelText: t('list.cancel'),
          onOk: show,
        };
      }
    },
    [can, cache, go, language, me?.id, message, modal, t],
  );

  const next = useCallback(
    async (kind: Kind | undefined) => {
      try {
        const { claimed } = await take(api.POST('/api/v1/worklist/claim-next', { body: { kind: kind ?? null } }));
        if (!claimed) return void message.info(t('list.nextNone'));
        await cache.invalidateQueries({ queryKey: ['study', claimed.item] });
        go(`/study/${claimed.item}`);
      } catch (error) {
        void message.error(problemText(error, t, language));
      }
      return undefined;
    },
    [cache, go, language, message, t],
  );
  return { open, next };
}
