import { RollbackOutlined } from '@ant-design/icons';
import { Alert, Button, Form, Input, Modal, Select } from 'antd';
import { useState } from 'react';
import { api, take } from '../../api/client';
import { problemText } from '../../api/problem';
import type { Study } from '../../api/types';
import { useI18n } from '../../i18n';

/** The county's reason words. */
const REASONS = ['position', 'exposure', 'motion', 'wrong_patient', 'lead_off', 'incomplete', 'other'] as const;
type Reason = (typeof REASONS)[number];
const ONLY: Record<'xray' | 'ecg', readonly Reason[]> = { xray: ['position', 'exposure'], ecg: ['lead_off'] };

interface Fields {
  reason: Reason;
  text: string;
}

interface Props {
  study: Study;
  epoch: number;
  onClose: (sent: boolean) => void;
  onError: (error: unknown) => void;
}

/** 退回: the clinic is asked to take it again, or to complete it. */
export function RetakeDialog({ study, epoch, onClose, onError }: Props) {
  const { t, language } = useI18n();
  const [form] = Form.useForm<Fields>();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const other = study.row.kind === 'ecg' ? ONLY.xray : ONLY.ecg;

  const send = async ({ reason, text }: Fields) => {
    setBusy(true);
    setError(undefined);
    try {
      await take(api.POST('/api/v1/worklist/{item}/retake', { params: { path: { item: study.row.id } }, body: { epoch, reason, text: text.trim() } }));
      onClose(true);
    } catch (problem) {
      setError(problem);
      onError(problem);
    } finally {
      setBusy(false);
    }
  };

  return (
    <Modal
      open title={<span><RollbackOutlined /> {t('retake.title')}</span>} onCancel={() => onClose(false)} width={520}
      footer={
        <>
          <Button onClick={() => onClose(false)}>{t('list.cancel')}</Button>
          <Button danger type="primary" loading={busy} onClick={() => form.submit()}>{t('retake.send')}</Button>
        </>
      }
    >
      <p>{t('retake.lead')}</p>
      <Form<Fields> form={form} layout="vertical" onFinish={send} requiredMark={false}>
        <Form.Item name="reason" label={t('retake.reason')} rules={[{ required: true, message: t('retake.needReason') }]}>
          <Select
            options={REASONS.filter((reason) => !other.includes(reason)).map((value) => ({ value, label: t(`retake.r.${value}`) }))}
            onChange={(reason: Reason) => form.setFieldValue('text', t(`retake.t.${reason}`))}
          />
        </Form.Item>
        <Form.Item name="text" label={t('retake.text')} rules={[{ required: true, whitespace: true, message: t('retake.needText') }]}>
          <Input.TextArea rows={3} maxLength={1000} />
        </Form.Item>
      </Form>
      {error !== undefined && <Alert type="error" showIcon role="alert" title={problemText(error, t, language)} />}
    </Modal>
  );
}
