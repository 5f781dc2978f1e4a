// One person at one browser: what a reader does, for the end-to-end test and the screenshots.
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { totp, untilNext } from './totp.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
/** ms */
const PATIENCE = 20_000;

/** With DIST=DIR the pages come from that folder instead of the ones embedded in the county's binary. */
function fromDist(route) {
  const { pathname } = new URL(route.request().url());
  const name = pathname.startsWith('/assets/') ? pathname : '/index.html';
  return route.fulfill({ path: join(process.env.DIST, name) });
}

export const launch = () => chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });

export class Desk {
  /** A browser context of its own: cookies are not shared between people. */
  static async open(browser, url) {
    const context = await browser.newContext({
      viewport: { width: 1600, height: 960 }, locale: 'zh-CN', timezoneId: 'Asia/Shanghai', reducedMotion: 'reduce', ignoreHTTPSErrors: true,
    });
    context.setDefaultTimeout(PATIENCE);
    if (process.env.DIST) await context.route((target) => !target.pathname.startsWith('/api/'), fromDist);
    return new Desk(await context.newPage(), url);
  }

  constructor(page, url) {
    this.page = page;
    this.url = url;
    this.problems = [];
    /** Answers that a test provokes on purpose; the browser prints each refused request as an error. */
    this.expected = [];
    page.on('pageerror', (error) => this.problems.push(`page error: ${error.message}`));
    page.on('console', (message) => {
      if (message.type() !== 'error') return;
      const said = `${message.text()} ${message.location().url}`;
      if (!this.expected.some((pattern) => pattern.test(said))) this.problems.push(`console: ${said}`);
    });
    page.on('request', (request) => {
      const target = request.url();
      if (!target.startsWith(url) && !/^(data|blob):/.test(target)) this.problems.push(`left the host: ${target}`);
    });
    // Who is not logged in is told so: 401 on the first question.
    this.expected.push(/401.*\/api\/v1\/session/);
  }

  async logIn({ login, password, totp_secret: secret }) {
    // A code is taken once: near its end, wait for the next.
    if (secret) await this.until(untilNext, (seconds) => seconds >= 3, 'a fresh one-time code');
    await this.page.goto(this.url);
    await this.page.getByLabel('工号').fill(login);
    await this.page.getByLabel('密码', { exact: true }).fill(password);
    if (secret) await this.page.getByLabel(/动态口令/).fill(totp(secret));
    await this.page.getByRole('button', { name: '登录' }).click();
    await this.page.getByRole('button', { name: '退出登录' }).waitFor();
    await this.drawn();
  }

  /** Claims a row by Enter and waits for its study. */
  async openItem(item) {
    const row = this.page.locator(`[data-item="${item}"]`);
    await row.focus();
    await this.page.keyboard.press('Enter');
    await this.page.locator(`[data-study="${item}"]`).waitFor();
  }

  /** The original samples are shown in every pane. */
  async filmReady() {
    await this.page.locator('.film[data-final="yes"]').first().waitFor();
    await this.page.waitForFunction(() => document.querySelectorAll('.film[data-final="no"]').length === 0);
    await this.drawn();
  }

  /** Everything asked for so far has been drawn: the frame after the next one has begun. */
  drawn() {
    return this.page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  }

  /** Looks again, frame by frame, until it is good; says what it saw last when it never was. */
  async until(look, good, what) {
    const end = Date.now() + PATIENCE;
    let seen = await look();
    while (!good(seen)) {
      if (Date.now() > end) throw new Error(`${what}: last seen ${JSON.stringify(seen)}`);
      await this.drawn();
      seen = await look();
    }
    return seen;
  }

  /** Mean grey of the first film's canvas. */
  filmMean() {
    return this.page.evaluate(() => {
      const canvas = document.querySelector('.film-canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      let sum = 0;
      for (let i = 0; i < data.length; i += 4) sum += data[i];
      return sum / (data.length / 4);
    });
  }

  /** Drags inside a box, in shares of it. */
  async drag(box, [x0, y0], [x1, y1]) {
    const { mouse } = this.page;
    await mouse.move(box.x + x0 * box.width, box.y + y0 * box.height);
    await mouse.down();
    await mouse.move(box.x + x1 * box.width, box.y + y1 * box.height, { steps: 8 });
    await mouse.up();
  }

  async write(findings, impression, { result = '阳性', ecgClass } = {}) {
    await this.page.getByLabel('检查所见').fill(findings);
    await this.page.getByLabel('诊断意见').fill(impression);
    await this.page.locator('.choices').getByText(result, { exact: true }).click();
    if (ecgClass) await this.page.locator('.choices').getByText(ecgClass, { exact: true }).click();
  }

  /** Signs (or audits) with the PIN; ticks what has to be looked at. */
  async sign(pin, button = /(^|\s)签名$/) {
    await this.page.getByRole('button', { name: button }).click();
    const dialog = this.page.getByRole('dialog');
    await dialog.getByLabel('签名 PIN').waitFor();
    for (const box of await dialog.getByRole('checkbox').all()) await box.check();
    await dialog.getByLabel('签名 PIN').fill(pin);
    await dialog.getByRole('button', { name: '确认签名' }).click();
    await this.page.getByText(/^已签名/).waitFor();
  }
}
