import { ConfigProvider, theme } from 'antd';
import enUS from 'antd/locale/en_US';
import zhCN from 'antd/locale/zh_CN';
import { type ReactNode, useEffect } from 'react';
import { useI18n } from '../i18n';

const FONTS = '"Microsoft YaHei", "PingFang SC", "Noto Sans CJK SC", "Noto Sans SC", "Segoe UI", sans-serif';

/** Asked of the system: popups then open without movement. */
const still = matchMedia('(prefers-reduced-motion: reduce)').matches;

/** Dark for reading, light for lists and figures. */
export function Themed({ dark = false, children }: { dark?: boolean; children: ReactNode }) {
  const { language } = useI18n();
  // Dialogs hang on the body: they take their colours from there.
  useEffect(() => {
    document.body.classList.toggle('dark', dark);
  }, [dark]);
  return (
    <ConfigProvider
      locale={language === 'en' ? enUS : zhCN}
      button={{ autoInsertSpace: false }}
      theme={{
        algorithm: dark ? [theme.darkAlgorithm, theme.compactAlgorithm] : theme.compactAlgorithm,
        token: {
          fontFamily: FONTS, fontSize: 14, borderRadius: 4, motion: !still, colorPrimary: dark ? '#3c89e8' : '#1257b0',
          ...(dark ? { colorBgBase: '#0d1117', colorBgContainer: '#161b22', colorBgElevated: '#1c232d' } : {}),
        },
      }}
    >
      <div className={`themed ${dark ? 'dark' : 'light'}`}>{children}</div>
    </ConfigProvider>
  );
}
