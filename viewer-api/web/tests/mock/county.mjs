// A county in memory that keeps the rules the pages rely on: lease and epoch, draft revisions, two signatures.
import { createHash } from 'node:crypto';

const MINUTE = 60_000;
const hash = (text) => createHash('sha256').update(text).digest('hex');

export const ACCOUNTS = {
  liu: { id: 'liu', name: '刘建国', roles: ['reader'], password: 'Reading-Room-1', pin: '246810', totp_secret: 'JBSWY3DPEHPK3PXP' },
  zhang: { id: 'zhang', name: '张明远', roles: ['reader', 'reviewer'], password: 'Reading-Room-2', pin: '135790', totp_secret: 'KRSXG5CTMVRXEZLU' },
  watch: { id: 'watch', name: '值班监测', roles: ['monitor'], password: 'Monitor-Room-3', pin: '', totp_secret: null },
};

export class Refused extends Error {
  constructor(status, code, field, reason, title) {
    super(reason);
    Object.assign(this, { status, code, field, reason, title: title ?? code });
  }
}

const object = (seed, more) => ({
  hash: hash(seed), sha256: hash(`${seed}.`), length: 9_600_132, kind: 'dicom', instance_uid: `2.25.${seed.length}7`, series_uid: '2.25.41',
  modality: 'DX', rows: 2400, columns: 2000, frames: 1, body_part: 'CHEST', laterality: '', view_position: 'PA',
  transfer_syntax: '1.2.840.10008.1.2.1', current: true, conflict: false, other_patient: false, stored_at_ms: Date.now(), ...more,
});
const ecgObject = (seed) => object(seed, { kind: 'ecg', modality: 'ECG', rows: 0, columns: 0, frames: 0, body_part: '', view_position: '', length: 145_000 });
const person = (name, sex, birth, localId, more) => ({ name, sex, birth_date: birth, age: '', local_id: localId, national_id: '', name_repaired: false, ...more });

