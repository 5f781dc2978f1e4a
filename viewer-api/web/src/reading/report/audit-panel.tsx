import { AlertOutlined, CheckOutlined, EditOutlined, UndoOutlined } from '@ant-design/icons';
import { Alert, App, Button, Card } from 'antd';
import { useState } from 'react';
import { api, take } from '../../api/client';
import type { DraftText, ReportVersion, Study } from '../../api/types';
import { useI18n } from '../../i18n';
import { shortTime } from '../../ui/format';
import type { Desk } from '../use-desk';
import { checksOf } from './checks';
import { CriticalDialog } from './critical-dialog';
import { DiffView } from './diff-view';
import { Differs } from './history';
import { ReportForm } from './report-form';
import { SignDialog, type Signing } from './sign-dialog';

interface Props {
  study: Study;
  desk: Desk;
  version: ReportVersion;
  online: boolean;
}

const FIELDS = ['findings', 'impression', 'advice', 'result', 'ecg_class'] as const;
const equal = (a: DraftText, b: DraftText): boolean => FIELDS.every((field) => a[field] === b[field]);

/** 审核: the author's words; the reviewer accepts them or changes them, and sees what he changed before he signs. */
export function AuditPanel({ study, desk, version, online }: Props) {
  const { t } = useI18n();
  const { message } = App.useApp();
  const [text, setText] = useState<DraftText>(version.text);
  const [editing, setEditing] = useState(false);
  const [dialog, setDialog] = useState<'sign' | 'critical'>();
  const changed = !equal(text, version.text);
  const item = study.row.id;
  const epoch = desk.held?.epoch ?? 0;

  const sign = async ({ pin }: Signing) => {
    const body = {
      epoch, draft_revision: 0, study_revision: study.revision, kind: 'final' as const, pin, changed: changed ? text : null,
    };
    try {
      const signed = await take(api.POST('/api/v1/worklist/{item}/audit', { params: { path: { item } }, body }));
      setDialog(undefined);
      void message.success(t('sign.done', { kind: t(`report.${signed.kind}`), version: signed.paper_version, state: t(`state.${signed.state}`) }));
      await desk.done();
    } catch (error) {
      desk.noticed(error);
      await desk.refresh();
      throw error;
    }
  };

  return (
    <div className="editor">
      <Alert
        className="gap" type="info" showIcon
        title={t('audit.author', { name: version.author_name, at: shortTime(version.signed_at_ms) })}
        action={
          editing
            ? <Button size="small" icon={<UndoOutlined />} onClick={() => { setText(version.text); setEditing(false); }}>{t('audit.unchange')}</Button>
            : <Button size="small" icon={<EditOutlined />} disabled={desk.lost} onClick={() => setEditing(true)}>{t('audit.change')}</Button>
        }
      />
      <Differs version={version} />
      <ReportForm text={text} kind={study.row.kind} disabled={!editing || desk.lost} onChange={setText} />
      {editing && <Card size="small" title={t('audit.diff')}><DiffView before={version.text} after={text} /></Card>}
      <div className="actions">
        <Button danger icon={<AlertOutlined />} onClick={() => setDialog('critical')}>{t('edit.critical')}</Button>
        <span className="fill" />
        <Button type="primary" size="large" icon={<CheckOutlined />} disabled={desk.lost || !online} onClick={() => setDialog('sign')}>
          {t(changed ? 'audit.acceptChanged' : 'audit.accept')}
        </Button>
      </div>
      {dialog === 'sign' && (
        <SignDialog study={study} title={t('sign.auditTitle')} kinds={['final']} checks={checksOf(text, study)} onSign={sign} onClose={() => setDialog(undefined)} />
      )}
      {dialog === 'critical' && <CriticalDialog study={study} onClose={() => { setDialog(undefined); void desk.refresh(); }} />}
    </div>
  );
}
