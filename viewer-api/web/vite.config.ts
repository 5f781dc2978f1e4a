import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

// Windows 7 and the 360 browsers in county hospitals stopped at Chromium 109.
const OLDEST_BROWSERS = ['chrome109', 'edge109', 'firefox115'];

// Where `npm run mock` listens; `npm run dev` shows its county.
const MOCK = 'http://127.0.0.1:8190';

export default defineConfig({
  plugins: [react()],
  build: { target: OLDEST_BROWSERS, assetsDir: 'assets', chunkSizeWarningLimit: 1200, sourcemap: false },
  server: { proxy: { '/api': { target: MOCK } } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
