//! The courier's view of the spool: what waits for the county, and what became of it.

use super::cells::Cells;
use super::error::db;
use super::{Spool, SpoolError, blocking, held, view};
use crate::courier::ports::{Answering, Outbox, PortError};
use async_trait::async_trait;
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Fault, Refusal};
use relay_core::ids::{InstanceUid, NoteId, ObjectHash, SeriesUid, StudyUid};
use relay_core::letter::Note;
use relay_core::study::{
    Class, CodedForm, Completeness, Encoding, Kind, Manifest, ManifestObject, ObjectKind,
};
use sqlx::sqlite::SqliteRow;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use tokio::sync::watch;

/// A digest that the county finds wrong is tried again this often when our own bytes are right: the line or its
/// partial was at fault. After that a person must look.
const MAX_DIGEST_REFUSALS: i64 = 3;

pub(super) fn port(step: &'static str) -> impl FnOnce(SpoolError) -> PortError {
    move |source| PortError { step, source: anyhow::Error::new(source) }
}

#[async_trait]
impl Outbox for Spool {
    async fn pending_studies(&self, limit: usize) -> Result<Vec<Manifest>, PortError> {
        self.pending(limit).await.map_err(port("list what waits for the county"))
    }

    async fn greeted(&self, county: &Answering) -> Result<(), PortError> {
        self.record_greeting(county).await.map_err(port("record which county store answers"))
    }

    async fn missing(&self, study: &StudyUid, objects: &[ObjectHash]) -> Result<(), PortError> {
        self.record_missing(study, objects).await.map_err(port("record what the county lacks"))
    }

    async fn wanted(&self, study: &StudyUid, objects: &[ObjectHash]) -> Result<Vec<ObjectHash>, PortError> {
        self.record_wanted(study, objects).await.map_err(port("record what the county has lost"))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.subscribe()
    }

    async fn open_coded(&self, study: &StudyUid, object: &ObjectHash) -> Result<tokio::fs::File, PortError> {
        self.coded_file(study, object).await.map_err(port("open an object for sending"))
    }

    async fn receipted(
        &self,
        study: &StudyUid,
        generation: u64,
        objects: &[ObjectHash],
        at: UtcMs,
    ) -> Result<(), PortError> {
        self.record_receipt(study, generation, objects, at).await.map_err(port("record a receipt"))
    }

    async fn refused(
        &self,
        study: &StudyUid,
        object: Option<&ObjectHash>,
        generation: u64,
        refusal: &Refusal,
    ) -> Result<(), PortError> {
        self.record_refusal(study, object, generation, refusal).await.map_err(port("record a refusal"))
    }

    async fn progress(&self, study: &StudyUid, coded_bytes_at_county: u64) {
        self.0
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(study.clone(), coded_bytes_at_county);
    }

    async fn line_measured(&self, bytes_per_second: u64) -> Result<(), PortError> {
        self.record_line(bytes_per_second).await.map_err(port("record what the line carries"))
    }

    async fn pending_notes(&self, limit: usize) -> Result<Vec<Note>, PortError> {
        self.open_notes(limit).await.map_err(port("list notes"))
    }

    async fn note_receipted(&self, id: &NoteId, at: UtcMs) -> Result<(), PortError> {
        self.record_note_receipt(id, at).await.map_err(port("record a note's receipt"))
    }

    async fn note_refused(&self, id: &NoteId, refusal: &Refusal) -> Result<(), PortError> {
        self.record_note_refusal(id, refusal).await.map_err(port("record a note's refusal"))
    }
}

/// Offered to the county: something of it is new there, and it is not refused as it stands.
const PENDING: &str = "SELECT s.*, p.context FROM study s JOIN person p ON p.study = s.uid
    WHERE s.safe_at IS NULL AND s.refused_generation < s.generation
      AND EXISTS (SELECT 1 FROM object o WHERE o.study = s.uid AND o.refused_code IS NULL)
      AND (s.receipted_generation < s.generation
        OR EXISTS (SELECT 1 FROM object o WHERE o.study = s.uid AND o.refused_code IS NULL
                     AND (o.receipted_at IS NULL OR o.receipted_in IS NOT (SELECT store FROM county))))
    ORDER BY s.class, s.first_object_at, s.uid LIMIT ?";

