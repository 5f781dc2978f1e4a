import { Button, Card } from 'antd';
import { useI18n } from '../i18n';
import { LoginForm } from './login-form';

export function LoginPage() {
  const { t, language, setLanguage } = useI18n();
  return (
    <main className="login">
      <Card className="login-card">
        <h1>{t('app.title')}</h1>
        <p className="dim">{t('app.county')}</p>
        <LoginForm />
        <Button type="link" block onClick={() => setLanguage(language === 'en' ? 'zh-CN' : 'en')}>{t('app.language')}</Button>
      </Card>
    </main>
  );
}
