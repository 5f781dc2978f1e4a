import { BellOutlined, GlobalOutlined, LogoutOutlined, MutedOutlined, SoundOutlined } from '@ant-design/icons';
import { Button, Tag } from 'antd';
import type { ReactNode } from 'react';
import { Link, useLocation } from 'wouter';
import { useSession } from '../api/session';
import { useI18n } from '../i18n';
import { useSound } from './sound';

/** The bar on every page but the study page. */
export function Header({ children }: { children?: ReactNode }) {
  const { t, language, setLanguage } = useI18n();
  const { me, logOut, can } = useSession();
  const [, go] = useLocation();
  const [sound, setSound] = useSound();
  return (
    <header className="bar">
      <strong className="brand"><BellOutlined /> {t('app.title')}</strong>
      <nav>
        {can('reader', 'reviewer', 'clinician') && <Link href="/">{t('app.worklist')}</Link>}
        {can('monitor', 'administrator') && <Link href="/monitor">{t('app.monitor')}</Link>}
      </nav>
      <div className="fill">{children}</div>
      {can('reader', 'reviewer') && (
        <Button
          type="text" aria-pressed={sound} icon={sound ? <SoundOutlined /> : <MutedOutlined />}
          title={t(sound ? 'app.sound.on' : 'app.sound.off')} aria-label={t(sound ? 'app.sound.on' : 'app.sound.off')}
          onClick={() => setSound(!sound)}
        />
      )}
      <Button type="text" icon={<GlobalOutlined />} onClick={() => setLanguage(language === 'en' ? 'zh-CN' : 'en')}>{t('app.language')}</Button>
      <Tag>{me?.name}</Tag>
      <Button
        type="text" icon={<LogoutOutlined />} title={t('app.logout')} aria-label={t('app.logout')}
        onClick={() => void logOut().then(() => go('/'))}
      />
    </header>
  );
}
