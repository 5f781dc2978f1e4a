import { ConfigProvider, theme } from 'antd';
import enUS from 'antd/locale/en_US';
import zhCN from 'antd/locale/zh_CN';
import type { ReactNode } from 'react';
import { useI18n } from '../i18n';

const FONTS = '"Microsoft YaHei", "PingFang SC", "Noto Sans CJK SC", "Noto Sans SC", "Segoe UI", sans-serif';

/** Dark for reading, light for lists and figures. */
export function Themed({ dark = false, children }: { dark?: boolean; children: ReactNode }) {
  const { language } = useI18n();
  return (
    <ConfigProvider
      locale={language === 'en' ? enUS : zhCN}
      button={{ autoInsertSpace: false }}
      theme={{
        algorithm: dark ? [theme.darkAlgorithm, theme.compactAlgorithm] : theme.compactAlgorithm,
        token: {
          fontFamily: FONTS, fontSize: 14, borderRadius: 4, colorPrimary: dark ? '#3c89e8' : '#1257b0',
          ...(dark ? { colorBgBase: '#0d1117', colorBgContainer: '#161b22', colorBgElevated: '#1c232d' } : {}),
        },
      }}
    >
      <div className={`themed ${dark ? 'dark' : 'light'}`}>{children}</div>
    </ConfigProvider>
  );
}
