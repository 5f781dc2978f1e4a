//! What people and silence say of a study: class, context, finished, complete.

use super::cells::Cells;
use super::error::db;
use super::{Spool, SpoolError, view};
use relay_core::clock::{MINUTE_MS, UtcMs};
use relay_core::ids::StudyUid;
use relay_core::limits::MAX_CONTEXT_CHARS;
use relay_core::study::{Class, Completeness, Kind, StudyContext};
use sqlx::sqlite::SqliteRow;
use std::sync::PoisonError;

/// Silence (ms) that completes a study for which a later word was announced (`send`, the page): the word follows the last
/// file within seconds, and a person who was cut off in between does not come back to it.
const WORD_MS: i64 = 10 * MINUTE_MS;
/// An open study that has been silent for so long (ms) is named to people: the word may have been lost.
const UNFINISHED_MS: i64 = 2 * MINUTE_MS;
/// Unfinished studies in one list: more are one breakdown.
const MAX_UNFINISHED: i64 = 20;

/// What a person says of a study, before, during or after its transfer.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mark {
    /// Raise to this class. A class is never lowered.
    pub class: Option<Class>,
    /// Fields that are given replace what stood there.
    pub context: StudyContext,
    /// The exam is finished: the study is complete now.
    pub finished: bool,
}

/// What stands after a mark.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Marked {
    /// The class that holds.
    pub class: Option<Class>,
    /// False when no object of the study has come yet: the mark waits for it.
    pub known: bool,
    /// Whether the study is complete.
    pub complete: bool,
}

impl Mark {
    /// Checks the lengths.
    ///
    /// # Errors
    /// The name of the field that is too long.
    pub fn check(&self) -> Result<(), String> {
        for (field, text) in self.context.texts() {
            let chars = text.map_or(0, |t| t.chars().count());
            if chars > MAX_CONTEXT_CHARS {
                return Err(format!("{field}: {chars} characters, at most {MAX_CONTEXT_CHARS} are taken"));
            }
        }
        Ok(())
    }

    fn merge(&self, into: &mut StudyContext) {
        let new = self.context.clone();
        let pairs = [
            (&mut into.complaint, new.complaint),
            (&mut into.phone, new.phone),
            (&mut into.doctor, new.doctor),
            (&mut into.patient_name, new.patient_name),
            (&mut into.patient_id, new.patient_id),
            (&mut into.patient_sex, new.patient_sex),
            (&mut into.patient_birth_date, new.patient_birth_date),
        ];
        for (slot, value) in pairs {
            if value.is_some() {
                *slot = value;
            }
        }
        if new.retake_of.is_some() {
            into.retake_of = new.retake_of;
        }
    }
}

impl Spool {
    /// Applies a mark; for a study that has no object yet it is kept until the first one comes.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn mark(&self, study: &StudyUid, mark: &Mark) -> Result<Marked, SpoolError> {
        let mut tx = self.begin().await?;
        let row = sqlx::query(
            "SELECT s.uid, s.class, s.completeness, p.context FROM study s JOIN person p ON p.study = s.uid WHERE s.uid = ?",
        )
        .bind(study.as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(db("read a study"))?;
        let Some(row) = row else {
            drop(tx);
            return self.mark_ahead(study, mark).await;
        };
        let cells = Cells::of(&row, "study", "uid");
        let was = cells.read("class", Class::from_number)?;
        let class = mark.class.map_or(was, |c| was.raised_by(c));
        let before = view::context(&cells)?;
        let mut context = before.clone();
        mark.merge(&mut context);
        let was_complete = cells.read("completeness", Completeness::from_number)? == Completeness::Complete;
        let complete = was_complete || mark.finished;
        if class != was || context != before || complete != was_complete {
            let newly_urgent = class.is_urgent() && !was.is_urgent();
            sqlx::query(
                "UPDATE study SET class = ?1, completeness = ?2, generation = generation + 1, safe_at = NULL,
                    urgent_since = CASE WHEN ?3 THEN ?4 ELSE urgent_since END,
                    urgent_generation = CASE WHEN ?3 THEN generation + 1 ELSE urgent_generation END WHERE uid = ?5",
            )
            .bind(class.number())
            .bind(if complete { Completeness::Complete.number() } else { Completeness::Partial.number() })
            .bind(newly_urgent)
            .bind(self.now().0)
            .bind(study.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db("mark a study"))?;
            sqlx::query("UPDATE person SET context = ? WHERE study = ?")
                .bind(view::context_json(&context))
                .bind(study.as_str())
                .execute(&mut *tx)
                .await
                .map_err(db("mark a study"))?;
            self.commit(tx).await?;
        }
        Ok(Marked { class: Some(class), known: true, complete })
    }

    async fn mark_ahead(&self, study: &StudyUid, mark: &Mark) -> Result<Marked, SpoolError> {
        let mut tx = self.begin().await?;
        let row = sqlx::query("SELECT study, class, context, finished FROM mark_ahead WHERE study = ?")
            .bind(study.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db("read a mark made ahead"))?;
        let (mut class, mut context, mut finished) = (mark.class, StudyContext::default(), mark.finished);
        if let Some(row) = row {
            let cells = Cells::of(&row, "mark_ahead", "study");
            let before = cells.get::<Option<u8>>("class")?.and_then(Class::from_number);
            class = [class, before].into_iter().flatten().min();
            context = view::context(&cells)?;
            finished |= cells.flag("finished")?;
        }
        mark.merge(&mut context);
        sqlx::query(
            "INSERT INTO mark_ahead (study, class, context, finished, at) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (study) DO UPDATE SET class = excluded.class, context = excluded.context,
                finished = excluded.finished, at = excluded.at",
        )
        .bind(study.as_str())
        .bind(class.map(Class::number))
        .bind(view::context_json(&context))
        .bind(finished)
        .bind(self.now().0)
        .execute(&mut *tx)
        .await
        .map_err(db("keep a mark made ahead"))?;
        self.commit(tx).await?;
        Ok(Marked { class, known: false, complete: finished })
    }

