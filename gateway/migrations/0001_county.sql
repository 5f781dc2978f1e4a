-- The county's facts. Times are UTC milliseconds. Digests are BLOBs of 32 bytes. Words are those of docs/architecture.md.
-- Personal data lives in `person` and `report_text` only; everything else may be shown to whoever runs the machine.

CREATE TABLE site (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;
-- Which store this is, told from every other one: new here, and again at every restore.
INSERT INTO site (key, value) VALUES ('store', lower(hex(randomblob(16))));

CREATE TABLE clinic (
  id              TEXT PRIMARY KEY,
  name            TEXT NOT NULL,
  duty_phone      TEXT,
  -- 组织机构代码, printed on reports
  organization_code TEXT,
  -- JSON: {"offset_minutes":480,"days":[[["08:00","12:00"],["14:00","17:30"]], … seven, Monday first]}; {} = duty calendar
  opening_hours   TEXT NOT NULL DEFAULT '{}',
  online          INTEGER NOT NULL DEFAULT 0,
  heard_at        INTEGER,
  silent_since    INTEGER,
  -- county clock minus agent clock, as measured on the link, and when last; NULL until measured
  clock_offset_ms INTEGER,
  clock_measured_at INTEGER,
  added_at        INTEGER NOT NULL,
  disabled_at     INTEGER
) STRICT;

-- Offset of a device's clock, learnt per source (AE title or folder): arrival at the agent minus exam time, smallest seen.
CREATE TABLE device (
  clinic     TEXT NOT NULL REFERENCES clinic (id),
  source     TEXT NOT NULL,
  offset_ms  INTEGER NOT NULL,
  samples    INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (clinic, source)
) STRICT;

CREATE TABLE study (
  id               INTEGER PRIMARY KEY AUTOINCREMENT,
  clinic           TEXT NOT NULL REFERENCES clinic (id),
  uid              TEXT NOT NULL,
  class            TEXT NOT NULL,
  kind             TEXT NOT NULL,
  completeness     TEXT NOT NULL,
  generation       INTEGER NOT NULL,
  source           TEXT NOT NULL,
  -- T0 of every clock: exam completed, corrected; or first_object_at with time_suspect = 1
  t0               INTEGER NOT NULL,
  time_suspect     INTEGER NOT NULL,
  first_object_at  INTEGER NOT NULL,
  exam_time_text   TEXT,
  exam_time_source TEXT,
  exam_time_zone   TEXT,
  exam_time_ms     INTEGER,
  -- NULL until the clinic's clock was measured
  clock_offset_ms  INTEGER,
  -- 1 when that clock jumped around the time of the study: T0 is doubtful
  clock_jumped     INTEGER NOT NULL DEFAULT 0,
  device_offset_ms INTEGER,
  -- first durable object at the county; NULL while only the manifest is here
  arrived_at       INTEGER,
  complete_at      INTEGER,
  last_object_at   INTEGER,
  -- BLAKE3 over the sorted hashes of the durable objects, and how often it changed
  revision         BLOB,
  revision_number  INTEGER NOT NULL DEFAULT 0,
  objects_here     INTEGER NOT NULL DEFAULT 0,
  objects_announced INTEGER NOT NULL DEFAULT 0,
  -- body part, view or study description, for lists
  item             TEXT NOT NULL DEFAULT '',
  modality         TEXT NOT NULL DEFAULT '',
  retake_of        TEXT,
  created_at       INTEGER NOT NULL,
  updated_at       INTEGER NOT NULL,
  UNIQUE (clinic, uid)
) STRICT;
CREATE INDEX study_t0 ON study (t0);
CREATE INDEX study_arrived ON study (arrived_at);

-- Personal data: what files, clinic and corrections say of the patient of one study (effective values).
CREATE TABLE person (
  study_id      INTEGER PRIMARY KEY REFERENCES study (id),
  clinic        TEXT NOT NULL,
  name          TEXT NOT NULL DEFAULT '',
  sex           TEXT NOT NULL DEFAULT '',
  birth_date    TEXT NOT NULL DEFAULT '',
  age           TEXT NOT NULL DEFAULT '',
  local_id      TEXT NOT NULL DEFAULT '',
  national_id   TEXT NOT NULL DEFAULT '',
  name_repaired INTEGER NOT NULL DEFAULT 0,
  -- relay_core::study::StudyContext as JSON
  context       TEXT NOT NULL DEFAULT '{}',
  corrected_at  INTEGER,
  corrected_by  TEXT
) STRICT;
CREATE INDEX person_local ON person (clinic, local_id);
CREATE INDEX person_national ON person (national_id) WHERE national_id <> '';
CREATE INDEX person_named ON person (name, birth_date);

-- Personal data: what stood there before a named person corrected it.
CREATE TABLE person_correction (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  study_id    INTEGER NOT NULL REFERENCES study (id),
  before_json TEXT NOT NULL,
  after_json  TEXT NOT NULL,
  reason      TEXT NOT NULL,
  by_person   TEXT NOT NULL,
  at          INTEGER NOT NULL
) STRICT;

-- Studies that a person has said are (not) of the same patient; never merged by name.
CREATE TABLE person_link (
  study_a INTEGER NOT NULL REFERENCES study (id),
  study_b INTEGER NOT NULL REFERENCES study (id),
  same    INTEGER NOT NULL,
  by_person TEXT NOT NULL,
  at      INTEGER NOT NULL,
  PRIMARY KEY (study_a, study_b)
) STRICT;

-- Where bytes are. BLAKE3 addresses the plaintext; encoding and key id say in what form the file holds it.
CREATE TABLE location (
  hash        BLOB PRIMARY KEY,
  storage     TEXT NOT NULL,
  path        TEXT NOT NULL,
  length      INTEGER NOT NULL,
  sha256      BLOB NOT NULL,
  encoding    TEXT NOT NULL,
  key_id      TEXT,
  -- ok, missing, corrupt
  status      TEXT NOT NULL,
  stored_at   INTEGER NOT NULL,
  verified_at INTEGER NOT NULL
) STRICT;
CREATE INDEX location_verified ON location (verified_at);
CREATE INDEX location_damaged ON location (hash) WHERE status <> 'ok';

-- What the newest manifest of a study names.
CREATE TABLE announced (
  study_id     INTEGER NOT NULL REFERENCES study (id),
  hash         BLOB NOT NULL,
  length       INTEGER NOT NULL,
  kind         TEXT NOT NULL,
  coded_encoding TEXT NOT NULL,
  coded_length INTEGER NOT NULL,
  coded_hash   BLOB NOT NULL,
  PRIMARY KEY (study_id, hash)
) STRICT, WITHOUT ROWID;

-- Durable objects of studies.
CREATE TABLE object (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  study_id        INTEGER NOT NULL REFERENCES study (id),
  clinic          TEXT NOT NULL,
  hash            BLOB NOT NULL REFERENCES location (hash),
  sha256          BLOB NOT NULL,
  length          INTEGER NOT NULL,
  kind            TEXT NOT NULL,
  instance_uid    TEXT NOT NULL DEFAULT '',
  series_uid      TEXT NOT NULL DEFAULT '',
  sop_class       TEXT NOT NULL DEFAULT '',
  modality        TEXT NOT NULL DEFAULT '',
  "rows"          INTEGER NOT NULL DEFAULT 0,
  "columns"       INTEGER NOT NULL DEFAULT 0,
  frames          INTEGER NOT NULL DEFAULT 0,
  body_part       TEXT NOT NULL DEFAULT '',
  laterality      TEXT NOT NULL DEFAULT '',
  view_position   TEXT NOT NULL DEFAULT '',
  transfer_syntax TEXT NOT NULL DEFAULT '',
  description     TEXT NOT NULL DEFAULT '',
  is_waveform     INTEGER NOT NULL DEFAULT 0,
  -- the newest of several objects with one SOPInstanceUID
  current         INTEGER NOT NULL DEFAULT 1,
  conflict        INTEGER NOT NULL DEFAULT 0,
  -- names another patient than the study does
  other_patient   INTEGER NOT NULL DEFAULT 0,
  -- oddities that did not keep the file out, as JSON words
  notes           TEXT NOT NULL DEFAULT '[]',
  stored_at       INTEGER NOT NULL,
  UNIQUE (study_id, hash)
) STRICT;
CREATE INDEX object_hash ON object (clinic, hash);
CREATE INDEX object_instance ON object (study_id, instance_uid);

-- Unfinished objects: synced ranges of the coded form. The file's name is derived from clinic and coded hash.
CREATE TABLE partial (
  clinic       TEXT NOT NULL,
  coded_hash   BLOB NOT NULL,
  hash         BLOB NOT NULL,
  coded_length INTEGER NOT NULL,
  -- JSON [[from,to), …], sorted, disjoint
  ranges       TEXT NOT NULL,
  updated_at   INTEGER NOT NULL,
  PRIMARY KEY (clinic, coded_hash)
) STRICT;

-- Objects that may not enter custody, with the reason that went back to the clinic.
CREATE TABLE refused (
  clinic      TEXT NOT NULL,
  hash        BLOB NOT NULL,
  study_uid   TEXT NOT NULL,
  generation  INTEGER NOT NULL,
  code        INTEGER NOT NULL,
  field       TEXT NOT NULL,
  reason      TEXT NOT NULL,
  -- file under quarantine/, when the bytes were kept
  quarantine  TEXT,
  length      INTEGER NOT NULL,
  at          INTEGER NOT NULL,
  PRIMARY KEY (clinic, hash)
) STRICT;

CREATE TABLE work_item (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  study_id        INTEGER NOT NULL UNIQUE REFERENCES study (id),
  -- waiting, claimed, drafted, signed, audited, closed, withdrawn, retake_requested
  state           TEXT NOT NULL,
  -- when it came into this state: grows with every change, also when the clock is set back
  state_at        INTEGER NOT NULL,
  -- the state_at that the newest status letter tells
  told_at         INTEGER,
  lease_holder    TEXT REFERENCES account (id),
  lease_claimed_at INTEGER,
  lease_expires_at INTEGER,
  lease_epoch     INTEGER NOT NULL DEFAULT 0,
  -- author of the last signed version
  author          TEXT,
  -- 1 while the newest version lacks the second signature that policy asks for
  awaits_audit    INTEGER NOT NULL DEFAULT 0,
  -- cache of what the events say, for lists and figures; never the source of a deadline
  created_at      INTEGER NOT NULL,
  accepted_at     INTEGER,
  first_claimed_at INTEGER,
  prelim_at       INTEGER,
  reported_at     INTEGER,
  audited_at      INTEGER,
  prelim_received_at INTEGER,
  prelim_opened_at INTEGER,
  received_at     INTEGER,
  opened_at       INTEGER,
  closed_at       INTEGER,
  due_at          INTEGER,
  due_stage       TEXT,
  promise_at      INTEGER,
  -- when the watcher has something to say next; NULL = nothing
  watch_at        INTEGER,
  -- what it has said, as JSON ["alarm:stage:due_at", …]
  watch_said      TEXT NOT NULL DEFAULT '[]',
  -- when the clinic was told that nobody has taken a green study
  unattended_at   INTEGER
) STRICT;
CREATE INDEX work_item_watch ON work_item (watch_at) WHERE watch_at IS NOT NULL;
CREATE INDEX work_item_state ON work_item (state);
CREATE INDEX work_item_promise ON work_item (promise_at);
CREATE INDEX work_item_untold ON work_item (state_at) WHERE told_at IS NOT state_at;
CREATE INDEX work_item_lease ON work_item (lease_expires_at) WHERE lease_holder IS NOT NULL;

-- What a signed study still asks of somebody, one row for each reason. Settled only by what answers it: a version that an
-- author signs over the study's revision of that moment.
CREATE TABLE attention (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  work_item  INTEGER NOT NULL REFERENCES work_item (id),
  -- late_objects 待补充, identity_corrected 待更正
  reason     TEXT NOT NULL,
  owner      TEXT,
  at         INTEGER NOT NULL,
  settled_at INTEGER,
  -- report/version
  settled_by TEXT
) STRICT;
CREATE UNIQUE INDEX attention_open ON attention (work_item, reason) WHERE settled_at IS NULL;

-- Personal data: the words of drafts, signed versions, critical notices, actions, retake requests, withdrawals.
CREATE TABLE report_text (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  study_id   INTEGER NOT NULL REFERENCES study (id),
  -- draft, version, critical, read_back, action, retake, void
  purpose    TEXT NOT NULL,
  -- JSON; DraftText for draft and version, {"text":…} and the like for the others
  body       TEXT NOT NULL,
  at         INTEGER NOT NULL
) STRICT;
CREATE INDEX report_text_draft ON report_text (study_id) WHERE purpose = 'draft';

CREATE TABLE draft (
  work_item INTEGER PRIMARY KEY REFERENCES work_item (id),
  text_id   INTEGER NOT NULL REFERENCES report_text (id),
  revision  INTEGER NOT NULL,
  epoch     INTEGER NOT NULL,
  author    TEXT NOT NULL,
  saved_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE report (
  id         TEXT PRIMARY KEY,
  study_id   INTEGER NOT NULL REFERENCES study (id),
  -- report, plan
  purpose    TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX report_study ON report (study_id);

CREATE TABLE report_version (
  report         TEXT NOT NULL REFERENCES report (id),
  version        INTEGER NOT NULL,
  previous       INTEGER,
  kind           TEXT NOT NULL,
  -- the signed package (relay_core::report::ReportPackage::encode) as a blob
  package_hash   BLOB NOT NULL,
  text_id        INTEGER NOT NULL REFERENCES report_text (id),
  author         TEXT NOT NULL,
  author_name    TEXT NOT NULL,
  reviewer       TEXT,
  reviewer_name  TEXT,
  signed_at      INTEGER NOT NULL,
  audited_at     INTEGER,
  study_revision BLOB NOT NULL,
  objects_read   INTEGER NOT NULL,
  objects_announced INTEGER NOT NULL,
  required_signatures INTEGER NOT NULL,
  demo_signature INTEGER NOT NULL,
  reason         TEXT,
  -- what it is, or becomes under the second signature: final, addendum, correction
  becomes        TEXT NOT NULL,
  letter         TEXT REFERENCES letter (id),
  -- queued, sent, received, opened
  delivery       TEXT NOT NULL,
  sent_at        INTEGER,
  received_at    INTEGER,
  opened_at      INTEGER,
  opened_by      TEXT,
  -- when the row was last held against its package, and where it differed
  proved_at      INTEGER NOT NULL DEFAULT 0,
  damage         TEXT,
  PRIMARY KEY (report, version)
) STRICT;
CREATE INDEX report_version_letter ON report_version (letter);
CREATE INDEX report_version_text ON report_version (text_id);
CREATE INDEX report_version_proved ON report_version (proved_at);

-- 作废: versions that may not be used any more, up to and with this one; newer ones stand.
CREATE TABLE report_void (
  report          TEXT NOT NULL REFERENCES report (id),
  through_version INTEGER NOT NULL,
  text_id         INTEGER NOT NULL REFERENCES report_text (id),
  by_person       TEXT NOT NULL,
  by_name         TEXT NOT NULL,
  at              INTEGER NOT NULL,
  letter          TEXT NOT NULL REFERENCES letter (id),
  PRIMARY KEY (report, through_version)
) STRICT;

-- The outbox towards the clinics. The body is a blob.
CREATE TABLE letter (
  id            TEXT PRIMARY KEY,
  clinic        TEXT NOT NULL REFERENCES clinic (id),
  kind          TEXT NOT NULL,
  study_uid     TEXT NOT NULL,
  study_id      INTEGER REFERENCES study (id),
  body_hash     BLOB NOT NULL,
  -- a status letter's few bytes; the bodies of all others are blobs
  body          BLOB,
  length        INTEGER NOT NULL,
  -- 0 = critical notice, 1 = withdrawal, or report or plan of an urgent class, 2 = report, 3 = retake, 4 = status
  priority      INTEGER NOT NULL,
  written_at    INTEGER NOT NULL,
  attempts      INTEGER NOT NULL DEFAULT 0,
  sent_at       INTEGER,
  -- county clock, and the clinic's own
  received_at   INTEGER,
  stored_at     INTEGER,
  refused_at    INTEGER,
  refused_code  INTEGER,
  refused_field TEXT,
  refused_reason TEXT,
  refusals      INTEGER NOT NULL DEFAULT 0,
  -- how often it could not be sent, or the clinic could not judge it, and why lately
  delays        INTEGER NOT NULL DEFAULT 0,
  delay_reason  TEXT,
  -- a letter that did not get through is offered again from next_try_at on
  tried_at      INTEGER,
  next_try_at   INTEGER,
  superseded_at INTEGER
) STRICT;
CREATE INDEX letter_study ON letter (study_id, kind, written_at);
CREATE INDEX letter_pending ON letter (clinic, priority, written_at)
  WHERE received_at IS NULL AND superseded_at IS NULL;

-- Events from the clinics: signed bytes as a blob.
CREATE TABLE note (
  clinic      TEXT NOT NULL REFERENCES clinic (id),
  id          TEXT NOT NULL,
  kind        TEXT NOT NULL,
  study_uid   TEXT NOT NULL,
  letter      TEXT,
  report      TEXT,
  version     INTEGER,
  person      TEXT NOT NULL,
  body_hash   BLOB NOT NULL,
  signature   BLOB NOT NULL,
  -- the leaf that was checked on the connection, DER, so that the note verifies again later
  device_certificate BLOB NOT NULL,
  at_clinic   INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  PRIMARY KEY (clinic, id)
) STRICT;

CREATE TABLE critical (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  study_id      INTEGER NOT NULL REFERENCES study (id),
  code          TEXT NOT NULL,
  tier          TEXT NOT NULL,
  text_id       INTEGER NOT NULL REFERENCES report_text (id),
  raised_by     TEXT NOT NULL,
  raised_by_name TEXT NOT NULL,
  raised_at     INTEGER NOT NULL,
  letter        TEXT NOT NULL REFERENCES letter (id),
  -- steps of the ladder taken because nobody had read it back: 1 second contact, 2 duty chief, 3 county emergency
  escalated     INTEGER NOT NULL DEFAULT 0,
  received_at   INTEGER,
  read_back_by  TEXT,
  read_back_at  INTEGER,
  read_back_text INTEGER REFERENCES report_text (id),
  action_by     TEXT,
  action_at     INTEGER,
  action_text   INTEGER REFERENCES report_text (id)
) STRICT;
CREATE INDEX critical_study ON critical (study_id);
CREATE INDEX critical_unread ON critical (raised_at) WHERE read_back_at IS NULL;
CREATE UNIQUE INDEX critical_letter ON critical (letter);

CREATE TABLE retake (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  study_id    INTEGER NOT NULL REFERENCES study (id),
  reason      TEXT NOT NULL,
  text_id     INTEGER NOT NULL REFERENCES report_text (id),
  asked_by    TEXT NOT NULL,
  asked_by_name TEXT NOT NULL,
  asked_at    INTEGER NOT NULL,
  letter      TEXT NOT NULL REFERENCES letter (id),
  seen_at     INTEGER,
  answered_by_study INTEGER REFERENCES study (id),
  answered_at INTEGER
) STRICT;
CREATE INDEX retake_study ON retake (study_id);

CREATE TABLE account (
  id             TEXT PRIMARY KEY,
  name           TEXT NOT NULL,
  -- JSON lists of words
  roles          TEXT NOT NULL,
  clinics        TEXT NOT NULL,
  kinds          TEXT NOT NULL,
  -- 执业证书编号, printed under signatures
  license_no     TEXT,
  password_hash  TEXT NOT NULL,
  totp_secret    TEXT,
  totp_last_step INTEGER,
  failures       INTEGER NOT NULL DEFAULT 0,
  locked_until   INTEGER,
  -- signing PIN: tries since the last right one, counted before they are made
  pin_failures   INTEGER NOT NULL DEFAULT 0,
  pin_locked_until INTEGER,
  -- PKCS#12 under the home directory, for the demonstration signer
  signer_file    TEXT,
  added_at       INTEGER NOT NULL,
  disabled_at    INTEGER
) STRICT;

CREATE TABLE session (
  token      BLOB PRIMARY KEY,
  account    TEXT NOT NULL REFERENCES account (id),
  opened_at  INTEGER NOT NULL,
  used_at    INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  closed_at  INTEGER
) STRICT;
CREATE INDEX session_account ON session (account);

-- Everything that happened, in commit order. No personal data. SLA, figures, live lists and the province read it alone.
CREATE TABLE event (
  seq       INTEGER PRIMARY KEY AUTOINCREMENT,
  at        INTEGER NOT NULL,
  -- site id
  source    TEXT NOT NULL,
  -- person, clinic or 'county'
  actor     TEXT NOT NULL,
  type      TEXT NOT NULL,
  version   INTEGER NOT NULL,
  subject   TEXT NOT NULL,
  clinic    TEXT,
  study_id  INTEGER,
  work_item INTEGER,
  class     TEXT,
  body      TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX event_study ON event (study_id, seq);
CREATE INDEX event_at ON event (at);

-- Who did or tried what. hash = BLAKE3 over the previous hash and this row.
CREATE TABLE audit (
  seq     INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  who     TEXT NOT NULL,
  action  TEXT NOT NULL,
  subject TEXT NOT NULL,
  allowed INTEGER NOT NULL,
  detail  TEXT NOT NULL,
  hash    BLOB NOT NULL
) STRICT;

-- Follow-up work, written in the transaction that makes it necessary, done by idempotent reconcilers.
CREATE TABLE job (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  kind       TEXT NOT NULL,
  subject    TEXT NOT NULL,
  -- open, done, failed
  state      TEXT NOT NULL,
  attempts   INTEGER NOT NULL DEFAULT 0,
  -- how often it was begun since it last ended: what ends the gateway is not begun for ever
  begun      INTEGER NOT NULL DEFAULT 0,
  not_before INTEGER NOT NULL,
  error      TEXT,
  created_at INTEGER NOT NULL,
  -- digest (BLAKE3) of the file that a finished job has made
  made       BLOB,
  done_at    INTEGER,
  UNIQUE (kind, subject)
) STRICT;
CREATE INDEX job_open ON job (kind, not_before) WHERE state = 'open';

CREATE TRIGGER event_is_append_only_update BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'event is append-only'); END;
CREATE TRIGGER event_is_append_only_delete BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'event is append-only'); END;
CREATE TRIGGER audit_is_append_only_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
CREATE TRIGGER audit_is_append_only_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
