import { useQuery } from '@tanstack/react-query';
import { Alert, App, Button, Empty, Spin } from 'antd';
import { useState } from 'react';
import { problemText } from '../../api/problem';
import { addsToOwn, awaitsAudit } from '../../api/rules';
import { useSession } from '../../api/session';
import { EMPTY_TEXT, type ReportKind, type Study } from '../../api/types';
import { useI18n } from '../../i18n';
import type { Desk } from '../use-desk';
import { AuditPanel } from './audit-panel';
import { Editor } from './editor';
import { Differs } from './history';
import { ReportForm } from './report-form';
import { loadDraft } from './use-draft';

const FIRST: readonly ReportKind[] = ['final', 'preliminary'];
const AGAIN: readonly ReportKind[] = ['correction', 'addendum'];

interface Props {
  study: Study;
  desk: Desk;
  online: boolean;
}

/** The report as the caller may have it: to write, to audit, to correct, or to read. */
export function ReportPanel({ study, desk, online }: Props) {
  const { me } = useSession();
  const { held } = desk;
  const last = study.versions.at(-1);
  const writes = held?.work === 'write' || held?.work === 'amend';
  const draft = useQuery({
    queryKey: ['draft', study.row.id, held?.work],
    queryFn: () => loadDraft(study.row.id).then((found) => found ?? null),
    enabled: writes, staleTime: Number.POSITIVE_INFINITY, gcTime: 0,
  });
  if (!me || !held) return <Reading study={study} desk={desk} online={online} />;
  if (held.work === 'audit') {
    return last ? <AuditPanel key={last.version} study={study} desk={desk} version={last} online={online} /> : <Empty />;
  }
  if (draft.isLoading) return <Spin className="centre" />;
  if (draft.isError) return <DraftError error={draft.error} />;
  const start = held.work === 'amend' && last ? last.text : EMPTY_TEXT;
  return (
    <Editor study={study} desk={desk} person={me.id} draft={draft.data ?? undefined} start={start} kinds={held.work === 'amend' ? AGAIN : FIRST} online={online} />
  );
}

function DraftError({ error }: { error: unknown }) {
  const { t, language } = useI18n();
  return <Alert type="error" showIcon title={problemText(error, t, language)} />;
}

/** Read-only, with the button that begins work where there is work for the caller. */
function Reading({ study, desk, online }: Props) {
  const { t, language } = useI18n();
  const { me, can } = useSession();
  const { message } = App.useApp();
  const [busy, setBusy] = useState(false);
  const { row } = study;
  const last = study.versions.at(-1);
  const audit = awaitsAudit(row);
  const adds = addsToOwn(row, me?.id);
  const own = audit && row.author === me?.id && !adds;
  const released = adds || row.state === 'audited' || row.state === 'closed' || (row.state === 'signed' && !audit);
  const free = row.state === 'waiting' || row.state === 'claimed' || row.state === 'drafted';
  const label = released ? 'edit.correct' : audit ? 'study.claimAudit' : 'study.claim';
  const may = can('reader', 'reviewer') && (free || released || (audit && can('reviewer') && !own));

  const begin = async () => {
    setBusy(true);
    try {
      await desk.claim();
    } catch (error) {
      void message.error(problemText(error, t, language));
      await desk.refresh();
    } finally {
      setBusy(false);
    }
  };
  return (
    <div className="editor">
      <Alert
        className="gap" type="info" showIcon
        title={row.lease && !row.mine ? t('study.readOnlyHeld', { name: row.lease.holder_name }) : own ? t('audit.notAuthor') : t('study.readOnly')}
        action={may && !(row.lease && !row.mine) && <Button type="primary" size="small" loading={busy} disabled={!online} onClick={() => void begin()}>{t(label)}</Button>}
      />
      {last && <Differs version={last} />}
      {last ? <ReportForm text={last.text} kind={row.kind} disabled onChange={() => undefined} /> : <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={t('version.none')} />}
    </div>
  );
}
