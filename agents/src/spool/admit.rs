//! An object enters custody.

use super::cells::Cells;
use super::coded::{self, Coded, Plain};
use super::error::db;
use super::{Received, Spool, SpoolError, blocking};
use crate::sniff::{self, Sniff, SniffError};
use relay_core::clock::{DAY_MS, MINUTE_MS, UtcMs};
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{ObjectHash, Sha256, StudyUid, derived_study_uid};
use relay_core::limits::MAX_OBJECTS_PER_STUDY;
use relay_core::study::{Class, Completeness, Kind, StudyContext};
use sqlx::SqliteConnection;
use std::sync::atomic::Ordering;

/// An exam time more than this before its arrival is no plausible beginning of a deadline: an old film sent again, or
/// a device clock that was reset.
const MAX_EXAM_AGE_MS: i64 = DAY_MS;
/// A device clock may run ahead of the agent's by this much.
const MAX_EXAM_AHEAD_MS: i64 = MINUTE_MS;

/// Admissions that may go on side by side: equal hashes always share a place.
pub(super) const ADMITTING: usize = 32;

/// Films, and other objects from this size on, are coded one after the other: an encoder takes some megabytes and a core of a
/// township PC. An ECG waits for no film.
const CODED_IN_TURN_BYTES: u64 = 1024 * 1024;

/// Where an object comes from and what the clinic's rules say of it.
#[derive(Debug, Clone)]
pub struct Origin {
    /// AE title, folder or `send`: shown to readers.
    pub source: String,
    /// The file's name, for formats without signature and for the list of refused files.
    pub name: Option<String>,
    /// Class by rule of the source.
    pub class: Class,
    /// Kind by rule of the source; `None` = by content.
    pub kind: Option<Kind>,
    /// True when a short silence completes the study; false when a word is announced that does: then silence does it only
    /// after ten minutes, in case the word is lost.
    pub quiet: bool,
    /// True while the association or batch that brought it is open: then it is not complete yet.
    pub open: bool,
    /// What a C-STORE command has said it brings.
    pub announced: Option<Announced>,
}

/// SOP class and instance as a C-STORE command names them (PS3.7 §9.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// (0000,0002).
    pub sop_class: String,
    /// (0000,1000).
    pub sop_instance: String,
}

/// Field of the refusal of a data set that is not what its command has said: PS3.4 Table B.2-1 has A900 for it.
pub const CONTRADICTS: &str = "(0008,0016) (0008,0018) against the command";