export class County {
  constructor(now = Date.now()) {
    this.seq = 1;
    this.listeners = new Set();
    this.items = new Map();
    const add = (id, cls, kind, patient, item, clinic, objects, dueIn, more = {}) => {
      const study = {
        row: {
          id, clinic: clinic[0], clinic_name: clinic[1], study_uid: `2.25.900${id}`, class: cls, kind, state: 'waiting', lease: null, mine: false,
          patient, item, t0_ms: now - 25 * MINUTE, time_suspect: false, arrived_at_ms: now - 22 * MINUTE, due_at_ms: now + dueIn * MINUTE,
          due_stage: 'reported', promise_at_ms: now + (dueIn + 15) * MINUTE, objects_stored: objects.length, objects_announced: objects.length,
          completeness: 'complete', report: null, delivery: null, author: null, attention: null, attention_reasons: [], critical_open: false, ...more.row,
        },
        objects, revision: hash(objects.map((o) => o.hash).join()), missing: 0, priors: [], suspected: [], versions: [], critical: [],
        context: { complaint: null, phone: null, doctor: null, retake_of: null, ...more.context },
      };
      this.items.set(id, { study, epoch: 0, draft: null, shape: more.shape ?? 'chest' });
      return study;
    };
    const cg = ['chengguan', '城关镇中心卫生院'];
    const hs = ['hongshan', '红山乡卫生院'];
    const lx = ['liuxi', '柳溪镇卫生院'];
    add(1, 'green', 'ecg', person('周桂兰', 'F', '19580412', 'E0231'), '十二导联静息心电图', cg, [ecgObject('e1')], 2.4, { context: { complaint: '胸痛 2 小时，伴大汗', phone: '0536-5550101', doctor: '王医师' } });
    add(2, 'emergency', 'xray', person('陈大勇', 'M', '19790903', 'X1187'), '左足正位', hs, [object('f1', { body_part: 'FOOT', laterality: 'L', view_position: 'AP', columns: 1600, rows: 2000 })], -7.6, { shape: 'foot', context: { complaint: '左足扭伤后肿痛 3 小时', phone: '0536-5550102' } });
    const chest = add(3, 'routine', 'xray', person('张秀英', 'F', '19610325', '0001', { name_repaired: true }), '胸部正侧位', cg, [object('c1', {}), object('c2', { view_position: 'LL' })], 31, { context: { complaint: '咳嗽、咳痰 1 周', doctor: '李医师' } });
    chest.priors.push({ clinic: 'chengguan', study_uid: '2.25.9007', t0_ms: now - 200 * 24 * 60 * MINUTE, kind: 'xray', clinic_name: cg[1], item: '胸部正位', patient: chest.row.patient });
    chest.suspected.push({ clinic: 'hongshan', study_uid: '2.25.9006', t0_ms: now - 90 * 24 * 60 * MINUTE, kind: 'xray', clinic_name: hs[1], item: '胸部正位', patient: person('张秀英', 'F', '', '0001') });
    add(4, 'routine', 'ecg', person('赵国强', 'M', '19700101', 'E0232'), '十二导联静息心电图', lx, [ecgObject('e2')], 14, { row: { time_suspect: true }, context: { complaint: '心悸半日' } });
    add(5, 'routine', 'xray', person('孙小梅', 'F', '20150614', 'X1190'), '胸部正位', lx, [object('c3')], 44, { row: { objects_announced: 2, completeness: 'partial' } }).missing = 1;
    const other = add(6, 'screening', 'xray', person('李海', 'M', '19881130', 'X1191'), '胸部正位', hs, [object('c4')], 900);
    other.row.lease = { holder: 'he', holder_name: '何静', claimed_at_ms: now - 3 * MINUTE, expires_at_ms: now + 12 * MINUTE, epoch: 3 };
    other.row.state = 'drafted';
    const done = add(7, 'routine', 'xray', person('张秀英', 'F', '19610325', '0001'), '胸部正位', cg, [object('c5')], 0);
    this.sign(done, { findings: '双肺纹理增多。', impression: '支气管炎。', advice: '', result: 'positive', ecg_class: '' }, 'liu', 'final', now - 150 * MINUTE);
    Object.assign(done.versions[0], { voided_at_ms: now - 149 * MINUTE, voided_by: '刘建国', delivery: 'opened' });
    this.sign(done, { findings: '双肺纹理增多，未见实变影。', impression: '双肺纹理增多。', advice: '', result: 'positive', ecg_class: '' }, 'liu', 'final', now - 145 * MINUTE);
    Object.assign(done.versions[1], { reviewer_name: '张明远', audited_at_ms: now - 140 * MINUTE, delivery: 'opened', received_at_ms: now - 139 * MINUTE, opened_at_ms: now - 130 * MINUTE, opened_by: '王医师' });
    Object.assign(done.row, { state: 'closed', delivery: 'opened' });
    add(8, 'routine', 'xray', person('吴建军', 'M', '19550720', 'X1170'), '腰椎正侧位', hs, [object('s1', { body_part: 'LSPINE' })], 5, { row: { state: 'retake_requested' } });
  }

  sign(study, text, author, kind, at = Date.now()) {
    const version = study.versions.length + 1;
    const report = `county-r${study.row.id}`;
    const stage = (one) => one === 'preliminary';
    const paper_version = study.versions.filter((v) => stage(v.kind) === stage(kind)).length + 1;
    study.versions.push({ report, version, paper_version, differs: null, kind, author, author_name: ACCOUNTS[author].name, reviewer_name: null, signed_at_ms: at, audited_at_ms: null, revision: study.revision, delivery: 'sent', received_at_ms: null, opened_at_ms: null, opened_by: null, text });
    Object.assign(study.row, { state: 'signed', report: { report, version, kind }, author, delivery: 'sent', lease: null });
    return { report, version, paper_version, kind };
  }

  event(kind, id) {
    const row = this.items.get(id)?.study.row;
    const event = { seq: ++this.seq, kind, clinic: row?.clinic ?? null, work_item: id, class: row?.class ?? null, at_ms: Date.now() };
    for (const listener of this.listeners) listener(event);
  }

  of(id) {
    const found = this.items.get(id);
    if (!found) throw new Refused(404, 'NOT_FOUND', 'item', 'no such item', '未找到');
    return found;
  }

  view(study, me) {
    const row = { ...study.row, mine: study.row.lease?.holder === me.id };
    return { ...study, now_ms: Date.now(), row };
  }

  claim(id, me) {
    const entry = this.of(id);
    const { row } = entry.study;
    const lease = row.lease && row.lease.expires_at_ms > Date.now() ? row.lease : null;
    if (lease && lease.holder !== me.id) throw new Refused(409, 'CLAIM_HELD', 'work_item', `held by ${lease.holder}`, '已由他人接诊');
    if (row.state === 'signed' && row.report?.kind === 'preliminary' && row.author === me.id) throw new Refused(403, 'REVIEWER_IS_AUTHOR', 'reviewer', '', '审核医师不能是报告医师本人');
    if (!lease) entry.epoch += 1;
    if (row.state === 'waiting') row.state = entry.draft ? 'drafted' : 'claimed';
    row.lease = { holder: me.id, holder_name: me.name, claimed_at_ms: lease?.claimed_at_ms ?? Date.now(), expires_at_ms: Date.now() + 15 * MINUTE, epoch: entry.epoch };
    this.event('work.claimed', id);
    return { item: id, lease: row.lease, now_ms: Date.now() };
  }

