//! A study's original files, byte for byte, with the proof.

use super::empty_dir;
use crate::store::{Columns, Store, StoreError};
use anyhow::Context as _;
use relay_core::durable::{RealDisk, write_atomic};
use relay_core::ids::{ClinicId, ObjectHash, Sha256, StudyUid};
use relay_core::study::ObjectKind;
use std::io::Read as _;
use std::path::Path;

/// One exported file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Exported {
    /// File name in the directory.
    pub file: String,
    /// Bytes.
    pub length: u64,
    /// BLAKE3, proved while copying.
    pub blake3: ObjectHash,
    /// SHA-256, proved while copying.
    pub sha256: Sha256,
    /// SOPInstanceUID or empty.
    pub instance_uid: String,
    /// False when a newer version of the same instance is current.
    pub current: bool,
}

/// An object that is not among the files, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Missing {
    /// BLAKE3 it should have.
    pub blake3: ObjectHash,
    /// SOPInstanceUID or empty.
    pub instance_uid: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What was exported; also written as `study.json` beside the files, last.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Export {
    /// Clinic.
    pub clinic: ClinicId,
    /// StudyInstanceUID.
    pub study: StudyUid,
    /// Files.
    pub files: Vec<Exported>,
    /// Objects of the study whose bytes are lost or damaged here.
    pub missing: Vec<Missing>,
}

struct Row {
    hash: ObjectHash,
    sha256: Sha256,
    length: u64,
    kind: ObjectKind,
    instance_uid: String,
    current: bool,
}

/// Copies every object of a study into an empty directory and proves both hashes of every file. A damaged object is named in
/// the answer, has no file, and keeps none of the others out.
///
/// # Errors
/// When the study is unknown, exists at several clinics and none is named, or the directory cannot be written.
pub async fn export_study(
    store: &Store,
    uid: &StudyUid,
    clinic: Option<&ClinicId>,
    to: &Path,
) -> anyhow::Result<Export> {
    let (clinic, rows) = find(store, uid, clinic).await?;
    empty_dir(to)?;
    let (mut files, mut missing) = (Vec::with_capacity(rows.len()), Vec::new());
    for (number, row) in rows.into_iter().enumerate() {
        let suffix = match row.kind {
            ObjectKind::Dicom => "dcm",
            ObjectKind::Ecg => "ecg",
            ObjectKind::Document => "bin",
        };
        let file = format!("{:04}-{}.{suffix}", number + 1, &row.hash.to_hex()[..16]);
        let (own, path) = (store.clone(), to.join(&file));
        let (row, damaged) =
            tokio::task::spawn_blocking(move || copy(&own, &row, &path).map(|damaged| (row, damaged)))
                .await??;
        if let Some(reason) = damaged {
            missing.push(Missing { blake3: row.hash, instance_uid: row.instance_uid, reason });
            continue;
        }
        let copied = row;
        files.push(Exported {
            file,
            length: copied.length,
            blake3: copied.hash,
            sha256: copied.sha256,
            instance_uid: copied.instance_uid,
            current: copied.current,
        });
    }
    let export = Export { clinic, study: uid.clone(), files, missing };
    let proof = serde_json::to_vec_pretty(&export)?;
    write_atomic(&RealDisk, &to.join("study.json"), &proof, 0o600).context("writing study.json")?;
    Ok(export)
}

async fn find(
    store: &Store,
    uid: &StudyUid,
    clinic: Option<&ClinicId>,
) -> anyhow::Result<(ClinicId, Vec<Row>)> {
    let mut tx = store.read().await?;
    let at: Vec<String> =
        sqlx::query_scalar("SELECT clinic FROM study WHERE uid = $1 AND ($2 IS NULL OR clinic = $2)")
            .bind(uid.as_str())
            .bind(clinic.map(ClinicId::as_str))
            .fetch_all(&mut *tx)
            .await?;
    let clinic = match &at[..] {
        [one] => ClinicId::parse(one)?,
        [] => anyhow::bail!("study {uid} is not here"),
        many => anyhow::bail!("study {uid} exists at {}: name the clinic", many.join(", ")),
    };
    let rows = sqlx::query(
        "SELECT o.hash, o.sha256, o.length, o.kind, o.instance_uid, o.current FROM object o JOIN study s ON s.id = o.study_id
         WHERE s.clinic = $1 AND s.uid = $2 ORDER BY o.id",
    )
    .bind(clinic.as_str())
    .bind(uid.as_str())
    .fetch_all(&mut *tx)
    .await?;
    let rows = rows
        .iter()
        .map(|row| {
            let c = Columns::of(row, "object", uid.as_str());
            Ok(Row {
                hash: c.hash("hash")?,
                sha256: c.sha256("sha256")?,
                length: c.unsigned("length")?,
                kind: c.parsed("kind")?,
                instance_uid: c.get("instance_uid")?,
                current: c.get("current")?,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok((clinic, rows))
}

/// Copies and hashes what was written, not what was meant to be written; the file has its name once it is proven. Gives what
/// is wrong with the stored bytes.
fn copy(store: &Store, row: &Row, to: &Path) -> anyhow::Result<Option<String>> {
    use relay_core::durable::Disk as _;
    use sha2::Digest as _;
    let mut from = match store.blobs().open_blob(&row.hash) {
        Ok(from) => from,
        Err(error) => return Ok(Some(format!("the stored bytes cannot be read: {error}"))),
    };
    let unproven = to.with_extension("part");
    let mut out =
        RealDisk.create(&unproven, 0o600).with_context(|| format!("creating {}", unproven.display()))?;
    let (mut blake, mut sha, mut at) = (blake3::Hasher::new(), sha2::Sha256::new(), 0_u64);
    let mut buffer = vec![0_u8; 256 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                RealDisk.remove(&unproven).with_context(|| format!("removing {}", unproven.display()))?;
                return Ok(Some(format!("the stored bytes cannot be read after {at}: {error}")));
            }
        };
        out.write_at(at, &buffer[..read]).with_context(|| format!("writing {}", to.display()))?;
        blake.update(&buffer[..read]);
        sha.update(&buffer[..read]);
        at += read as u64;
    }
    out.sync().with_context(|| format!("syncing {}", to.display()))?;
    let (hash, sha256) = (ObjectHash(*blake.finalize().as_bytes()), Sha256(sha.finalize().into()));
    if hash == row.hash && sha256 == row.sha256 && at == row.length {
        RealDisk.rename(&unproven, to).with_context(|| format!("naming {}", to.display()))?;
        return Ok(None);
    }
    RealDisk.remove(&unproven).with_context(|| format!("removing {}", unproven.display()))?;
    Ok(Some(format!("the stored bytes are damaged: BLAKE3 {hash}, {at} bytes of {}", row.length)))
}