impl Spool {
    async fn pending(&self, limit: usize) -> Result<Vec<Manifest>, SpoolError> {
        let mut rows = sqlx::query(PENDING)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.0.reader)
            .await
            .map_err(db("list what waits for the county"))?;
        rows.extend(self.unconfirmed(limit.saturating_sub(rows.len())).await?);
        let uids: Vec<String> =
            rows.iter().filter_map(|row| Cells::of(row, "study", "uid").get("uid").ok()).collect();
        let mut objects = self.objects_of(&uids).await?;
        // One row that cannot be read holds up nobody else.
        let manifests = self.readable(rows.iter().map(|row| {
            let uid: String = Cells::of(row, "study", "uid").get("uid")?;
            manifest_of(row, objects.remove(&uid).unwrap_or_else(|| Ok(Vec::new())))
        }));
        Ok(self.without_films(manifests))
    }

    /// Objects that are not refused, by study, in one question: what waits is asked for after every receipt.
    async fn objects_of(
        &self,
        studies: &[String],
    ) -> Result<BTreeMap<String, Result<Vec<ManifestObject>, SpoolError>>, SpoolError> {
        let rows = sqlx::query(
            "SELECT * FROM object WHERE refused_code IS NULL AND study IN (SELECT value FROM json_each(?))
             ORDER BY study, stored_at, hash",
        )
        .bind(serde_json::json!(studies).to_string())
        .fetch_all(&self.0.reader)
        .await
        .map_err(db("list the objects of studies"))?;
        let mut objects = BTreeMap::new();
        for row in &rows {
            let study: String = Cells::of(row, "object", "study").get("study")?;
            let of_study = objects.entry(study).or_insert_with(|| Ok(Vec::new()));
            match (object_of(row), of_study.as_mut()) {
                (Ok(object), Ok(list)) => list.push(object),
                (Err(error), Ok(_)) => *of_study = Err(error),
                (_, Err(_)) => {}
            }
        }
        Ok(objects)
    }

    /// The manifest of one study as it stands now.
    ///
    /// # Errors
    /// [`SpoolError::NoStudy`], or of the database.
    pub async fn manifest(&self, study: &StudyUid) -> Result<Manifest, SpoolError> {
        let row = sqlx::query(
            "SELECT s.*, p.context FROM study s JOIN person p ON p.study = s.uid WHERE s.uid = ?",
        )
        .bind(study.as_str())
        .fetch_optional(&self.0.reader)
        .await
        .map_err(db("read a study"))?;
        let row = row.ok_or_else(|| SpoolError::NoStudy(study.to_string()))?;
        let mut objects = self.objects_of(&[study.to_string()]).await?;
        manifest_of(&row, objects.remove(study.as_str()).unwrap_or_else(|| Ok(Vec::new())))
    }

    /// The coded form; made again when its copy was lost, which the disk may do and we must not.
    async fn coded_file(&self, study: &StudyUid, object: &ObjectHash) -> Result<tokio::fs::File, SpoolError> {
        let opened = self.try_coded_file(study, object).await;
        if let Err(error) = &opened
            && held::is_loss(error)
        {
            self.set_unreadable(object, true).await?;
        }
        opened
    }

    async fn try_coded_file(
        &self,
        study: &StudyUid,
        object: &ObjectHash,
    ) -> Result<tokio::fs::File, SpoolError> {
        let row = sqlx::query("SELECT * FROM object WHERE hash = ?")
            .bind(object.0.as_slice())
            .fetch_optional(&self.0.reader)
            .await
            .map_err(db("look an object up"))?
            .ok_or_else(|| SpoolError::NoStudy(study.to_string()))?;
        let entry = object_of(&row)?;
        let path = self.0.blobs.path_of(&entry.coded.hash);
        let at = |step| {
            let path = path.clone();
            move |source| SpoolError::File { step, path, source }
        };
        let length = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |m| m.len());
        if entry.coded.encoding != Encoding::Identity && length(&path) != entry.coded.length {
            let (blobs, coded) = (self.0.blobs.clone(), entry.coded.hash);
            blocking(move || blobs.remove(&coded)).await??;
            if !self.recode(study, &entry).await? {
                let words = "it is offered again in another form";
                return Err(at("code")(std::io::Error::new(std::io::ErrorKind::Interrupted, words)));
            }
        }
        let file = tokio::fs::File::open(&path).await.map_err(at("open"))?;
        let found = file.metadata().await.map_err(at("stat"))?.len();
        if found < entry.coded.length {
            let words = format!("{found} bytes, {} are expected", entry.coded.length);
            return Err(at("read")(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, words)));
        }
        Ok(file)
    }

    async fn record_receipt(
        &self,
        study: &StudyUid,
        generation: u64,
        objects: &[ObjectHash],
        at: UtcMs,
    ) -> Result<(), SpoolError> {
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
        for hash in objects {
            sqlx::query(
                "UPDATE object SET receipted_at = COALESCE(receipted_at, ?), receipted_in = (SELECT store FROM county),
                     refused_code = NULL, refused_field = NULL, refused_reason = NULL WHERE hash = ? AND study = ?",
            )
            .bind(at.0)
            .bind(hash.0.as_slice())
            .bind(study.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db("record a receipt"))?;
        }
        sqlx::query("UPDATE study SET receipted_generation = MAX(receipted_generation, MIN(?, generation)) WHERE uid = ?")
            .bind(i64::try_from(generation).unwrap_or(i64::MAX))
            .bind(study.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db("record a receipt"))?;
        settle(&mut tx, study, at).await?;
        tx.commit().await.map_err(db("commit"))?;
        self.count_unreceipted().await?;
        self.touch();
        Ok(())
    }

    async fn record_refusal(
        &self,
        study: &StudyUid,
        object: Option<&ObjectHash>,
        generation: u64,
        refusal: &Refusal,
    ) -> Result<(), SpoolError> {
        tracing::warn!(%study, object = ?object, code = refusal.code.name(), field = %refusal.field,
            reason = %refusal.reason, "refused by the county");
        if refusal.code.fault() != Fault::Sender {
            return Ok(());
        }
        if let (Some(hash), Code::RefusedDigest | Code::RefusedEncoding) = (object, refusal.code)
            && self.digest_was_not_ours(study, hash).await?
        {
            // The county forgets a refusal of these bytes only for a newer manifest.
            sqlx::query("UPDATE study SET generation = generation + 1 WHERE uid = ?")
                .bind(study.as_str())
                .execute(&self.0.writer)
                .await
                .map_err(db("offer a study again"))?;
            self.touch();
            return Ok(());
        }
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
        if let Some(hash) = object {
            sqlx::query(
                "UPDATE object SET refused_code = ?, refused_field = ?, refused_reason = ?
                 WHERE hash = ? AND study = ? AND receipted_at IS NULL",
            )
            .bind(refusal.code.number())
            .bind(&refusal.field)
            .bind(&refusal.reason)
            .bind(hash.0.as_slice())
            .bind(study.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db("record a refusal"))?;
            settle(&mut tx, study, self.now()).await?;
        } else {
            sqlx::query(
                "UPDATE study SET refused_generation = MAX(refused_generation, MIN(?, generation)), refused_code = ?,
                    refused_field = ?, refused_reason = ? WHERE uid = ?",
            )
            .bind(i64::try_from(generation).unwrap_or(i64::MAX))
            .bind(refusal.code.number())
            .bind(&refusal.field)
            .bind(&refusal.reason)
            .bind(study.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db("record a refusal"))?;
        }
        tx.commit().await.map_err(db("commit"))?;
        self.count_unreceipted().await?;
        self.touch();
        Ok(())
    }

    /// True when our bytes are right and the transfer is to be tried again.
    async fn digest_was_not_ours(&self, study: &StudyUid, hash: &ObjectHash) -> Result<bool, SpoolError> {
        let (blobs, plain) = (self.0.blobs.clone(), *hash);
        if blocking(move || blobs.verify(&plain)).await?.is_err() {
            self.set_unreadable(hash, true).await?;
            return Ok(false);
        }
        let tries: i64 = sqlx::query_scalar(
            "UPDATE object SET digest_refusals = digest_refusals + 1 WHERE hash = ? RETURNING digest_refusals",
        )
        .bind(hash.0.as_slice())
        .fetch_optional(&self.0.writer)
        .await
        .map_err(db("count digest refusals"))?
        .unwrap_or(MAX_DIGEST_REFUSALS);
        if tries >= MAX_DIGEST_REFUSALS {
            return Ok(false);
        }
        if self.plainly(study, hash).await? {
            return Ok(true);
        }
        let coded: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT coded_hash FROM object WHERE hash = ? AND coded_kept = 1")
                .bind(hash.0.as_slice())
                .fetch_optional(&self.0.reader)
                .await
                .map_err(db("look an object up"))?;
        if let Some(coded) = coded.as_deref().and_then(ObjectHash::from_slice) {
            // A damaged coded form is made again when it is opened next.
            let blobs = self.0.blobs.clone();
            blocking(move || if blobs.verify(&coded).is_err() { blobs.remove(&coded) } else { Ok(()) })
                .await??;
        }
        Ok(true)
    }
}