/// The data set must be what its command has said, or a modality is told of one object and holds the receipt of another.
fn as_announced(origin: &Origin, sniff: &Sniff) -> Result<(), Refusal> {
    let Some(announced) = &origin.announced else { return Ok(()) };
    let instance = sniff.instance.as_ref().is_none_or(|uid| uid.as_str() == announced.sop_instance);
    let class = sniff.sop_class.as_ref().is_none_or(|uid| *uid == announced.sop_class);
    if instance && class {
        return Ok(());
    }
    let what = if instance { "SOP class" } else { "SOP instance" };
    Err(Refusal::new(
        Code::RefusedUid,
        CONTRADICTS,
        format!("the {what} of the data set is not the command's"),
    ))
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Admitted {
    /// The study it belongs to.
    pub study: StudyUid,
    /// Its address.
    pub hash: ObjectHash,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
    /// False when it was here before.
    pub fresh: bool,
    /// Bytes.
    pub length: u64,
}

/// An object with everything known of it, ready for its row.
struct Entry {
    study: StudyUid,
    hash: ObjectHash,
    sha256: Sha256,
    length: u64,
    coded: Coded,
    sniff: Sniff,
    /// What a person should look at in an ECG, a line each.
    findings: Vec<String>,
    now: UtcMs,
}

impl Spool {
    /// Takes an object into custody: checks it, makes blob and coded form durable, commits its row. When this returns
    /// `Ok`, a power cut loses nothing. The same bytes again change nothing, unless they were lost here. A caller that goes away in between does
    /// not cut it off: it ends with its row or without its bytes.
    ///
    /// # Errors
    /// The refusal, with code, field and reason. A `Sender` fault is recorded in the list of refused files.
    pub async fn admit(&self, received: Received, origin: &Origin) -> Result<Admitted, Refusal> {
        let (spool, origin) = (self.clone(), origin.clone());
        let whole = tokio::spawn(async move { spool.admit_or_say_why(received, &origin).await });
        whole.await.map_err(|_| SpoolError::ShuttingDown.refusal())?
    }

    async fn admit_or_say_why(&self, received: Received, origin: &Origin) -> Result<Admitted, Refusal> {
        let (sha256, result) = (received.sha256, self.try_admit(received, origin).await);
        if let Err(refusal) = &result {
            tracing::warn!(source = %origin.source, code = refusal.code.name(), field = %refusal.field,
                reason = %refusal.reason, "object refused");
            if refusal.code.fault() == relay_core::codes::Fault::Sender {
                self.record_reject(origin, sha256, refusal).await.map_err(|e| e.refusal())?;
            }
        }
        result
    }

    async fn try_admit(&self, received: Received, origin: &Origin) -> Result<Admitted, Refusal> {
        let name = origin.name.clone();
        let path = received.path().to_owned();
        let sniffed = blocking(move || {
            let sniff = sniff::sniff(&path, name.as_deref())?;
            let findings = if sniff.kind == Kind::Ecg { crate::ecg::findings(&path) } else { Vec::new() };
            Ok((sniff, findings))
        });
        let sniffed: Result<_, SniffError> = sniffed.await.map_err(|e| e.refusal())?;
        let (sniff, findings) = sniffed.map_err(|error| match error {
            SniffError::Refused(refusal) => refusal,
            SniffError::Io { .. } => Refusal::new(Code::StorageFailed, "", super::chain(&error)),
        })?;
        as_announced(origin, &sniff)?;
        let (hash, sha256, length) = (received.hash, received.sha256, received.length);
        // First the turn, which only large objects need, then the place: nobody waits for a turn while others wait for the place.
        let _turn = match length >= CODED_IN_TURN_BYTES || sniff.layout.is_some() {
            true => self.0.coding.acquire().await.ok(),
            false => None,
        };
        // Equal bytes one after the other: none removes what another relies on.
        let _alone = self.0.admitting[usize::from(hash.0[0]) % ADMITTING].lock().await;
        if let Some(study) = self.study_of(&hash).await.map_err(|e| e.refusal())? {
            self.hold_again(&study, received).await.map_err(|e| e.refusal())?;
            self.reopened_by_duplicate(&study, origin).await.map_err(|e| e.refusal())?;
            return Ok(Admitted { study, hash, sha256, fresh: false, length });
        }
        let study = sniff.study.clone().unwrap_or_else(|| derived_study_uid(&self.0.clinic, &hash));
        // Before the bytes get their name: what is refused leaves none behind.
        let objects = objects_of(&self.0.reader, &study).await.map_err(|e| e.refusal())?;
        one_more(objects)?;
        let (blobs, spool, sniffed) = (self.0.blobs.clone(), self.clone(), sniff.clone());
        let coding = format!("coded-{}", self.0.next_partial.fetch_add(1, Ordering::SeqCst));
        let stored = blocking(move || {
            let room = received.commit(&blobs)?;
            Ok((room, coded::code(&blobs, Plain { hash, length }, spool.how(&sniffed), &coding)?))
        });
        let stored = stored.await.and_then(|r: Result<_, SpoolError>| r);
        let (room, coded) = match stored {
            Ok(stored) => stored,
            Err(error) => {
                self.drop_orphan(&[hash]).await;
                return Err(error.refusal());
            }
        };
        let entry = Entry { study, hash, sha256, length, coded, sniff, findings, now: self.now() };
        let fresh = match self.record(&entry, origin).await {
            Ok(fresh) => fresh,
            Err(refusal) => {
                self.drop_orphan(&[hash, entry.coded.form.hash]).await;
                return Err(refusal);
            }
        };
        self.count_unreceipted().await.map_err(|e| e.refusal())?;
        drop(room);
        Ok(Admitted { study: entry.study, hash, sha256, fresh, length })
    }

    /// Removes the bytes of an object that did not enter custody, unless a row (of the same bytes, come another way)
    /// relies on them. What cannot be decided stays.
    pub(super) async fn drop_orphan(&self, hashes: &[ObjectHash]) {
        for hash in hashes {
            let used = sqlx::query_scalar::<_, i64>(
                "SELECT EXISTS (SELECT 1 FROM object WHERE hash = ?1 OR coded_hash = ?1)
                    OR EXISTS (SELECT 1 FROM letter WHERE hash = ?1)",
            );
            let used = used.bind(hash.0.as_slice()).fetch_one(&self.0.writer).await;
            if !matches!(used, Ok(0)) {
                continue;
            }
            let (blobs, orphan) = (self.0.blobs.clone(), *hash);
            if !matches!(blocking(move || blobs.remove(&orphan)).await, Ok(Ok(()))) {
                tracing::warn!(%hash, "bytes of a refused object could not be removed");
            }
        }
    }

    /// The study that holds these bytes.
    pub(crate) async fn study_of(&self, hash: &ObjectHash) -> Result<Option<StudyUid>, SpoolError> {
        let uid: Option<String> = sqlx::query_scalar("SELECT study FROM object WHERE hash = ?")
            .bind(hash.0.as_slice())
            .fetch_optional(&self.0.reader)
            .await
            .map_err(db("look an object up"))?;
        uid.map(|uid| {
            let corrupt = SpoolError::Corrupt { table: "object", column: "study", row: hash.to_string() };
            StudyUid::parse(&uid).map_err(|_| corrupt)
        })
        .transpose()
    }

    /// The same bytes once more: nothing new, but a more urgent rule of the new source counts.
    async fn reopened_by_duplicate(&self, study: &StudyUid, origin: &Origin) -> Result<(), SpoolError> {
        let raised = sqlx::query(
            "UPDATE study SET class = ?1, generation = generation + 1, safe_at = NULL,
                urgent_since = CASE WHEN ?3 AND urgent_since IS NULL THEN ?4 ELSE urgent_since END,
                urgent_generation = CASE WHEN ?3 AND urgent_since IS NULL THEN generation + 1 ELSE urgent_generation END
             WHERE uid = ?2 AND class > ?1",
        )
        .bind(origin.class.number())
        .bind(study.as_str())
        .bind(origin.class.is_urgent())
        .bind(self.now().0)
        .execute(&self.0.writer)
        .await
        .map_err(db("raise a study"))?;
        if raised.rows_affected() > 0 {
            self.touch();
        }
        Ok(())
    }

    /// One transaction: study, person, object. False when the object was there.
    async fn record(&self, entry: &Entry, origin: &Origin) -> Result<bool, Refusal> {
        let failed = |step| move |e| db(step)(e).refusal();
        let mut tx = self.begin().await.map_err(|e| e.refusal())?;
        let there: Option<i64> = sqlx::query_scalar("SELECT 1 FROM object WHERE hash = ?")
            .bind(entry.hash.0.as_slice())
            .fetch_optional(&mut *tx)
            .await
            .map_err(failed("look an object up"))?;
        if there.is_some() {
            return Ok(false);
        }
        let objects = objects_of(&mut *tx, &entry.study).await.map_err(|e| e.refusal())?;
        one_more(objects)?;
        if objects == 0 {
            self.insert_study(&mut tx, entry, origin).await.map_err(|e| e.refusal())?;
        } else {
            self.extend_study(&mut tx, entry, origin).await.map_err(|e| e.refusal())?;
        }
        insert_object(&mut tx, entry).await.map_err(|e| e.refusal())?;
        self.commit(tx).await.map_err(|e| e.refusal())?;
        Ok(true)
    }

    /// Complete at once where no silence is waited for.
    fn completeness(&self, class: Class, kind: Kind, origin: &Origin) -> Completeness {
        let at_once = origin.quiet && !origin.open && self.quiet_ms(class, kind) == 0;
        if at_once { Completeness::Complete } else { Completeness::Partial }
    }

    async fn insert_study(
        &self,
        tx: &mut SqliteConnection,
        entry: &Entry,
        origin: &Origin,
    ) -> Result<(), SpoolError> {
        let uid = entry.study.as_str();
        let ahead =
            sqlx::query("DELETE FROM mark_ahead WHERE study = ? RETURNING study, class, context, finished")
                .bind(uid)
                .fetch_optional(&mut *tx)
                .await
                .map_err(db("read a mark made ahead"))?;
        let (mut class, kind) = (origin.class, origin.kind.unwrap_or(entry.sniff.kind));
        let (mut context, mut finished) = (StudyContext::default(), false);
        if let Some(row) = ahead {
            let cells = Cells::of(&row, "mark_ahead", "study");
            let marked = cells.get::<Option<u8>>("class")?.and_then(Class::from_number);
            class = marked.map_or(class, |c| class.raised_by(c));
            context = super::view::context(&cells)?;
            finished = cells.flag("finished")?;
        }
        let completeness =
            if finished { Completeness::Complete } else { self.completeness(class, kind, origin) };
        sqlx::query(
            "INSERT INTO study (uid, generation, class, kind, completeness, source, quiet, first_object_at,
                last_activity_at, exam_completed_at, exam_time_text, time_suspect, urgent_since, urgent_generation)
             VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(uid)
        .bind(class.number())
        .bind(kind.number())
        .bind(completeness.number())
        .bind(&origin.source)
        .bind(origin.quiet)
        .bind(entry.now.0)
        .bind(entry.now.0)
        .bind(entry.sniff.exam.map(|t| t.0))
        .bind(&entry.sniff.exam_text)
        .bind(suspect(&entry.sniff, entry.now))
        .bind(class.is_urgent().then_some(entry.now.0))
        .bind(class.is_urgent().then_some(1_i64))
        .execute(&mut *tx)
        .await
        .map_err(db("insert a study"))?;
        let person = &entry.sniff.person;
        sqlx::query(
            "INSERT INTO person (study, name, patient_id, sex, birth_date, context) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(uid)
        .bind(&person.name)
        .bind(&person.patient_id)
        .bind(&person.sex)
        .bind(&person.birth_date)
        .bind(super::view::context_json(&context))
        .execute(&mut *tx)
        .await
        .map_err(db("insert a person"))?;
        Ok(())
    }

    /// A further object: a new generation, open again until silence or a word completes it.
    async fn extend_study(
        &self,
        tx: &mut SqliteConnection,
        entry: &Entry,
        origin: &Origin,
    ) -> Result<(), SpoolError> {
        let uid = entry.study.as_str();
        let row =
            sqlx::query("SELECT uid, class, kind, generation, exam_completed_at FROM study WHERE uid = ?")
                .bind(uid)
                .fetch_one(&mut *tx)
                .await
                .map_err(db("read a study"))?;
        let cells = Cells::of(&row, "study", "uid");
        let class = cells.read("class", Class::from_number)?.raised_by(origin.class);
        let kind = cells.read("kind", Kind::from_number)?;
        let kind = if kind == Kind::Other { origin.kind.unwrap_or(entry.sniff.kind) } else { kind };
        let generation: i64 = cells.get("generation")?;
        let exam = cells.get::<Option<i64>>("exam_completed_at")?.max(entry.sniff.exam.map(|t| t.0));
        sqlx::query(
            "UPDATE study SET generation = generation + 1, class = ?, kind = ?, completeness = ?, quiet = MAX(quiet, ?),
                last_activity_at = ?, exam_completed_at = ?, safe_at = NULL,
                urgent_since = COALESCE(urgent_since, ?), urgent_generation = COALESCE(urgent_generation, ?)
             WHERE uid = ?",
        )
        .bind(class.number())
        .bind(kind.number())
        .bind(self.completeness(class, kind, origin).number())
        .bind(origin.quiet)
        .bind(entry.now.0)
        .bind(exam)
        .bind(class.is_urgent().then_some(entry.now.0))
        .bind(class.is_urgent().then_some(generation + 1))
        .bind(uid)
        .execute(&mut *tx)
        .await
        .map_err(db("extend a study"))?;
        Ok(())
    }
}

async fn objects_of(
    db_side: impl sqlx::Executor<'_, Database = sqlx::Sqlite>,
    study: &StudyUid,
) -> Result<i64, SpoolError> {
    sqlx::query_scalar("SELECT COUNT(*) FROM object WHERE study = ?")
        .bind(study.as_str())
        .fetch_one(db_side)
        .await
        .map_err(db("count objects"))
}

/// Whether a study with so many objects may have one more.
fn one_more(objects: i64) -> Result<(), Refusal> {
    if usize::try_from(objects).unwrap_or(usize::MAX) < MAX_OBJECTS_PER_STUDY {
        return Ok(());
    }
    let reason =
        format!("the study has {objects} objects already, at most {MAX_OBJECTS_PER_STUDY} are lawful");
    Err(Refusal::new(Code::RefusedTooLarge, "(0020,000D) StudyInstanceUID", reason))
}

/// Whether a deadline may not be built on the file's own time.
fn suspect(sniff: &Sniff, now: UtcMs) -> bool {
    let age = sniff.exam.map(|exam| now.since(exam));
    sniff.exam_doubtful || !age.is_some_and(|age| (-MAX_EXAM_AHEAD_MS..=MAX_EXAM_AGE_MS).contains(&age))
}

async fn insert_object(tx: &mut SqliteConnection, entry: &Entry) -> Result<(), SpoolError> {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO object (hash, study, length, sha256, kind, instance, series, encoding, coded_length, coded_hash,
            coded_kept, coded_mode, stored_at, findings) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(entry.hash.0.as_slice())
    .bind(entry.study.as_str())
    .bind(signed(entry.length))
    .bind(entry.sha256.0.as_slice())
    .bind(entry.sniff.object.number())
    .bind(entry.sniff.instance.as_ref().map(relay_core::ids::InstanceUid::as_str))
    .bind(entry.sniff.series.as_ref().map(relay_core::ids::SeriesUid::as_str))
    .bind(entry.coded.form.encoding.number())
    .bind(signed(entry.coded.form.length))
    .bind(entry.coded.form.hash.0.as_slice())
    .bind(entry.coded.is_kept())
    .bind(entry.coded.mode_number())
    .bind(entry.now.0)
    .bind((!entry.findings.is_empty()).then(|| entry.findings.join("\n")))
    .execute(tx)
    .await
    .map_err(db("insert an object"))?;
    Ok(())
}
