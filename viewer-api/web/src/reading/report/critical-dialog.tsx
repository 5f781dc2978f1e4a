import { AlertOutlined, PhoneOutlined } from '@ant-design/icons';
import { Alert, App, Button, Form, Input, Modal, Select } from 'antd';
import { useState } from 'react';
import { api, take } from '../../api/client';
import { problemText } from '../../api/problem';
import type { Study } from '../../api/types';
import { useI18n } from '../../i18n';
import { criticalItems } from './critical-list';

interface Fields {
  code: string;
  finding: string;
  advice?: string;
}

interface Props {
  study: Study;
  onClose: (sent: boolean) => void;
}

/** Raises a critical notice: it leaves at once, before any signature. */
export function CriticalDialog({ study, onClose }: Props) {
  const { t, language } = useI18n();
  const { message } = App.useApp();
  const [form] = Form.useForm<Fields>();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const items = criticalItems(study.row.kind);
  const group = (tier: 'A' | 'B') => ({
    label: t(`critical.tier${tier}`),
    options: items.filter((item) => item.tier === tier).map(({ code, zh, en }) => ({ value: code, label: `${code} ${language === 'en' ? en : zh}` })),
  });

  const send = async ({ code, finding, advice }: Fields) => {
    setBusy(true);
    setError(undefined);
    try {
      await take(
        api.POST('/api/v1/worklist/{item}/critical', {
          params: { path: { item: study.row.id } }, body: { code, finding: finding.trim(), advice: advice?.trim() || null },
        }),
      );
      void message.success(t('critical.sent'));
      onClose(true);
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };

  return (
    <Modal
      open title={<span className="over"><AlertOutlined /> {t('critical.title')}</span>} onCancel={() => onClose(false)} width={560}
      footer={
        <>
          <Button onClick={() => onClose(false)}>{t('list.cancel')}</Button>
          <Button danger type="primary" loading={busy} onClick={() => form.submit()}>{t('critical.send')}</Button>
        </>
      }
    >
      <p>{t('critical.lead')}</p>
      {study.context.phone && <Alert className="gap" type="warning" showIcon icon={<PhoneOutlined />} title={t('critical.phone', { phone: study.context.phone })} />}
      <Form<Fields> form={form} layout="vertical" onFinish={send} requiredMark={false}>
        <Form.Item name="code" label={t('critical.code')} rules={[{ required: true, message: t('critical.needCode') }]}>
          <Select
            showSearch={{ optionFilterProp: 'label' }} options={[group('A'), group('B')]}
            onChange={(code: string) => {
              const chosen = items.find((item) => item.code === code);
              if (chosen && !form.getFieldValue('finding')) form.setFieldValue('finding', chosen.zh);
            }}
          />
        </Form.Item>
        <Form.Item name="finding" label={t('critical.finding')} rules={[{ required: true, whitespace: true, message: t('critical.needFinding') }]}>
          <Input.TextArea rows={2} maxLength={1000} />
        </Form.Item>
        <Form.Item name="advice" label={t('critical.advice')}><Input.TextArea rows={2} maxLength={1000} /></Form.Item>
      </Form>
      {error !== undefined && <Alert type="error" showIcon role="alert" title={problemText(error, t, language)} />}
    </Modal>
  );
}