  held(id, me, epoch) {
    const entry = this.of(id);
    const { lease } = entry.study.row;
    if (!lease || lease.holder !== me.id || lease.epoch !== epoch) throw new Refused(409, 'LEASE_LOST', 'epoch', 'old epoch', '接诊已超时或被接管，草稿已保留');
    return entry;
  }

  save(id, me, { epoch, replaces, text }) {
    const entry = this.held(id, me, epoch);
    if ((entry.draft?.revision ?? 0) !== replaces) throw new Refused(409, 'STATE_CONFLICT', 'replaces', 'other revision', '当前状态不允许此操作');
    entry.draft = { text, revision: replaces + 1, saved_at_ms: Date.now(), author: me.id };
    if (entry.study.row.state === 'claimed') entry.study.row.state = 'drafted';
    return entry.draft;
  }

  signAs(id, me, body) {
    const entry = this.held(id, me, body.epoch);
    this.checkPin(me, body.pin);
    const { study } = entry;
    if (entry.draft?.revision !== body.draft_revision) throw new Refused(409, 'STATE_CONFLICT', 'draft_revision', '', '当前状态不允许此操作');
    if (study.revision !== body.study_revision) throw new Refused(409, 'STATE_CONFLICT', 'study_revision', '', '当前状态不允许此操作');
    const kind = study.row.kind === 'xray' || body.kind === 'preliminary' ? 'preliminary' : body.kind;
    const signed = this.sign(study, entry.draft.text, me.id, kind);
    entry.draft = null;
    this.event('report.signed', id);
    return { ...signed, state: 'signed' };
  }

  audit(id, me, body) {
    const entry = this.held(id, me, body.epoch);
    this.checkPin(me, body.pin);
    const { study } = entry;
    const last = study.versions.at(-1);
    if (last.author === me.id) throw new Refused(403, 'REVIEWER_IS_AUTHOR', 'reviewer', '', '审核医师不能是报告医师本人');
    const signed = this.sign(study, body.changed ?? last.text, last.author, 'final');
    Object.assign(study.versions.at(-1), { reviewer_name: me.name, audited_at_ms: Date.now() });
    study.row.state = 'audited';
    this.event('report.audited', id);
    return { ...signed, state: 'audited' };
  }

  checkPin(me, pin) {
    if (ACCOUNTS[me.id].pin !== pin) throw new Refused(403, 'PIN_WRONG', 'pin', 'wrong PIN', '签名PIN错误');
  }
}

export function throughput() {
  const now = Date.now();
  const stage = (name, count, median, p90) => ({ stage: name, count, median_ms: median * 1000, p90_ms: p90 * 1000 });
  const clinic = (id, name, online, silent, received, returned, due, on_time, backlog) => ({ clinic: id, name, online, silent, heard_at_ms: now - (silent ? 95 : 1) * MINUTE, received, reported: returned + 1, returned, due, on_time, backlog, backlog_oldest_ms: backlog ? backlog * 11 * MINUTE : null, stages: [stage('link', received, 9, 41), stage('queue', received, 190, 640)] });
  return {
    day_start_ms: now - 9 * 60 * MINUTE, at_ms: now, received: 86, reported: 79, returned: 77, due: 74, on_time: 72, backlog: 7, backlog_oldest_ms: 33 * MINUTE,
    stages: [stage('link', 86, 9, 41), stage('queue', 82, 190, 640), stage('reading', 79, 402, 1120), stage('audit', 41, 330, 900), stage('return', 77, 3, 12), stage('opening', 70, 410, 2400)],
    clinics: [clinic('chengguan', '城关镇中心卫生院', true, false, 41, 37, 36, 36, 3), clinic('hongshan', '红山乡卫生院', true, false, 28, 25, 24, 22, 3), clinic('liuxi', '柳溪镇卫生院', true, false, 17, 15, 14, 14, 1), clinic('shiqiao', '石桥镇卫生院', false, true, 0, 0, 0, 0, 0)],
  };
}