/// Marks a study as safe at the county when nothing of it waits any more.
async fn settle(tx: &mut sqlx::SqliteConnection, study: &StudyUid, at: UtcMs) -> Result<(), SpoolError> {
    sqlx::query(
        "UPDATE study SET safe_at = COALESCE(safe_at, ?), confirmed_in = (SELECT store FROM county)
         WHERE uid = ? AND receipted_generation >= generation
           AND EXISTS (SELECT 1 FROM object o WHERE o.study = uid AND o.receipted_at IS NOT NULL)
           AND NOT EXISTS (SELECT 1 FROM object o WHERE o.study = uid AND o.refused_code IS NULL
                            AND (o.receipted_at IS NULL OR o.receipted_in IS NOT (SELECT store FROM county)))",
    )
    .bind(at.0)
    .bind(study.as_str())
    .execute(tx)
    .await
    .map_err(db("settle a study"))?;
    Ok(())
}

fn manifest_of(
    row: &SqliteRow,
    objects: Result<Vec<ManifestObject>, SpoolError>,
) -> Result<Manifest, SpoolError> {
    let cells = Cells::of(row, "study", "uid");
    Ok(Manifest {
        study: cells.study("uid")?,
        generation: cells.count("generation")?,
        class: cells.read("class", Class::from_number)?,
        kind: cells.read("kind", Kind::from_number)?,
        completeness: cells.read("completeness", Completeness::from_number)?,
        first_object_at: cells.time("first_object_at")?,
        exam_completed_at: cells.maybe_time("exam_completed_at")?,
        time_suspect: cells.flag("time_suspect")?,
        source: cells.get("source")?,
        context: view::context(&cells)?,
        objects: objects?,
    })
}

pub(super) fn object_of(row: &SqliteRow) -> Result<ManifestObject, SpoolError> {
    let cells = Cells::of(row, "object", "study");
    Ok(ManifestObject {
        hash: cells.hash("hash")?,
        length: cells.count("length")?,
        kind: cells.read("kind", ObjectKind::from_number)?,
        instance: cells
            .read("instance", |uid: Option<String>| uid.map(|t| InstanceUid::parse(&t)).transpose().ok())?,
        series: cells
            .read("series", |uid: Option<String>| uid.map(|t| SeriesUid::parse(&t)).transpose().ok())?,
        coded: CodedForm {
            encoding: cells.read("encoding", Encoding::from_number)?,
            length: cells.count("coded_length")?,
            hash: cells.hash("coded_hash")?,
        },
    })
}
