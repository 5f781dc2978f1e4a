// The reading room in a real browser: log in, list, film, window, write, sign, audit.
//
//   node --test tests/reading.e2e.mjs                        against the mock county
//   DEMO=DIR/demo.json node --test tests/reading.e2e.mjs     against a running county (BASE_URL overrides its address)
//
// SHOTS=DIR keeps a screenshot of every step.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Desk, launch } from './desk.mjs';
import { startMock } from './mock/server.mjs';

const demo = process.env.DEMO ? JSON.parse(readFileSync(process.env.DEMO, 'utf8')) : undefined;
const shots = process.env.SHOTS;
if (shots) mkdirSync(shots, { recursive: true });

let mock;
let browser;
let url;
let logins;

before(async () => {
  if (!demo && !process.env.BASE_URL) mock = await startMock();
  url = String(process.env.BASE_URL ?? demo?.viewer_url ?? mock?.url).replace(/\/$/, '');
  logins = demo?.logins ?? mock?.logins;
  browser = await launch();
});
after(async () => {
  await browser?.close();
  mock?.close();
});

const rolesOf = (login) => login.roles ?? [login.role];
const reads = (login, kind) => !kind || !login.kinds || login.kinds.includes(kind);
const withRole = (role, kind, not) => logins.find((login) => rolesOf(login).includes(role) && login !== not && reads(login, kind));

async function desk(t, login) {
  const opened = await Desk.open(browser, url);
  t.after(async () => {
    if (shots) await opened.page.screenshot({ path: join(shots, `${t.name.replace(/\W+/gu, '-')}.png`) });
    await opened.page.context().close();
  });
  await opened.logIn({ ...login, login: login.login ?? login.id });
  return opened;
}

/** Item ids on the list that have a film or an ECG, in the county's order. */
async function items(opened, kind) {
  await opened.page.locator('.ant-segmented').getByText(kind, { exact: true }).click();
  const rows = opened.page.locator('.list [data-item]');
  await rows.first().waitFor();
  return rows.evaluateAll((all) => all.map((row) => Number(row.dataset.item)));
}

test('a film is read, signed by its author and audited by a second person', { timeout: 180_000 }, async (t) => {
  const author = withRole('reader', 'xray');
  const reviewer = withRole('reviewer', 'xray', author);
  assert.ok(author && reviewer, 'an author and a reviewer');
  const first = await desk(t, author);
  const { page } = first;
  const films = await items(first, '影像');
  const item = films.find((id) => id !== 6 || !mock);
  await first.openItem(item);
  await first.filmReady();

  const before = await first.filmMean();
  assert.ok(before > 3 && before < 250, `the film is neither black nor white: ${before}`);
  const box = await page.locator('.film-overlay').first().boundingBox();
  await first.drag(box, [0.5, 0.4], [0.5, 0.7]);
  const mean = () => first.filmMean();
  const dragged = await first.until(mean, (now) => Math.abs(now - before) > 3, 'dragging changes the window');
  await page.keyboard.press('KeyI');
  await first.until(mean, (now) => Math.abs(now - dragged) > 3, 'I inverts');
  await page.keyboard.press('Space');
  await first.until(mean, (now) => Math.abs(now - before) < 0.5, 'Space resets');

  await page.getByLabel('检查所见').fill('');
  await page.getByLabel('检查所见').pressSequentially('inw');
  assert.equal(await page.getByLabel('检查所见').inputValue(), 'inw', 'keys in a text field are text');
  await first.drawn();
  assert.ok(Math.abs((await first.filmMean()) - before) < 0.5, 'and move no film');

  await first.write('双肺纹理清晰，未见明确实质性病变。', '双肺、心、膈未见明显异常。', { result: '阴性' });
  await page.locator('[data-save="clean"]').getByText('已保存').waitFor();
  first.expected.push(/403.*\/sign/);
  await page.getByRole('button', { name: /(^|\s)签名$/ }).click();
  const dialog = page.getByRole('dialog');
  for (const tick of await dialog.getByRole('checkbox').all()) await tick.check();
  await dialog.getByLabel('签名 PIN').fill('wrong-pin');
  await dialog.getByRole('button', { name: '确认签名' }).click();
  await dialog.getByText('签名 PIN 不正确').waitFor();
  await dialog.getByLabel('签名 PIN').fill(author.pin);
  await dialog.getByRole('button', { name: '确认签名' }).click();
  await page.getByText(/^已签名/).waitFor();
  await page.getByText('您是报告医师，不能审核自己的报告').waitFor();

  const second = await desk(t, reviewer);
  await second.page.getByRole('menuitem', { name: /待审核/ }).click();
  await second.openItem(item);
  await second.page.getByText(/报告医师 .* 签名/).waitFor();
  assert.equal(await second.page.getByLabel('诊断意见').inputValue(), '双肺、心、膈未见明显异常。');
  await second.page.getByRole('button', { name: '修改文字' }).click();
  await second.page.getByLabel('诊断意见').fill('双肺、心、膈未见明显异常，请结合临床。');
  await second.page.locator('.diff ins').first().waitFor();
  assert.match(await second.page.locator('.diff').innerText(), /请结合临床/);
  await second.sign(reviewer.pin, /修改并审核签名/);
  await second.page.getByRole('tab', { name: /版本与通知/ }).click();
  await second.page.getByText('最终报告 第 1 版', { exact: true }).waitFor();
  assert.deepEqual([...first.problems, ...second.problems], []);
});

