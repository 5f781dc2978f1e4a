import { LockOutlined, SafetyOutlined, UserOutlined } from '@ant-design/icons';
import { Alert, Button, Form, Input } from 'antd';
import { useState } from 'react';
import { problemText } from '../api/problem';
import { useSession } from '../api/session';
import type { Me } from '../api/types';
import { useI18n } from '../i18n';

interface Fields {
  login: string;
  password: string;
  totp?: string;
}

/** Staff number, password and one-time code. */
export function LoginForm({ fixedLogin, onDone }: { fixedLogin?: string | undefined; onDone?: (me: Me) => void }) {
  const { t, language } = useI18n();
  const { logIn } = useSession();
  const [form] = Form.useForm<Fields>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);

  const submit = async ({ login, password, totp }: Fields) => {
    setBusy(true);
    setError(undefined);
    try {
      const me = await logIn(login.trim(), password, (totp ?? '').replace(/\s/g, ''));
      onDone?.(me);
    } catch (problem) {
      setError(problem);
      form.setFieldValue('totp', '');
    } finally {
      setBusy(false);
    }
  };

  return (
    <Form<Fields> form={form} layout="vertical" requiredMark={false} onFinish={submit} initialValues={{ login: fixedLogin ?? '' }}>
      {error !== undefined && <Alert type="error" showIcon title={problemText(error, t, language)} className="gap" role="alert" />}
      <Form.Item name="login" label={t('login.login')} rules={[{ required: true, message: t('login.needLogin') }]}>
        <Input prefix={<UserOutlined />} autoComplete="username" autoFocus={!fixedLogin} size="large" maxLength={64} />
      </Form.Item>
      <Form.Item name="password" label={t('login.password')} rules={[{ required: true, message: t('login.needPassword') }]}>
        <Input.Password prefix={<LockOutlined />} autoComplete="current-password" autoFocus={!!fixedLogin} size="large" maxLength={256} />
      </Form.Item>
      <Form.Item
        name="totp" label={t('login.totp')} extra={t('login.totpHelp')}
        rules={[{ pattern: /^\s*(\d\s*){6}$/, message: t('login.badTotp') }]}
      >
        <Input prefix={<SafetyOutlined />} autoComplete="one-time-code" inputMode="numeric" size="large" maxLength={9} />
      </Form.Item>
      <Button type="primary" htmlType="submit" size="large" block loading={busy}>{t('login.submit')}</Button>
    </Form>
  );
}
