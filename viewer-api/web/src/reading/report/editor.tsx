import { AlertOutlined, EditOutlined, RollbackOutlined, SaveOutlined } from '@ant-design/icons';
import { useQueryClient } from '@tanstack/react-query';
import { Alert, App, Button } from 'antd';
import { useState } from 'react';
import { api, take } from '../../api/client';
import { problemText } from '../../api/problem';
import type { Draft, DraftText, ReportKind, Study, Waveform } from '../../api/types';
import { useI18n } from '../../i18n';
import { clockTime } from '../../ui/format';
import { useKeys } from '../../ui/keys';
import type { Desk } from '../use-desk';
import { checksOf } from './checks';
import { CriticalDialog } from './critical-dialog';
import { ReportForm } from './report-form';
import { RetakeDialog } from './retake-dialog';
import { SignDialog, type Signing } from './sign-dialog';
import { TemplateMenu } from './template-menu';
import { applied, filled, groupsFor } from './templates';
import { useDraft } from './use-draft';

interface Props {
  study: Study;
  desk: Desk;
  person: string;
  draft: Draft | undefined;
  start: DraftText;
  kinds: readonly ReportKind[];
  online: boolean;
}

/** Numbers of the cart that placeholders may take; the reader still reads them. */
function machineValues(wave: Waveform | undefined): Record<string, string> {
  const value = (key: string) => wave?.measurements.find((m) => m.key === key)?.value;
  const pairs = [['心率', 'rate_bpm'], ['PR', 'pr_ms']] as const;
  return Object.fromEntries(
    pairs.flatMap(([name, key]) => {
      const number = value(key);
      return number == null ? [] : [[name, String(Math.round(number))]];
    }),
  );
}

export function Editor({ study, desk, person, draft, start, kinds, online }: Props) {
  const { t, language } = useI18n();
  const { message } = App.useApp();
  const cache = useQueryClient();
  const item = study.row.id;
  const epoch = desk.held?.epoch ?? 0;
  const words = useDraft({ item, person, epoch, start, draft, onError: desk.noticed });
  const [dialog, setDialog] = useState<'sign' | 'critical' | 'retake'>();
  const { text, state, saver } = words;
  const blocked = desk.lost;
  const ecg = study.objects.find((object) => object.current && object.rows === 0);
  const wave = cache.getQueryData<Waveform>(['waveform', ecg?.hash]);

  const insert = (template: Partial<DraftText>) => words.write(filled(applied(text, template), machineValues(wave)));
  const phrase = (at: number) => () => {
    const found = groupsFor(study.row.kind, study.row.item)[0]?.phrases[at];
    if (found && !blocked) insert({ findings: found });
  };
  const openSign = async () => {
    if (blocked || !online) return;
    await saver.flush();
    setDialog('sign');
  };
  useKeys({
    'Ctrl+KeyS': () => void saver.flush(), 'Ctrl+Enter': () => void openSign(),
    ...Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`Alt+Digit${i + 1}`, phrase(i)])),
  });

  const sign = async ({ kind, reason, pin }: Signing) => {
    if (!(await saver.flush())) throw state.kind === 'failed' ? state.error : new Error('not saved');
    const body = { epoch, draft_revision: saver.revision, study_revision: study.revision, kind, reason: reason || null, pin };
    try {
      const signed = await take(api.POST('/api/v1/worklist/{item}/sign', { params: { path: { item } }, body }));
      setDialog(undefined);
      const values = { kind: t(`report.${signed.kind}`), version: signed.paper_version };
      const word = signed.kind === 'preliminary' && signed.state === 'signed' ? 'awaitsAudit' : signed.state;
      void message.success(t('sign.done', { ...values, state: t(`state.${word}`) }));
      await desk.done();
    } catch (error) {
      desk.noticed(error);
      await desk.refresh();
      throw error;
    }
  };

  return (
    <div className="editor">
      {words.recovered && (
        <Alert
          className="gap" type="info" showIcon title={t('edit.recovered', { at: clockTime(words.recovered.atMs) })}
          action={<><Button size="small" type="primary" onClick={words.useRecovered}>{t('edit.useRecovered')}</Button> <Button size="small" onClick={words.dropRecovered}>{t('edit.dropRecovered')}</Button></>}
        />
      )}
      {words.other && (
        <Alert
          className="gap" type="warning" showIcon title={t('edit.otherDraft')} description={words.other.text.findings.slice(0, 60)}
          action={<><Button size="small" type="primary" onClick={() => words.resolve(true)}>{t('edit.takeServer')}</Button> <Button size="small" onClick={() => words.resolve(false)}>{t('edit.keepMine')}</Button></>}
        />
      )}
      {draft && draft.author !== person && <p className="dim">{t('edit.draftOf', { name: draft.author })}</p>}
      <div className="editor-bar">
        <TemplateMenu kind={study.row.kind} item={study.row.item} disabled={blocked} onTemplate={insert} />
        <span className="fill" />
        <span className={state.kind === 'failed' ? 'over' : 'dim'} role="status" data-save={state.kind}>
          {state.kind === 'dirty' && t('edit.unsaved')}
          {state.kind === 'saving' && t('edit.saving')}
          {state.kind === 'clean' && state.savedAtMs !== undefined && t('edit.saved', { at: clockTime(state.savedAtMs) })}
          {state.kind === 'failed' && t('edit.saveFailed', { why: problemText(state.error, t, language) })}
        </span>
      </div>
      <ReportForm text={text} kind={study.row.kind} disabled={blocked} onChange={words.write} onBlur={() => void saver.flush()} />
      <div className="actions">
        <Button icon={<SaveOutlined />} disabled={blocked} onClick={() => void saver.flush()}>{t('edit.save')}</Button>
        <Button danger icon={<AlertOutlined />} onClick={() => setDialog('critical')}>{t('edit.critical')}</Button>
        {desk.held?.work === 'write' && <Button icon={<RollbackOutlined />} disabled={blocked} onClick={() => setDialog('retake')}>{t('edit.retake')}</Button>}
        <span className="fill" />
        <Button type="primary" size="large" icon={<EditOutlined />} disabled={blocked || !online} title={online ? 'Ctrl+Enter' : t('error.unreachable')} onClick={() => void openSign()}>{t('edit.sign')}</Button>
      </div>
      {dialog === 'sign' && (
        <SignDialog study={study} title={t('sign.title')} kinds={kinds} checks={checksOf(text, study, wave?.statements)} onSign={sign} onClose={() => setDialog(undefined)} />
      )}
      {dialog === 'critical' && <CriticalDialog study={study} onClose={() => { setDialog(undefined); void desk.refresh(); }} />}
      {dialog === 'retake' && (
        <RetakeDialog
          study={study} epoch={epoch} onError={desk.noticed}
          onClose={(sent) => {
            setDialog(undefined);
            if (!sent) return;
            void message.success(t('retake.sent'));
            void desk.done();
          }}
        />
      )}
    </div>
  );
}
