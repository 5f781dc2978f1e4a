// Serves dist/ and the mock county on one port: what the pages need, as docs/openapi.json has it.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { totp } from '../totp.mjs';

/** One step of skew either way, as the county allows. */
const isCode = (secret, code) => [-30_000, 0, 30_000].some((skew) => totp(secret, Date.now() + skew) === code);
import { ACCOUNTS, County, Refused, throughput } from './county.mjs';
import { ecg, film, png } from './phantom.mjs';

const DIST = fileURLToPath(new URL('../../dist/', import.meta.url));
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const CSP = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const DEFAULT = { center: 1900, width: 2600 };

export function startMock(port = 0) {
  const county = new County();
  const sessions = new Map();
  const films = new Map();
  const streams = new Set();
  let nextToken = 1;

  const samplesOf = (hash) => {
    for (const { study, shape } of county.items.values()) {
      const object = study.objects.find((o) => o.hash === hash);
      if (!object) continue;
      const view = object.view_position === 'LL' ? 'lateral' : shape;
      if (!films.has(hash)) films.set(hash, film(view, object.columns, object.rows));
      return { samples: films.get(hash), object, study };
    }
    throw new Refused(404, 'NOT_FOUND', 'hash', 'no such object', '未找到');
  };

  const me = (request) => {
    const token = /relay=(\w+)/.exec(request.headers.cookie ?? '')?.[1];
    const account = sessions.get(token);
    if (!account) throw new Refused(401, 'UNAUTHENTICATED', 'session', 'no session', '请先登录');
    return account;
  };
  const meBody = (account) => ({
    id: account.id, name: account.name, roles: account.roles, clinics: ['chengguan', 'hongshan', 'liuxi'], kinds: ['xray', 'ecg'],
    now_ms: Date.now(), expires_at_ms: Date.now() + 12 * 3_600_000, idle_ms: 1_800_000,
  });

  const routes = [
    ['POST', /^\/session$/, async (_, { body, response }) => {
      const account = ACCOUNTS[body.login];
      const right = account && account.password === body.password && (!account.totp_secret || isCode(account.totp_secret, body.totp));
      if (!right) throw new Refused(401, 'UNAUTHENTICATED', 'login', 'login, password or code is wrong', '请先登录');
      const token = `t${nextToken++}`;
      sessions.set(token, account);
      response.setHeader('Set-Cookie', `relay=${token}; Path=/; HttpOnly; SameSite=Strict`);
      return meBody(account);
    }],
    ['GET', /^\/session$/, (_, { account }) => meBody(account())],
    ['DELETE', /^\/session$/, (_, { request }) => void sessions.delete(/relay=(\w+)/.exec(request.headers.cookie ?? '')?.[1])],
    ['GET', /^\/worklist$/, (_, { account, query }) => {
      const who = account();
      const states = (query.get('states') ?? 'waiting,claimed,drafted,signed').split(',');
      const order = ['green', 'emergency', 'routine', 'complex', 'screening'];
      const rows = [...county.items.values()].map(({ study }) => county.view(study, who).row);
      const items = rows
        .filter((row) => states.includes(row.state) && (query.get('mine') !== 'true' || row.mine || row.author === who.id))
        .sort((a, b) => order.indexOf(a.class) - order.indexOf(b.class) || a.due_at_ms - b.due_at_ms);
      return { now_ms: Date.now(), items, total: items.length, damaged: 0 };
    }],
    ['POST', /^\/worklist\/claim-next$/, (_, { account }) => {
      const open = [...county.items.values()].find(({ study }) => study.row.state === 'waiting');
      return { claimed: open ? county.claim(open.study.row.id, account()) : null };
    }],
    ['POST', /^\/worklist\/(\d+)\/claim$/, ([id], { account }) => county.claim(Number(id), account())],
    ['POST', /^\/worklist\/(\d+)\/renew$/, ([id], { account, body }) => {
      const { lease } = county.held(Number(id), account(), body.epoch).study.row;
      lease.expires_at_ms = Date.now() + 900_000;
      return lease;
    }],
    ['POST', /^\/worklist\/(\d+)\/release$/, ([id], { account, body }) => {
      const { row } = county.held(Number(id), account(), body.epoch).study;
      row.lease = null;
      if (row.state === 'claimed' || row.state === 'drafted') row.state = 'waiting';
      county.event('work.released', Number(id));
    }],
    ['GET', /^\/worklist\/(\d+)\/study$/, ([id], { account }) => county.view(county.of(Number(id)).study, account())],
    ['GET', /^\/worklist\/(\d+)\/draft$/, ([id]) => ({ draft: county.of(Number(id)).draft })],
    ['PUT', /^\/worklist\/(\d+)\/draft$/, ([id], { account, body }) => county.save(Number(id), account(), body)],
    ['POST', /^\/worklist\/(\d+)\/sign$/, ([id], { account, body }) => county.signAs(Number(id), account(), body)],
    ['POST', /^\/worklist\/(\d+)\/audit$/, ([id], { account, body }) => county.audit(Number(id), account(), body)],
    ['POST', /^\/worklist\/(\d+)\/critical$/, ([id], { account, body }) => {
      const { study } = county.of(Number(id));
      study.critical.push({ code: body.code, finding: body.finding, raised_at_ms: Date.now(), raised_by_name: account().name, received_at_ms: null, read_back_by: null, read_back_at_ms: null, action: null });
      study.row.critical_open = true;
      county.event('critical.raised', Number(id));
    }],
    ['POST', /^\/worklist\/(\d+)\/retake$/, ([id], { account, body }) => {
      Object.assign(county.held(Number(id), account(), body.epoch).study.row, { state: 'retake_requested', lease: null });
      county.event('work.retake', Number(id));
    }],
    ['GET', /^\/studies\/([^/]+)\/([^/]+)$/, ([clinic, uid], { account }) => {
      const found = [...county.items.values()].find(({ study }) => study.row.clinic === clinic && study.row.study_uid === uid);
      if (!found) throw new Refused(404, 'NOT_FOUND', 'study_uid', 'no such study', '未找到');
      return county.view(found.study, account());
    }],
    ['GET', /instances\/(\w+)\/waveform$/, ([hash]) => ecg(samplesOf(hash).study.row.class === 'green' ? { rate: 88, elevation: 0.32 } : {})],
    ['GET', /instances\/(\w+)\/frames\/1$/, ([hash]) => {
      const { object } = samplesOf(hash);
      return {
        frame: 1, frames: 1, rows: object.rows, columns: object.columns, samples_per_pixel: 1, photometric: 'MONOCHROME2', raw_bits: 16, bits_allocated: 16,
        bits_stored: 12, signed: false, rescale_slope: 1, rescale_intercept: 0, modality_lut: null, voi_lut: null, voi_function: 'linear', invert: false,
        windows: [{ ...DEFAULT, explanation: 'NORMAL' }], padding: null, spacing: { row_mm: 0.175, column_mm: 0.175, basis: 'detector' }, lossy: false, transfer_syntax: object.transfer_syntax,
      };
    }],
    ['GET', /instances\/(\w+)\/frames\/1\/raw$/, ([hash]) => Buffer.from(samplesOf(hash).samples.buffer)],
    ['GET', /instances\/(\w+)\/preview$/, ([hash]) => {
      const { samples, object } = samplesOf(hash);
      return png(samples, object.columns, object.rows, 4, DEFAULT.center, DEFAULT.width);
    }],
    ['GET', /^\/throughput$/, () => throughput()],
  ];

  function openStream(request, response) {
    me(request);
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    response.write(`event: hello\ndata: {"now_ms":${Date.now()}}\n\n`);
    const listener = (event) => response.write(`id: ${event.seq}\ndata: ${JSON.stringify(event)}\n\n`);
    county.listeners.add(listener);
    streams.add(response);
    request.on('close', () => {
      county.listeners.delete(listener);
      streams.delete(response);
    });
  }

  async function api(request, response, url) {
    const path = decodeURIComponent(url.pathname.slice('/api/v1'.length));
    if (path === '/events') return openStream(request, response);
    if (!['GET', 'HEAD'].includes(request.method) && request.headers['x-relay'] !== '1') throw new Refused(403, 'FORBIDDEN', 'X-Relay', 'writes carry X-Relay', '没有此项权限');
    for (const [method, pattern, handler] of routes) {
      const match = method === request.method && pattern.exec(path);
      if (!match) continue;
      let text = '';
      for await (const part of request) text += part;
      const account = () => me(request);
      if (path !== '/session') account();
      const answer = await handler(match.slice(1), { request, response, account, body: text ? JSON.parse(text) : {}, query: url.searchParams });
      if (answer === undefined) response.writeHead(204).end();
      else if (Buffer.isBuffer(answer)) response.writeHead(200, { 'Content-Type': path.endsWith('raw') ? 'application/octet-stream' : 'image/png', 'Content-Length': answer.length }).end(answer);
      else response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer));
      return undefined;
    }
    throw new Refused(404, 'NOT_FOUND', 'path', 'no such route', '未找到');
  }

  async function page(response, url) {
    const name = normalize(url.pathname).replace(/^\/+/, '');
    const file = name.startsWith('assets/') ? name : 'index.html';
    const bytes = await readFile(join(DIST, file));
    response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream', 'Content-Security-Policy': CSP }).end(bytes);
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://mock');
    const work = url.pathname.startsWith('/api/') ? api(request, response, url) : page(response, url);
    work.catch((error) => {
      const { status = 500, code = 'INTERNAL', field = '', reason = String(error), title = '系统内部错误' } = error;
      response.writeHead(status, { 'Content-Type': 'application/problem+json' });
      response.end(JSON.stringify({ type: `urn:relay:problem:${code}`, title, title_en: reason, status, code, field, reason }));
    });
  });
  return new Promise((ready) => {
    server.listen(port, '127.0.0.1', () =>
      ready({
        url: `http://127.0.0.1:${server.address().port}`, county, sessions,
        logins: Object.values(ACCOUNTS).map(({ id, password, pin, totp_secret, roles }) => ({ login: id, password, pin, totp_secret, role: roles.at(-1) })),
        cutStreams: () => streams.forEach((stream) => stream.destroy()),
        close: () => { streams.forEach((stream) => stream.destroy()); server.closeAllConnections(); server.close(); },
      }),
    );
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url, logins } = await startMock(8190);
  console.log(url, JSON.stringify(logins));
}
