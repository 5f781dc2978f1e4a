import { App, Modal } from 'antd';
import { useLocation } from 'wouter';
import { useSession } from '../api/session';
import { useI18n } from '../i18n';
import { LoginForm } from './login-form';

/** Log in again over the page: what is written below stays. */
export function LoginAgain() {
  const { t } = useI18n();
  const { me, ended } = useSession();
  const { message } = App.useApp();
  const [, go] = useLocation();
  const before = me?.id;
  return (
    <Modal open={ended} title={t('login.again')} footer={null} closable={false} mask={{ closable: false }} keyboard={false} destroyOnHidden>
      <p>{t('login.againHelp')}</p>
      <LoginForm
        fixedLogin={me?.id}
        onDone={(now) => {
          if (now.id === before) return;
          void message.info(t('login.other'));
          go('/');
        }}
      />
    </Modal>
  );
}
