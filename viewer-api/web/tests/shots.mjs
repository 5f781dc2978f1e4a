// Screenshots of every page at 1600×960 against the mock county: `node tests/shots.mjs OUT_DIR`.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Desk, launch } from './desk.mjs';
import { startMock } from './mock/server.mjs';

const out = process.argv[2] ?? 'shots';
mkdirSync(out, { recursive: true });
const mock = await startMock();
const browser = await launch();
const of = (login) => mock.logins.find((each) => each.login === login);
const desks = [];
const open = async (login) => {
  const desk = await Desk.open(browser, mock.url);
  desks.push(desk);
  if (login) await desk.logIn(of(login));
  return desk;
};
/** What moves once (dialogs, menus) has come to rest; what turns for ever is not waited for. */
const rested = (page) =>
  page.evaluate(async () => {
    const once = document.getAnimations().filter((a) => a.effect?.getComputedTiming().endTime !== Infinity);
    await Promise.allSettled(once.map((a) => a.finished));
  });
const shot = async (desk, name) => {
  await desk.drawn();
  await rested(desk.page);
  await desk.page.screenshot({ path: join(out, `${name}.png`) });
};

try {
  const nobody = await open();
  await nobody.page.goto(mock.url);
  await nobody.page.getByLabel('工号').waitFor();
  await shot(nobody, '01-login');

  const liu = await open('liu');
  await shot(liu, '02-worklist');
  await liu.page.locator('[data-item="6"]').dblclick();
  await liu.page.getByText('只读打开').waitFor();
  await shot(liu, '03-held');
  await liu.page.getByRole('button', { name: '取消' }).click();

  await liu.openItem(3);
  await liu.filmReady();
  await shot(liu, '04-chest');
  await liu.page.getByRole('button', { name: '模板' }).click();
  await liu.page.getByText('胸部正侧位 · 未见异常').waitFor();
  await shot(liu, '05-templates');
  await liu.page.getByText('肺炎', { exact: true }).click();
  await liu.page.getByRole('button', { name: '长度' }).click();
  const box = await liu.page.locator('.film-overlay').first().boundingBox();
  await liu.drag(box, [0.25, 0.5], [0.72, 0.52]);
  await liu.page.getByRole('button', { name: '签名' }).click();
  await liu.page.getByText('有未填写的占位符').waitFor();
  await shot(liu, '06-sign-stopped');
  await liu.page.getByRole('button', { name: '返回修改' }).click();
  await liu.page.getByRole('tab', { name: /既往/ }).click();
  await liu.page.getByRole('button', { name: '并排对比' }).click();
  await liu.filmReady();
  await shot(liu, '07-priors');
  await liu.page.getByRole('tab', { name: '报告' }).click();
  await liu.page.getByRole('button', { name: '危急值' }).click();
  await liu.page.getByLabel('项目').click();
  await shot(liu, '08-critical');
  await liu.page.keyboard.press('Escape');
  await liu.page.getByRole('dialog').getByRole('button', { name: '取消' }).click();
  await liu.page.getByRole('button', { name: '退回' }).click();
  await shot(liu, '09-retake');
  await liu.page.getByRole('dialog').getByRole('button', { name: '取消' }).click();
  await liu.write('双肺纹理增多、紊乱，右肺下叶见斑片影。', '右肺下叶炎症。');
  await liu.sign(of('liu').pin);
  await shot(liu, '10-signed');

  await liu.page.goto(mock.url);
  await liu.openItem(2);
  await liu.filmReady();
  await liu.write('右足第五跖骨基底部骨皮质不连续。', '右足第五跖骨骨折。');
  await liu.page.getByRole('button', { name: '签名' }).click();
  await liu.page.getByText('图像标记为').waitFor();
  await shot(liu, '11-side-conflict');
  await liu.page.getByRole('button', { name: '返回修改' }).click();

  await liu.page.goto(mock.url);
  await liu.openItem(1);
  await liu.page.locator('[data-ecg="ready"]').waitFor();
  await shot(liu, '12-ecg');
  const paper = await liu.page.locator('.ecg-overlay').boundingBox();
  await liu.drag(paper, [0.3, 0.3], [0.362, 0.25]);
  await shot(liu, '13-ecg-calipers');
  await liu.page.keyboard.press('Digit3');
  await shot(liu, '14-ecg-12x1');

  const zhang = await open('zhang');
  await zhang.page.getByRole('menuitem', { name: /待审核/ }).click();
  await shot(zhang, '15-to-audit');
  await zhang.openItem(3);
  await zhang.page.getByRole('button', { name: '修改文字' }).click();
  await zhang.page.getByLabel('诊断意见').fill('右肺下叶炎症，建议治疗后复查。');
  await shot(zhang, '16-audit');
  mock.sessions.clear();
  await zhang.page.getByRole('button', { name: /审核签名/ }).click();
  await zhang.page.getByLabel('签名 PIN').fill('1');
  await zhang.page.getByRole('button', { name: '确认签名' }).click();
  await zhang.page.getByText('登录已结束').waitFor();
  await shot(zhang, '17-session-ended');

  const again = await open('zhang');
  await again.page.getByRole('menuitem', { name: /已完成/ }).click();
  await again.page.locator('[data-item="7"]').dblclick();
  await again.page.getByRole('tab', { name: /版本与通知/ }).click();
  await again.page.getByText(/作废，请勿据此诊疗/).waitFor();
  await shot(again, '20-withdrawn');

  const watch = await open('watch');
  await watch.page.getByText('今日接收').first().waitFor();
  await shot(watch, '18-monitor');
  const english = await open('zhang');
  await english.page.getByRole('button', { name: 'English' }).click();
  await shot(english, '19-worklist-en');
} finally {
  for (const desk of desks) console.log(desk.problems.join('\n'));
  await browser.close();
  mock.close();
}
