//! An object gets another coded form: its copy was lost, the county does not restore it, or does not know the coder.

use super::coded::{self, Coded, How, Plain};
use super::error::db;
use super::outbox::object_of;
use super::{Spool, SpoolError, blocking};
use crate::sniff;
use relay_core::ids::{ObjectHash, StudyUid};
use relay_core::study::{Encoding, Manifest, ManifestObject};
use sqlx::Row as _;
use std::sync::atomic::Ordering;

impl Spool {
    /// Makes a coded form that was lost again, the same way. False when it is another form than before.
    pub(super) async fn recode(&self, study: &StudyUid, entry: &ManifestObject) -> Result<bool, SpoolError> {
        let mode: i64 = sqlx::query_scalar("SELECT coded_mode FROM object WHERE hash = ?")
            .bind(entry.hash.0.as_slice())
            .fetch_one(&self.0.reader)
            .await
            .map_err(db("look an object up"))?;
        let path = self.0.blobs.path_of(&entry.hash);
        let how = match (entry.coded.encoding, coded::mode_of(mode)) {
            (Encoding::Film, Some(mode)) => {
                let layout = blocking(move || sniff::layout(&path)).await?;
                layout.map_or(How::Zstd, |layout| How::Film(layout, mode))
            }
            _ => How::Zstd,
        };
        let coded = self.code_again(entry, how).await?;
        if coded.form == entry.coded {
            sqlx::query("UPDATE object SET coded_kept = 1 WHERE hash = ?")
                .bind(entry.hash.0.as_slice())
                .execute(&self.0.writer)
                .await
                .map_err(db("record a coded form that was made again"))?;
            return Ok(true);
        }
        // Another coder version or a full disk: the study is offered again in the new form.
        self.replace_form(study, &entry.hash, &coded).await?;
        Ok(false)
    }

    async fn code_again(&self, entry: &ManifestObject, how: How) -> Result<Coded, SpoolError> {
        let name = format!("again-{}", self.0.next_partial.fetch_add(1, Ordering::SeqCst));
        let (blobs, plain) = (self.0.blobs.clone(), Plain { hash: entry.hash, length: entry.length });
        let _turn = self.0.coding.acquire().await.ok();
        Ok(blocking(move || coded::code(&blobs, plain, how, &name)).await??)
    }

    /// Records another form of an object, drops the old one, and has the study offered again.
    async fn replace_form(
        &self,
        study: &StudyUid,
        hash: &ObjectHash,
        coded: &Coded,
    ) -> Result<(), SpoolError> {
        let mut tx = self.0.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db("begin"))?;
        let before: Vec<u8> = sqlx::query("SELECT coded_hash FROM object WHERE hash = ?")
            .bind(hash.0.as_slice())
            .fetch_one(&mut *tx)
            .await
            .map_err(db("look an object up"))?
            .get("coded_hash");
        sqlx::query(
            "UPDATE object SET encoding = ?, coded_length = ?, coded_hash = ?, coded_kept = ?, coded_mode = ? WHERE hash = ?",
        )
        .bind(coded.form.encoding.number())
        .bind(i64::try_from(coded.form.length).unwrap_or(i64::MAX))
        .bind(coded.form.hash.0.as_slice())
        .bind(coded.is_kept())
        .bind(coded.mode_number())
        .bind(hash.0.as_slice())
        .execute(&mut *tx)
        .await
        .map_err(db("record a new coded form"))?;
        sqlx::query("UPDATE study SET generation = generation + 1, safe_at = NULL WHERE uid = ?")
            .bind(study.as_str())
            .execute(&mut *tx)
            .await
            .map_err(db("record a new coded form"))?;
        tx.commit().await.map_err(db("commit"))?;
        if let Some(before) = ObjectHash::from_slice(&before) {
            self.drop_orphan(&[before]).await;
        }
        self.count_unreceipted().await?;
        self.touch();
        Ok(())
    }

    /// The county could not restore a film, or found other bytes in it: the object travels as it is from now on. True when that was so.
    pub(super) async fn plainly(&self, study: &StudyUid, hash: &ObjectHash) -> Result<bool, SpoolError> {
        let row = sqlx::query("SELECT * FROM object WHERE hash = ?")
            .bind(hash.0.as_slice())
            .fetch_optional(&self.0.reader)
            .await
            .map_err(db("look an object up"))?;
        let Some(entry) = row.as_ref().map(object_of).transpose()? else { return Ok(false) };
        if entry.coded.encoding != Encoding::Film {
            return Ok(false);
        }
        tracing::warn!(%study, object = %hash, "the county cannot restore the coded film; it travels as it is");
        let plain = Plain { hash: *hash, length: entry.length };
        self.replace_form(study, hash, &Coded::identity(plain)).await?;
        Ok(true)
    }

    /// Leaves out what the county that answers could not read, and sees to it that it gets another form.
    pub(super) fn without_films(&self, manifests: Vec<Manifest>) -> Vec<Manifest> {
        if self.0.way.takes_film() {
            return manifests;
        }
        let is_film = |object: &ManifestObject| object.coded.encoding == Encoding::Film;
        let (films, others): (Vec<_>, Vec<_>) =
            manifests.into_iter().partition(|manifest| manifest.objects.iter().any(is_film));
        if !films.is_empty() && !self.0.recoding.swap(true, Ordering::SeqCst) {
            let spool = self.clone();
            tokio::spawn(async move {
                for manifest in films {
                    for object in manifest.objects.iter().filter(|object| is_film(object)) {
                        if let Err(error) = spool.unfilm(&manifest.study, object).await {
                            // The next list of what waits tries again.
                            tracing::error!(study = %manifest.study, error = %super::chain(&error),
                                "a film cannot be coded another way");
                        }
                    }
                }
                spool.0.recoding.store(false, Ordering::SeqCst);
                spool.touch();
            });
        }
        others
    }

    /// Another form for a county that restores no films. What another store has receipted is mostly there, and not coded anew.
    async fn unfilm(&self, study: &StudyUid, object: &ManifestObject) -> Result<(), SpoolError> {
        let waits: bool = sqlx::query_scalar("SELECT receipted_at IS NULL FROM object WHERE hash = ?")
            .bind(object.hash.0.as_slice())
            .fetch_one(&self.0.reader)
            .await
            .map_err(db("look an object up"))?;
        let coded = match waits && self.0.blobs.contains(&object.hash) {
            true => self.code_again(object, How::Zstd).await?,
            false => Coded::identity(Plain { hash: object.hash, length: object.length }),
        };
        self.replace_form(study, &object.hash, &coded).await
    }
}
