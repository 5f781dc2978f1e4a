import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

// Windows 7 and the 360 browsers in county hospitals stopped at Chromium 109.
const OLDEST_BROWSERS = ['chrome109', 'edge109', 'firefox115'];

export default defineConfig({
  plugins: [react()],
  build: { target: OLDEST_BROWSERS, assetsDir: 'assets', chunkSizeWarningLimit: 1200, sourcemap: false },
  server: { proxy: { '/api': { target: process.env['BASE_URL'] ?? 'http://127.0.0.1:8190', secure: false } } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
