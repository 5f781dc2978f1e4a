import 'antd/dist/reset.css';
import './ui/style.css';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import dayjs from 'dayjs';
import 'dayjs/locale/zh-cn';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Pages } from './app';
import { ApiProblem } from './api/problem';
import { SessionProvider } from './api/session';
import { I18nProvider } from './i18n';

dayjs.locale('zh-cn');

const cache = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2_000,
      // A refusal stays a refusal; a cut connection is tried again.
      retry: (count, error) => !(error instanceof ApiProblem) && count < 3,
      refetchOnWindowFocus: true,
    },
  },
});

const root = document.getElementById('root');
if (!root) throw new Error('index.html has no #root');
createRoot(root).render(
  <StrictMode>
    <I18nProvider>
      <QueryClientProvider client={cache}>
        <SessionProvider>
          <Pages />
        </SessionProvider>
      </QueryClientProvider>
    </I18nProvider>
  </StrictMode>,
);
