-- The clinic's spool and inbox. Times are UTC milliseconds; hashes are 32-byte blobs.
-- Personal data: only in person, reject.file_name (a name a person must recognise) and the blobs themselves.

-- Whose spool it is: of one clinic for ever.
CREATE TABLE owner (
    id                  INTEGER PRIMARY KEY CHECK (id = 1),
    clinic              TEXT NOT NULL
) STRICT;

-- Watched folders that have been made: one that is missing later is a share that is not mounted.
CREATE TABLE folder (
    path                TEXT PRIMARY KEY
) STRICT;

CREATE TABLE study (
    uid                 TEXT PRIMARY KEY,
    generation          INTEGER NOT NULL,
    class               INTEGER NOT NULL,
    kind                INTEGER NOT NULL,
    completeness        INTEGER NOT NULL,
    source              TEXT NOT NULL,
    quiet               INTEGER NOT NULL,          -- 1: quiet time completes it; 0: a word does, or ten minutes of silence
    first_object_at     INTEGER NOT NULL,
    last_activity_at    INTEGER NOT NULL,
    exam_completed_at   INTEGER,
    exam_time_text      TEXT,
    time_suspect        INTEGER NOT NULL,
    receipted_generation INTEGER NOT NULL DEFAULT 0,
    refused_generation  INTEGER NOT NULL DEFAULT 0,
    refused_code        INTEGER,
    refused_field       TEXT,
    refused_reason      TEXT,
    safe_at             INTEGER,                   -- every object and the newest generation receipted
    urgent_since        INTEGER,                   -- when its class became green or emergency
    urgent_generation   INTEGER,                   -- the generation that first said so
    confirmed_in        TEXT,                      -- the county store (county.store) that has said so last
    county_state        TEXT,
    county_reader       TEXT,
    county_due_at       INTEGER,
    -- 1 while nobody at the county has taken a green study in time
    county_unattended   INTEGER NOT NULL DEFAULT 0,
    county_state_at     INTEGER
) STRICT;
-- Today's list and what has not arrived, without reading years of studies.
CREATE INDEX study_first ON study(first_object_at);
CREATE INDEX study_active ON study(last_activity_at);
CREATE INDEX study_unsafe ON study(class, first_object_at) WHERE safe_at IS NULL;

CREATE TABLE person (
    study               TEXT PRIMARY KEY REFERENCES study(uid),
    name                TEXT,
    patient_id          TEXT,
    sex                 TEXT,
    birth_date          TEXT,
    context             TEXT NOT NULL              -- JSON of StudyContext, as the clinic gave it
) STRICT;

CREATE TABLE object (
    hash                BLOB PRIMARY KEY,
    study               TEXT NOT NULL REFERENCES study(uid),
    length              INTEGER NOT NULL,
    sha256              BLOB NOT NULL,
    kind                INTEGER NOT NULL,
    instance            TEXT,
    series              TEXT,
    encoding            INTEGER NOT NULL,
    coded_length        INTEGER NOT NULL,
    coded_hash          BLOB NOT NULL,
    coded_kept          INTEGER NOT NULL,          -- 1: the coded form is cached as a blob of its own
    coded_mode          INTEGER NOT NULL DEFAULT 0, -- of a film: 1 quick, 2 strong coder; it is made again the same way
    stored_at           INTEGER NOT NULL,
    receipted_at        INTEGER,
    receipted_in        TEXT,                      -- the county store whose receipt it is
    refused_code        INTEGER,
    refused_field       TEXT,
    refused_reason      TEXT,
    digest_refusals     INTEGER NOT NULL DEFAULT 0,
    unreadable_at       INTEGER,                   -- its bytes were found lost or damaged on this disk
    findings            TEXT,                      -- what a person should look at in an ECG, a line each
    evicted_at          INTEGER                    -- the bytes left the clinic's archive by policy
) STRICT;
CREATE INDEX object_study ON object(study);
-- With the lengths, so that what waits is summed up without its rows.
CREATE INDEX object_open ON object(study, length, coded_kept, coded_length) WHERE receipted_at IS NULL AND refused_code IS NULL;