    /// An association (or batch) has brought an object of this study and is still open.
    pub fn opened(&self, study: &StudyUid) {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open.entry(study.clone()).or_insert(0) += 1;
    }

    /// That association has closed: the quiet time begins now.
    ///
    /// # Errors
    /// [`SpoolError`] of the database; the quiet time then counts from the last object.
    pub async fn closed(&self, study: &StudyUid) -> Result<(), SpoolError> {
        {
            let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = open.get_mut(study) {
                *count -= 1;
                if *count == 0 {
                    open.remove(study);
                }
            }
        }
        sqlx::query("UPDATE study SET last_activity_at = ? WHERE uid = ? AND completeness = 0")
            .bind(self.now().0)
            .bind(study.as_str())
            .execute(&self.0.writer)
            .await
            .map_err(db("note that an association closed"))?;
        self.complete_quiet().await?;
        Ok(())
    }

    /// Completes the studies whose quiet time is over. Idempotent; gives how many.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn complete_quiet(&self) -> Result<usize, SpoolError> {
        let rows =
            sqlx::query("SELECT uid, class, kind, quiet, last_activity_at FROM study WHERE completeness = 0")
                .fetch_all(&self.0.reader)
                .await
                .map_err(db("list open studies"))?;
        let now = self.now();
        let mut completed = 0;
        for open in self.readable(rows.iter().map(OpenStudy::of)) {
            let here = self.0.open.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&open.study);
            if here {
                continue;
            }
            let since = now.since(UtcMs(open.last_activity_at));
            if since < 0 {
                // The clock was set back: silence is counted from now.
                self.restart_quiet(open.study.as_str(), now).await?;
            } else if since >= if open.quiet { self.quiet_ms(open.class, open.kind) } else { WORD_MS } {
                completed += self.complete(open.study.as_str(), open.last_activity_at).await?;
            }
        }
        if completed > 0 {
            self.touch();
        }
        Ok(completed)
    }

    /// Studies that are not complete although nothing has come for two minutes, oldest first: somebody may have to say that
    /// they are. At most 20.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn unfinished(&self) -> Result<Vec<Unfinished>, SpoolError> {
        let rows = sqlx::query(
            "SELECT s.uid, s.last_activity_at, p.name AS file_name, p.context FROM study s JOIN person p ON p.study = s.uid
             WHERE s.completeness = 0 AND s.last_activity_at <= ? ORDER BY s.last_activity_at LIMIT ?",
        )
        .bind(self.now().plus_ms(-UNFINISHED_MS).0)
        .bind(MAX_UNFINISHED)
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list unfinished studies"))?;
        let mut found = self.readable(rows.iter().map(|row| {
            let cells = Cells::of(row, "study", "uid");
            Ok(Unfinished {
                study: cells.study("uid")?,
                patient_name: view::patient_name(&cells),
                last_activity_at: cells.time("last_activity_at")?,
            })
        }));
        let open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        found.retain(|one| !open.contains_key(&one.study));
        Ok(found)
    }

    /// Completes a study unless something came in between.
    async fn complete(&self, uid: &str, as_of: i64) -> Result<usize, SpoolError> {
        let done = sqlx::query(
            "UPDATE study SET completeness = 1, generation = generation + 1, safe_at = NULL
             WHERE uid = ? AND completeness = 0 AND last_activity_at = ?",
        )
        .bind(uid)
        .bind(as_of)
        .execute(&self.0.writer)
        .await
        .map_err(db("complete a study"))?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(0))
    }

    async fn restart_quiet(&self, uid: &str, now: UtcMs) -> Result<(), SpoolError> {
        sqlx::query("UPDATE study SET last_activity_at = ? WHERE uid = ? AND completeness = 0")
            .bind(now.0)
            .bind(uid)
            .execute(&self.0.writer)
            .await
            .map_err(db("restart the quiet time"))?;
        Ok(())
    }
}

/// A study that is not complete although it is silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The study.
    pub study: StudyUid,
    /// Who was examined.
    pub patient_name: Option<String>,
    /// When its last object came.
    pub last_activity_at: UtcMs,
}

/// A study that silence may complete.
struct OpenStudy {
    study: StudyUid,
    class: Class,
    kind: Kind,
    quiet: bool,
    last_activity_at: i64,
}

impl OpenStudy {
    fn of(row: &SqliteRow) -> Result<Self, SpoolError> {
        let cells = Cells::of(row, "study", "uid");
        Ok(Self {
            study: cells.study("uid")?,
            class: cells.read("class", Class::from_number)?,
            kind: cells.read("kind", Kind::from_number)?,
            quiet: cells.flag("quiet")?,
            last_activity_at: cells.get("last_activity_at")?,
        })
    }
}