test('an ECG is drawn on paper, measured and signed', { timeout: 120_000 }, async (t) => {
  const author = withRole('reader', 'ecg', withRole('reviewer', 'ecg'));
  const reader = await desk(t, author);
  const { page } = reader;
  const [item] = await items(reader, '心电');
  await reader.openItem(item);
  await page.locator('[data-ecg="ready"]').waitFor();
  const ink = () => page.evaluate(() => {
    const canvas = document.querySelector('.ecg-canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let dark = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i] < 60 && data[i + 1] < 60) dark++;
    return { dark, width: canvas.width, height: canvas.height };
  });
  const paper = await reader.until(ink, (now) => now.dark > 2_000, 'a trace is drawn');
  const box = await page.locator('.ecg-overlay').boundingBox();
  await reader.drag(box, [0.3, 0.3], [0.4, 0.25]);
  assert.match(await page.locator('output.reading').innerText(), /^\d+ ms · \d+ bpm · -?\d\.\d\d mV$/);
  await page.keyboard.press('Digit3');
  await reader.until(ink, (now) => now.height > paper.height, '12×1 is taller');
  await page.getByText('机器判读 · 未经确认').waitFor();
  await reader.write('窦性心律，各波形态未见异常，心率见机器测量。', '窦性心律\n请结合临床', { result: '阴性', ecgClass: '正常' });
  await reader.sign(author.pin);
  assert.deepEqual(reader.problems, []);
});

test('a study that somebody else holds opens read-only and says who holds it', { skip: demo !== undefined }, async (t) => {
  const reader = await desk(t, withRole('reader'));
  reader.expected.push(/409.*\/claim/);
  await reader.page.locator('[data-item="6"]').dblclick();
  await reader.page.locator('.ant-modal-confirm-title').getByText('该检查已由 何静 接诊').waitFor();
  await reader.page.getByRole('button', { name: '只读打开' }).click();
  await reader.page.getByText('只读 · 何静 正在诊断').waitFor();
  assert.deepEqual(reader.problems, []);
});

test('a lost stream is said and comes back; a session that ends keeps the words', { skip: demo !== undefined }, async (t) => {
  const reader = await desk(t, withRole('reader'));
  const { page } = reader;
  await reader.openItem(5);
  await page.getByLabel('检查所见').fill('双肺纹理清晰。');
  mock.sessions.clear();
  reader.expected.push(/401/);
  await page.getByLabel('诊断意见').fill('未见异常。');
  await page.getByText('登录已结束').waitFor();
  const again = page.getByRole('dialog');
  const login = withRole('reader');
  await again.getByLabel('密码', { exact: true }).fill(login.password);
  const { totp } = await import('./totp.mjs');
  await again.getByLabel(/动态口令/).fill(totp(login.totp_secret));
  await again.getByRole('button', { name: '登录' }).click();
  await again.waitFor({ state: 'hidden' });
  assert.equal(await page.getByLabel('检查所见').inputValue(), '双肺纹理清晰。');
  await page.locator('[data-save="clean"]').getByText('已保存').waitFor();
  assert.equal(mock.county.of(5).draft.text.impression, '未见异常。');
  reader.expected.push(/ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION/);
  mock.cutStreams();
  await page.getByText('与县级中心的连接中断').first().waitFor();
  await page.getByText('与县级中心的连接中断').first().waitFor({ state: 'hidden' });
  assert.deepEqual(reader.problems, []);
});

test('a lease that was taken over stops writing and keeps the words', { skip: demo !== undefined }, async (t) => {
  const reader = await desk(t, withRole('reader'));
  const { page } = reader;
  await reader.openItem(4);
  await page.locator('[data-ecg="ready"]').waitFor();
  const { row } = mock.county.of(4).study;
  row.lease = { ...row.lease, holder: 'he', holder_name: '何静', epoch: ++mock.county.of(4).epoch };
  reader.expected.push(/409/);
  await page.getByLabel('检查所见').fill('窦性心律。');
  await page.getByText('接诊已超时或被接管。').waitFor();
  assert.equal(await page.getByLabel('检查所见').inputValue(), '窦性心律。');
  assert.ok(await page.getByRole('button', { name: /(^|\s)签名$/ }).isDisabled());
  row.lease = null;
  row.state = 'waiting';
  await page.getByRole('button', { name: '重新接诊' }).click();
  await page.locator('[data-save="clean"]').getByText('已保存').waitFor();
  assert.equal(mock.county.of(4).draft.text.findings, '窦性心律。');
  assert.deepEqual(reader.problems, []);
});

test('a version that was withdrawn says so, and the one that stands does not', { skip: demo !== undefined }, async (t) => {
  const reader = await desk(t, withRole('reviewer'));
  const { page } = reader;
  await page.getByRole('menuitem', { name: /已完成/ }).click();
  await page.locator('[data-item="7"]').dblclick();
  await page.getByRole('tab', { name: /版本与通知/ }).click();
  const card = (title) => page.locator('.history .ant-card').filter({ has: page.getByText(title, { exact: true }) });
  await card('最终报告 第 1 版').getByText(/由 刘建国 作废，请勿据此诊疗/).waitFor();
  assert.equal(await card('最终报告 第 2 版').getByText('作废').count(), 0);
  assert.deepEqual(reader.problems, []);
});

test('the monitor sees counts and no names', { timeout: 60_000 }, async (t) => {
  const login = withRole('monitor');
  if (!login) return t.skip('no monitor login');
  const watch = await desk(t, login);
  await watch.page.getByText('今日接收').first().waitFor();
  assert.equal(await watch.page.locator('[data-item]').count(), 0);
  assert.deepEqual(watch.problems, []);
  return undefined;
});