-- Which store of the county answered last. Another name than before is another store (restored from a backup, replaced,
-- a standby's own): it must confirm anew what is held here.
CREATE TABLE county (
    id                  INTEGER PRIMARY KEY CHECK (id = 1),
    store               TEXT NOT NULL,
    home                TEXT,                      -- the store of the first gateway in the configuration
    first               INTEGER NOT NULL,          -- 1: the answer came from that gateway, 0: from a standby
    takes_film          INTEGER NOT NULL,          -- 1: it restores coded films
    film_quick          INTEGER,                   -- bytes a second that it restores of them, as it says
    film_strong         INTEGER,
    since               INTEGER NOT NULL
) STRICT;

-- What the line to the county carries, as measured last.
CREATE TABLE line (
    id                  INTEGER PRIMARY KEY CHECK (id = 1),
    bytes_per_second    INTEGER NOT NULL,
    measured_at         INTEGER NOT NULL
) STRICT;

-- What a person said of a study before its first object came.
CREATE TABLE mark_ahead (
    study               TEXT PRIMARY KEY,
    class               INTEGER,
    context             TEXT NOT NULL,
    finished            INTEGER NOT NULL,
    at                  INTEGER NOT NULL
) STRICT;

-- What was not taken into custody, so that a person can see why.
CREATE TABLE reject (
    id                  INTEGER PRIMARY KEY,
    at                  INTEGER NOT NULL,
    source              TEXT NOT NULL,
    file_name           TEXT NOT NULL,
    sha256              BLOB NOT NULL,
    code                INTEGER NOT NULL,
    field               TEXT NOT NULL,
    reason              TEXT NOT NULL,
    UNIQUE (source, file_name, sha256)
) STRICT;

CREATE TABLE note (
    id                  TEXT PRIMARY KEY,
    seq                 INTEGER NOT NULL UNIQUE,
    kind                INTEGER NOT NULL,
    body                BLOB NOT NULL,
    signature           BLOB NOT NULL,
    certificate         BLOB NOT NULL,             -- DER; the device may have a newer one when the note travels
    receipted_at        INTEGER,
    receipted_in        TEXT,                      -- the county store whose receipt it is
    refusals            INTEGER NOT NULL DEFAULT 0,
    refused_at          INTEGER,
    refused_code        INTEGER,
    refused_field       TEXT,
    refused_reason      TEXT,
    next_try_at         INTEGER                    -- of a refused note
) STRICT;
CREATE INDEX note_open ON note(seq) WHERE receipted_at IS NULL;

CREATE TABLE letter (
    id                  TEXT PRIMARY KEY,
    kind                INTEGER NOT NULL,
    study               TEXT NOT NULL,
    hash                BLOB NOT NULL,
    length              INTEGER NOT NULL,
    written_at          INTEGER NOT NULL,
    stored_at           INTEGER NOT NULL,
    refused_code        INTEGER,                   -- quarantined
    refused_field       TEXT,
    refused_reason      TEXT
) STRICT;
CREATE INDEX letter_study ON letter(study);

CREATE TABLE report (
    letter              TEXT PRIMARY KEY REFERENCES letter(id),
    report_id           TEXT NOT NULL,
    version             INTEGER NOT NULL,
    paper_version       INTEGER NOT NULL,          -- the number that paper shows
    kind                INTEGER NOT NULL,
    study               TEXT NOT NULL,
    package             BLOB NOT NULL,
    author              TEXT NOT NULL,
    reviewer            TEXT,
    signed_at           INTEGER NOT NULL,
    reviewed_at         INTEGER,
    demo                INTEGER NOT NULL,
    verified_at         INTEGER NOT NULL,
    opened_at           INTEGER,
    opened_by           TEXT,
    fault               TEXT,                      -- found at a later check from disk
    revision            BLOB,                      -- the set of objects it has read
    UNIQUE (report_id, version)
) STRICT;
CREATE INDEX report_study ON report(study);

-- 作废: every version of the report up to and with this one, whether it is here or still comes.
CREATE TABLE report_void (
    report_id           TEXT NOT NULL,
    through_version     INTEGER NOT NULL,
    study               TEXT NOT NULL,
    letter              TEXT NOT NULL REFERENCES letter(id),
    reason              TEXT NOT NULL,
    by_name             TEXT NOT NULL,
    at                  INTEGER NOT NULL,
    PRIMARY KEY (report_id, through_version)
) STRICT;

CREATE TABLE critical (
    letter              TEXT PRIMARY KEY REFERENCES letter(id),
    study               TEXT NOT NULL,
    code                TEXT NOT NULL,
    tier                TEXT NOT NULL,
    body                BLOB NOT NULL,
    raised_at           INTEGER NOT NULL,
    read_back_at        INTEGER,
    read_back_by        TEXT,
    action_at           INTEGER,
    action_by           TEXT
) STRICT;

CREATE TABLE retake (
    letter              TEXT PRIMARY KEY REFERENCES letter(id),
    study               TEXT NOT NULL,
    reason              TEXT NOT NULL,
    body                BLOB NOT NULL,
    asked_at            INTEGER NOT NULL,
    seen_at             INTEGER,
    seen_by             TEXT
) STRICT;

CREATE TABLE staff (
    name                TEXT PRIMARY KEY,
    pin_hash            TEXT NOT NULL,
    added_at            INTEGER NOT NULL,
    failures            INTEGER NOT NULL DEFAULT 0,
    locked_until        INTEGER
) STRICT;
