'use strict';
// The clinic's page. Asks the agent every 1.5 s; shows; never decides.
const POLL_MS = 1500;
const $ = (id) => document.getElementById(id);
let view = null;
let printing = null;

async function api(path, options = {}) {
  const headers = { 'x-relay-page': '1', ...(options.headers || {}) };
  const response = await fetch('/api/v1/' + path, { ...options, headers, cache: 'no-store' });
  if (response.ok) return response.json();
  const text = await response.text();
  let problem = null;
  try { problem = JSON.parse(text); } catch { /* not a problem document */ }
  const error = new Error(problem ? problem.zh + (problem.field ? '（' + problem.field + '：' + problem.reason + '）' : '') : text);
  error.status = response.status;
  throw error;
}
const post = (path, body) => api(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

function el(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (className) node.className = className;
  return node;
}
function time(ms) {
  if (!ms) return '';
  const d = new Date(ms), two = (n) => String(n).padStart(2, '0');
  return two(d.getMonth() + 1) + '-' + two(d.getDate()) + ' ' + two(d.getHours()) + ':' + two(d.getMinutes());
}
const CLASS = { green: '绿色通道', emergency: '急诊', routine: '普通', complex: '疑难', screening: '体检' };
const KIND = { ecg: '心电', xray: 'X线', consult: '会诊', other: '其他' };
const REPORT = { preliminary: '临时', final: '最终', addendum: '补充', correction: '更正' };
const COUNTY = { waiting: '待诊断', claimed: '诊断中', drafted: '报告书写中', signed: '已签名', audited: '已审核', closed: '已完成', withdrawn: '已撤回', retake_requested: '退回重拍' };
const SOURCE = { send: '命令发送', page: '本页上传', upload: '上传' };
const NO_STAFF = '尚未登记人员：请管理员在代理主机上运行 relay-agent staff add 姓名';
const who = (row) => row.patient_name || row.study;
// Further pages that a person has asked for.
const more = { studies: 1, reports: 1 };

function stateCell(s) {
  const cell = el('td');
  const good = ['safe_at_county', 'being_read', 'reported'].includes(s.state) && s.waiting === 0 && s.refused === 0 && !s.late;
  let text = s.state_zh;
  if (s.state === 'being_read' || s.state === 'safe_at_county') {
    if (s.county_state && s.county_state !== 'claimed') text += ' · ' + (COUNTY[s.county_state] || s.county_state);
    if (s.reader) text += ' · ' + s.reader;
    if (s.due_at) text += ' · 报告预计 ' + time(s.due_at);
  }
  cell.append(el('span', text, ['refused', 'partly_refused', 'report_void', 'report_invalid', 'lost_here', 'retake_requested'].includes(s.state) || s.lost > 0 ? 'bad' : good ? 'good' : 'wait'));
  if (s.waiting > 0) {
    const bar = el('progress'); bar.max = 100; bar.value = s.percent; bar.setAttribute('aria-label', '上传进度');
    cell.append(' ', bar);
  }
  if (s.refusal) cell.append(el('div', '拒收原因：' + s.refusal + '。请在设备上重新导出原始文件后再发送，或电话联系县级', 'bad small'));
  if (s.state !== 'reported') for (const finding of s.findings) cell.append(el('div', '采集质量：' + finding, 'bad small'));
  return cell;
}
function drawStudies() {
  $('studies').tBodies[0].replaceChildren(...view.studies.map((s) => {
    const row = el('tr');
    const tag = el('span', CLASS[s.class], 'tag ' + s.class);
    const cls = el('td'); cls.append(tag);
    const files = el('td', s.receipted + '/' + s.objects);
    files.title = '已到达县级/全部';
    if (!s.complete) files.append(el('div', '检查未结束', 'wait small'));
    const act = el('td');
    if (!['reported', 'refused'].includes(s.state) && s.class !== 'green') {
      const raise = el('button', s.class === 'emergency' ? '升为绿色通道' : '升为急诊');
      raise.addEventListener('click', () => post('studies/' + s.uid + '/mark', { class: s.class === 'emergency' ? 'green' : 'emergency' }).then(refresh).catch((e) => alert(e.message)));
      act.append(raise);
    }
    if (!s.complete) {
      const done = el('button', '检查完成');
      done.addEventListener('click', () => post('studies/' + s.uid + '/mark', { finished: true }).then(refresh).catch((e) => alert(e.message)));
      act.append(' ', done);
    }
    const name = el('td', s.patient_name || '（无姓名）');
    if (s.complaint) name.append(el('div', s.complaint, 'old small'));
    name.title = s.uid;
    row.append(name, el('td', KIND[s.kind]), cls, el('td', time(s.first_object_at)), files, stateCell(s), act);
    return row;
  }));
}
// A list's last line: how much there is, and a way to see more.
function drawFoot(id, words, kind, pages) {
  const foot = $(id), parts = [el('span', words, 'old')];
  if (more[kind] < pages) {
    const button = el('button', '显示更多');
    button.addEventListener('click', () => { more[kind] += 1; drawn = ''; refresh(); });
    parts.push(' ', button);
  }
  foot.replaceChildren(...parts);
}
function drawReports() {
  $('reports').tBodies[0].replaceChildren(...view.reports.map((r) => {
    const row = el('tr');
    const sign = el('td');
    if (r.fault) sign.append(el('span', r.fault, 'bad'));
    else if (r.voided) sign.append(el('span', '作废，请勿使用 · ' + r.voided.reason + '（' + r.voided.by_name + ' ' + time(r.voided.at) + '）', 'bad'));
    else if (!r.checked) sign.append(el('span', '正在核验签名', 'wait'));
    else {
      let text = '签名有效 · ' + r.author + ' ' + time(r.signed_at);
      if (r.reviewer) text += ' / 审核 ' + r.reviewer + ' ' + time(r.reviewed_at);
      if (r.demo) text += '（演示签名·非第三方CA）';
      sign.append(el('span', text, 'good'));
    }
    if (r.superseded) sign.append(' ', el('span', '旧版', 'tag old'));
    const act = el('td');
    const open = el('button', '打开');
    open.addEventListener('click', () => openReport(r));
    act.append(open);
    const seen = r.opened_by ? el('td', r.opened_by + ' ' + time(r.opened_at)) : el('td', '未打开', r.superseded ? 'old' : 'wait');
    row.append(el('td', who(r)), el('td', REPORT[r.kind] + ' 第' + r.paper_version + '版 · 收到 ' + time(r.received_at)), sign, seen, act);
    return row;
  }));
}
function rejectLine(r) {
  const line = el('li', time(r.at) + ' ' + r.file + '（来自 ' + (SOURCE[r.source] || r.source) + '）：');
  line.append(el('span', r.code_zh || r.code, 'bad'), el('div', [r.code, r.field, r.reason].filter(Boolean).join('：'), 'old small'));
  return line;
}
function drawRest() {
  $('clinic').textContent = view.clinic;
  document.body.classList.remove('stale');
  $('lamp').className = 'lamp ' + (!view.link.up ? 'down' : view.link.pause ? 'paused' : 'up');
  $('lamp').title = view.link.reason || '';
  $('lamp-text').textContent = view.link.up
    ? '已连接县级（' + Math.round(view.link.rtt_ms) + ' 毫秒）' + (view.link.pause ? '，' + view.link.pause.zh : '')
    : '与县级的线路自 ' + time(view.link.since) + ' 起中断' + (view.link.reason_zh ? '（' + view.link.reason_zh + '）' : '') + '，正在自动重连；检查已安全存于本机，恢复后自动上传';
  const notes = view.alarms.map((a) => el('p', who(a) + '：' + a.zh, 'bad big'));
  for (const t of view.troubles) notes.push(el('p', t.zh, t.level === 'bad' ? 'bad' : 'wait'));
  if (view.full) notes.push(el('p', '本机存储空间不足，新检查将不被接收：请恢复到县级的线路或清理磁盘，并联系管理员', 'bad big'));
  if (view.damaged.length) notes.push(el('p', '本机数据库有 ' + view.damaged.length + ' 条记录损坏，其内容未显示：请联系管理员（relay-agent doctor）', 'bad'));
  if (!view.staff.length) notes.push(el('p', NO_STAFF + '；登记前无法打开报告和复述危急值', 'bad'));
  $('alarms').replaceChildren(...notes);
  drawFoot('studies-foot', '共 ' + view.studies_total + ' 项检查' + (view.studies_not_safe ? '，其中 ' + view.studies_not_safe + ' 项尚未全部到达县级' : ''), 'studies', view.studies_pages);
  drawFoot('reports-foot', '共 ' + view.reports_total + ' 份报告', 'reports', view.reports_pages);
  $('retakes').replaceChildren(...view.retakes.map((r) => {
    const p = el('p', '退回重拍 · ' + who(r) + '：' + r.request.text + '（' + r.request.asked_by_name + ' ' + time(r.request.asked_at) + '） ', 'wait big');
    const seen = el('button', '已知晓');
    seen.addEventListener('click', async () => {
      const act = await sign('退回重拍：已知晓', false, (body) => post('retakes/' + r.letter + '/seen', body));
      if (act) refresh();
    });
    p.append(seen);
    return p;
  }));
  $('rejects').replaceChildren(...(view.rejects.length ? view.rejects.slice(0, 50).map((r) =>
    rejectLine(r)) : [el('li', '无', 'old')]));
}

// Critical value: fills the page and sounds until a named person has read it back; then it stays listed until the action.
let audio = null, beeping = null;
function beep() {
  if (!audio || audio.state !== 'running') return;
  const start = audio.currentTime;
  for (const [at, hz] of [[0, 880], [0.25, 660], [0.5, 880]]) {
    const tone = audio.createOscillator(), gain = audio.createGain();
    tone.frequency.value = hz; gain.gain.value = 0.4;
    tone.connect(gain).connect(audio.destination);
    tone.start(start + at); tone.stop(start + at + 0.2);
  }
}
function wake() {
  try {
    audio = audio || new AudioContext();
    audio.onstatechange = sound;
    audio.resume().then(sound).catch(() => {});
  } catch { /* no sound device: the page is filled all the same */ }
}
// A browser gives no sound to a page that nobody has touched: that is said before the first notice rings, not by its silence.
function sound() {
  const on = Boolean(audio) && audio.state === 'running';
  $('critical-sound').hidden = on;
  $('sound').hidden = on;
}
for (const kind of ['pointerdown', 'keydown']) document.addEventListener(kind, wake);
for (const id of ['critical-sound', 'sound']) $(id).addEventListener('click', wake);
wake();
sound();
function drawCritical() {
  const ringing = view.criticals.find((c) => !c.read_back_at);
  const open = view.criticals.filter((c) => c.read_back_at);
  $('critical').hidden = !ringing;
  document.title = ringing ? '危急值！' : '远程诊断 · 本机';
  if (ringing && !beeping) { wake(); beep(); beeping = setInterval(beep, 1200); }
  if (!ringing && beeping) { clearInterval(beeping); beeping = null; }
  if (ringing) {
    const rest = view.criticals.filter((c) => !c.read_back_at).length - 1;
    $('critical-title').textContent = rest > 0 ? '危急值（另有 ' + rest + ' 条）' : '危急值';
    $('critical-patient').textContent = ringing.patient_name;
    $('critical-finding').textContent = ringing.notice.code + ' ' + ringing.notice.finding;
    $('critical-more').textContent = [ringing.notice.advice && '建议：' + ringing.notice.advice, '报告医师 ' + ringing.notice.raised_by_name + ' ' + time(ringing.notice.raised_at), ringing.notice.phone && '回拨电话 ' + ringing.notice.phone].filter(Boolean).join('\n');
    $('critical-act').onclick = async () => {
      const done = await sign('复述危急值：' + ringing.patient_name + ' ' + ringing.notice.finding, '复述内容',  (body) => post('criticals/' + ringing.letter + '/read-back', body));
      if (done) refresh();
    };
  }
  for (const c of open) {
    const p = el('p', '危急值待处置 · ' + c.patient_name + '：' + c.notice.finding + '（' + c.read_back_by + ' ' + time(c.read_back_at) + ' 已复述） ', 'bad big');
    const act = el('button', '记录处置');
    act.addEventListener('click', async () => {
      const done = await sign('记录处置：' + c.patient_name + ' ' + c.notice.finding, '处置措施',  (body) => post('criticals/' + c.letter + '/action', body));
      if (done) refresh();
    });
    p.append(act);
    $('alarms').append(p);
  }
}

// Name and PIN, tried until right or given up.
function sign(title, wantsText, act) {
  return new Promise((resolve) => {
    const dialog = $('sign');
    $('sign-title').textContent = title;
    $('sign-error').textContent = view.staff.length ? '' : NO_STAFF;
    $('sign-label').textContent = wantsText || '';
    $('sign-name').replaceChildren(...view.staff.map((name) => { const o = el('option', name); o.value = name; return o; }));
    $('sign-pin').value = ''; $('sign-text').value = '';
    $('sign-text-label').hidden = !wantsText;
    $('sign-text').required = Boolean(wantsText);
    const form = dialog.querySelector('form');
    const finish = (result) => { form.onsubmit = null; dialog.onclose = null; dialog.close(); resolve(result); };
    form.onsubmit = async (event) => {
      event.preventDefault();
      if (event.submitter && event.submitter.value === 'cancel') { finish(null); return; }
      try {
        finish(await act({ person: $('sign-name').value, pin: $('sign-pin').value, text: $('sign-text').value }));
      } catch (error) { $('sign-error').textContent = error.message; $('sign-pin').value = ''; $('sign-pin').focus(); }
    };
    dialog.onclose = () => resolve(null);
    dialog.showModal();
    $('sign-pin').focus();
  });
}

async function openReport(r) {
  const opened = await sign('打开报告', false, (body) => post('reports/' + r.letter + '/open', body));
  refresh();
  if (!opened) return;
  const bytes = Uint8Array.from(atob(opened.pdf_base64), (c) => c.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([bytes], { type: 'application/pdf' }));
  $('viewer-state').textContent = opened.sentence_zh + (r.superseded ? '（旧版）' : '');
  $('viewer-state').className = opened.report.voided ? 'bad' : '';
  $('viewer-frame').src = url;
  printing = url;
  $('viewer').showModal();
}
$('viewer-print').addEventListener('click', () => { $('viewer-frame').contentWindow.print(); });
$('viewer-close').addEventListener('click', () => $('viewer').close());
$('viewer').addEventListener('close', () => { $('viewer-frame').src = 'about:blank'; if (printing) URL.revokeObjectURL(printing); printing = null; });

// Upload: one file after the other; then the studies are complete.
async function upload(files) {
  const cls = $('class').value, complaint = $('complaint').value.trim(), studies = new Set();
  for (const file of files) {
    const item = el('li', file.name + '：正在存入本机…');
    $('uploads').prepend(item);
    try {
      const query = new URLSearchParams({ name: file.name, class: cls, source: 'page', explicit: 'true' });
      const taken = await api('objects?' + query, { method: 'POST', body: file });
      studies.add(taken.study);
      item.textContent = file.name + (taken.fresh ? '：已安全存于本机' : '：本机已有此文件');
      item.className = 'good';
    } catch (error) { item.textContent = file.name + '：' + error.message; item.className = 'bad'; }
  }
  for (const study of studies) {
    await post('studies/' + study + '/mark', { class: cls, context: complaint ? { complaint } : {}, finished: true }).catch((e) => alert(e.message));
  }
  refresh();
}
$('pick').addEventListener('change', (event) => { upload([...event.target.files]); event.target.value = ''; });
const drop = $('drop');
drop.addEventListener('dragover', (event) => { event.preventDefault(); drop.classList.add('over'); });
drop.addEventListener('dragleave', () => drop.classList.remove('over'));
drop.addEventListener('drop', (event) => { event.preventDefault(); drop.classList.remove('over'); upload([...event.dataTransfer.files]); });

let busy = false, drawn = '';
async function refresh() {
  if (busy) return;
  busy = true;
  try {
    const seen = await api('overview');
    for (const kind of ['studies', 'reports']) {
      const key = kind === 'studies' ? 'uid' : 'letter', known = new Set(seen[kind].map((x) => x[key]));
      for (let page = 1; page < more[kind]; page += 1) {
        const next = await api(kind + '?page=' + page);
        seen[kind].push(...next[kind].filter((x) => !known.has(x[key])));
      }
    }
    view = seen;
    // Redrawn only when something has changed: a button must not vanish under a finger.
    const shown = JSON.stringify({ ...view, now: 0, link: { up: view.link.up, reason: view.link.reason, pause: view.link.pause && view.link.pause.zh } });
    if (shown !== drawn) { drawStudies(); drawReports(); drawRest(); drawCritical(); drawn = shown; }
  } catch (error) {
    drawn = '';
    $('lamp').className = 'lamp down';
    document.body.classList.add('stale');
    $('lamp-text').textContent = error.status === 401
      ? '请使用带密钥的页面地址打开（在代理主机上运行 relay-agent status 可查看）'
      : '本机代理程序无应答' + (view ? '，以下为 ' + time(view.now) + ' 的内容' : '') + '：请联系管理员检查代理程序是否运行';
  } finally { busy = false; }
}
refresh();
setInterval(refresh, POLL_MS);
