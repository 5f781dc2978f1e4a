import { CheckCircleOutlined, SafetyCertificateOutlined } from '@ant-design/icons';
import { Alert, Button, Checkbox, Input, Modal, Radio } from 'antd';
import { useState } from 'react';
import { problemText } from '../../api/problem';
import type { ReportKind, Study } from '../../api/types';
import { useI18n } from '../../i18n';
import { examName, personName } from '../../ui/names';
import type { Check } from './checks';

export interface Signing {
  kind: ReportKind;
  reason: string;
  pin: string;
}

interface Props {
  study: Study;
  title: string;
  checks: readonly Check[];
  /** Kinds that can be chosen; one is no choice. */
  kinds: readonly ReportKind[];
  onSign: (signing: Signing) => Promise<void>;
  onClose: () => void;
}

const LOOK = { stop: 'error', confirm: 'warning', hint: 'info' } as const;

/** Checks, then the PIN. What must stop stops; what must be looked at is ticked one by one. */
export function SignDialog({ study, title, checks, kinds, onSign, onClose }: Props) {
  const { t, language } = useI18n();
  const [kind, setKind] = useState<ReportKind>(kinds[0] ?? 'final');
  const [reason, setReason] = useState('');
  const [pin, setPin] = useState('');
  const [acked, setAcked] = useState<ReadonlySet<string>>(new Set());
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();

  const needsReason = kind === 'correction' || kind === 'addendum';
  const stopped = checks.some(({ level }) => level === 'stop');
  const open = checks.some(({ level, key }) => level === 'confirm' && !acked.has(key));
  const ready = !stopped && !open && pin !== '' && (!needsReason || reason.trim() !== '');

  const sign = async () => {
    if (!ready || busy) return;
    setBusy(true);
    setError(undefined);
    try {
      await onSign({ kind, reason: reason.trim(), pin });
    } catch (problem) {
      setError(problem);
      setPin('');
    } finally {
      setBusy(false);
    }
  };
  const said = ({ key, values, words }: Check) =>
    t(key, { ...values, ...Object.fromEntries(Object.entries(words ?? {}).map(([name, word]) => [name, t(word)])) });
  const tick = (key: string, on: boolean) => {
    const next = new Set(acked);
    if (on) next.add(key);
    else next.delete(key);
    setAcked(next);
  };

  const { row } = study;
  return (
    <Modal
      open title={<span><SafetyCertificateOutlined /> {title}</span>} onCancel={onClose} width={560}
      footer={
        <>
          <Button onClick={onClose}>{t('sign.cancel')}</Button>
          <Button type="primary" loading={busy} disabled={!ready} onClick={() => void sign()}>{t('sign.confirm')}</Button>
        </>
      }
    >
      <p><b>{personName(row.patient.name)}</b> · {examName(row.item, language === 'zh-CN')} · {row.clinic_name}</p>
      {checks.length === 0 && <p className="ok"><CheckCircleOutlined /> {t('sign.clean')}</p>}
      {checks.map((check) => (
        <Alert
          key={`${check.key}/${JSON.stringify(check.words ?? '')}`} className="gap" showIcon type={LOOK[check.level]} title={said(check)}
          description={
            check.level === 'confirm' && (
              <Checkbox checked={acked.has(check.key)} onChange={(event) => tick(check.key, event.target.checked)}>{t('sign.ack')}</Checkbox>
            )
          }
        />
      ))}
      {row.objects_stored < row.objects_announced && (
        <Alert className="gap" showIcon type="warning" title={t('sign.partial', { stored: row.objects_stored, announced: row.objects_announced })} />
      )}
      {!stopped && (
        <div className="sign-form">
          {kinds.length > 1 && (
            <>
              <span id="sign-kind">{t('sign.kind')}</span>
              <Radio.Group aria-labelledby="sign-kind" value={kind} onChange={(event) => setKind(event.target.value as ReportKind)} options={kinds.map((value) => ({ value, label: t(`report.${value}`) }))} />
              <p className="dim">{t('sign.policyNote')}</p>
            </>
          )}
          {needsReason && (
            <>
              <label htmlFor="sign-reason">{t('sign.reason')}</label>
              <Input id="sign-reason" value={reason} maxLength={1000} onChange={(event) => setReason(event.target.value)} />
            </>
          )}
          <label htmlFor="sign-pin">{t('sign.pin')}</label>
          <Input.Password
            id="sign-pin" value={pin} autoFocus autoComplete="off" maxLength={64} visibilityToggle={false}
            onChange={(event) => setPin(event.target.value)} onPressEnter={(event) => !event.nativeEvent.isComposing && void sign()}
          />
        </div>
      )}
      {error !== undefined && <Alert className="gap" type="error" showIcon role="alert" title={problemText(error, t, language)} />}
    </Modal>
  );
}
