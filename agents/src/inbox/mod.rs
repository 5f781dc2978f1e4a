//! What comes from the county: verified, then stored, then receipted; opened by a named person only.

mod acts;
mod judge;

pub use acts::{ActError, Done, Opened};

use crate::courier::ports::{Inbox as InboxPort, LetterFate, PortError};
use crate::spool::{ReportInsert, Spool, SpoolError, blocking};
use crate::trust::Device;
use async_trait::async_trait;
use judge::Verdicts;
use rand::rngs::StdRng;
use relay_certs::signing::VerifiedReport;
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Fault, Refusal};
use relay_core::durable::BlobError;
use relay_core::ids::{LetterId, ObjectHash};
use relay_core::letter::{CriticalNotice, LetterHead, LetterKind, ReportVoid, RetakeRequest, StudyStatus};
use relay_core::limits::MAX_LETTER_BYTES;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// The clinic's inbox.
#[derive(Debug)]
pub struct Inbox {
    spool: Spool,
    device: Arc<Device>,
    /// For the ids of notes.
    rng: Mutex<StdRng>,
    /// What stored reports were found to be. Held while they are judged.
    verdicts: tokio::sync::Mutex<Verdicts>,
    /// The page of reports that the background judges next.
    scrubbed: AtomicU64,
}

impl Inbox {
    /// An inbox over the spool, verifying for this device's clinic.
    #[must_use]
    pub const fn new(spool: Spool, device: Arc<Device>, rng: StdRng) -> Self {
        let verdicts = tokio::sync::Mutex::const_new(Verdicts::new());
        Self { spool, device, rng: Mutex::new(rng), verdicts, scrubbed: AtomicU64::new(0) }
    }

    /// The spool behind it.
    #[must_use]
    pub const fn spool(&self) -> &Spool {
        &self.spool
    }

    async fn take(&self, head: &LetterHead, body: Vec<u8>, now: UtcMs) -> Result<LetterFate, SpoolError> {
        if body.len() as u64 != head.length
            || head.length > MAX_LETTER_BYTES
            || ObjectHash::of(&body) != head.hash
        {
            let refusal =
                Refusal::new(Code::RefusedDigest, "body", "length or hash differ from the announcement");
            return Ok(LetterFate::Later(refusal));
        }
        if let Some(row) = self.spool.letter(&head.id).await?
            && row.hash == head.hash
            && !row.quarantined
        {
            return Ok(LetterFate::Stored { at: row.stored_at });
        }
        // The bytes first: valid or not, they are kept.
        let (body, body_is_kept) = (Arc::new(body), head.kind != LetterKind::StudyStatus);
        if body_is_kept {
            let (blobs, bytes) = (self.spool.blobs().clone(), Arc::clone(&body));
            blocking(move || blobs.put(&bytes)).await??;
        }
        let judged = match head.kind {
            LetterKind::Report => self.report(head, &body, now).await?,
            LetterKind::CriticalNotice => self.critical(head, &body, now).await?,
            LetterKind::RetakeRequest => match serde_json::from_slice::<RetakeRequest>(&body) {
                Ok(request) => Ok(self.spool.store_retake(head, &request, &body, now).await?),
                Err(error) => Err(unreadable("retake request", &error)),
            },
            LetterKind::ReportVoid => self.void(head, &body, now).await?,
            LetterKind::StudyStatus => match serde_json::from_slice::<StudyStatus>(&body) {
                Ok(status) => Ok(self.spool.store_status(head, &status, now).await?),
                Err(error) => Err(unreadable("study status", &error)),
            },
            LetterKind::TreatmentPlan => match self.device.verify_plan(&body, now) {
                Ok(_) => Ok(self.spool.store_other(head, now).await?),
                Err(invalid) => Err(invalid.refusal()),
            },
        };
        match judged {
            Ok(()) => {
                tracing::info!(letter = %head.id, kind = head.kind.word(), study = %head.study, "letter stored");
                Ok(LetterFate::Stored { at: now })
            }
            Err(refusal) if refusal.code.fault() == Fault::Receiver => {
                tracing::warn!(letter = %head.id, kind = head.kind.word(), %refusal, "letter put off");
                Ok(LetterFate::Later(refusal))
            }
            Err(refusal) => {
                tracing::error!(letter = %head.id, kind = head.kind.word(), study = %head.study,
                    code = refusal.code.name(), field = %refusal.field, reason = %refusal.reason, "letter quarantined");
                self.spool.quarantine_letter(head, &refusal, now).await?;
                Ok(LetterFate::Refused(refusal))
            }
        }
    }

    async fn report(
        &self,
        head: &LetterHead,
        body: &Arc<Vec<u8>>,
        now: UtcMs,
    ) -> Result<Result<(), Refusal>, SpoolError> {
        let (device, bytes) = (Arc::clone(&self.device), Arc::clone(body));
        let verified = match blocking(move || device.verify(&bytes, now)).await? {
            Ok(verified) => verified,
            Err(invalid) => return Ok(Err(invalid.refusal())),
        };
        if *verified.study_uid() != head.study {
            let reason =
                format!("the envelope names study {}, signed is {}", head.study, verified.study_uid());
            return Ok(Err(Refusal::new(Code::ReportInvalid, "study", reason)));
        }
        let insert = insert_of(&verified);
        if self.spool.store_report(head, &insert, now).await? {
            return Ok(Ok(()));
        }
        let reason =
            format!("version {} of report {} is here with other content", insert.version, insert.report_id);
        Ok(Err(Refusal::new(Code::ReportInvalid, "version", reason)))
    }

    async fn critical(
        &self,
        head: &LetterHead,
        body: &[u8],
        now: UtcMs,
    ) -> Result<Result<(), Refusal>, SpoolError> {
        let notice: CriticalNotice = match serde_json::from_slice(body) {
            Ok(notice) => notice,
            Err(error) => return Ok(Err(unreadable("critical notice", &error))),
        };
        if notice.clinic != *self.device.clinic() {
            let reason = format!("addressed to {}, this is {}", notice.clinic, self.device.clinic());
            return Ok(Err(Refusal::new(Code::WrongClinic, "clinic", reason)));
        }
        self.spool.store_critical(head, &notice, body, now).await?;
        Ok(Ok(()))
    }

    async fn void(
        &self,
        head: &LetterHead,
        body: &[u8],
        now: UtcMs,
    ) -> Result<Result<(), Refusal>, SpoolError> {
        let void: ReportVoid = match serde_json::from_slice(body) {
            Ok(void) => void,
            Err(error) => return Ok(Err(unreadable("withdrawal", &error))),
        };
        if void.clinic != *self.device.clinic() {
            let reason = format!("addressed to {}, this is {}", void.clinic, self.device.clinic());
            return Ok(Err(Refusal::new(Code::WrongClinic, "clinic", reason)));
        }
        tracing::warn!(report = %void.report, through = void.through_version, "the county withdrew a report");
        self.spool.store_void(head, &void, now).await?;
        Ok(Ok(()))
    }
}

fn unreadable(what: &str, error: &serde_json::Error) -> Refusal {
    // serde's message names the place, not the content.
    Refusal::new(Code::FrameMalformed, what, format!("line {}, column {}", error.line(), error.column()))
}

fn insert_of(verified: &VerifiedReport) -> ReportInsert {
    ReportInsert {
        report_id: verified.report_id().clone(),
        version: verified.version(),
        paper_version: verified.paper_version(),
        kind: verified.kind(),
        author: verified.author().doctor.name.clone(),
        reviewer: verified.reviewer().map(|r| r.doctor.name.clone()),
        signed_at: verified.author().signed_at,
        reviewed_at: verified.reviewer().map(|r| r.signed_at),
        demo: verified.is_demo(),
        revision: verified
            .review_manifest()
            .map_or(verified.author_manifest().study_revision, |reviewed| reviewed.study_revision),
    }
}

/// The bytes of a stored letter, no more than one may have.
fn read_limited(path: &Path) -> Result<Vec<u8>, BlobError> {
    use std::io::Read as _;
    let disk = |source| BlobError::Disk { step: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|f| f.take(MAX_LETTER_BYTES + 1).read_to_end(&mut bytes))
        .map_err(disk)?;
    Ok(bytes)
}

fn port(source: SpoolError) -> PortError {
    PortError { step: "store a letter", source: anyhow::Error::new(source) }
}

#[async_trait]
impl InboxPort for Inbox {
    async fn has(&self, id: &LetterId, hash: &ObjectHash) -> Result<Option<UtcMs>, PortError> {
        let letter = self.spool.letter(id).await.map_err(port)?;
        Ok(letter.filter(|l| l.hash == *hash && !l.quarantined).map(|l| l.stored_at))
    }

    async fn revocations(&self, list: Vec<u8>) -> Result<bool, Refusal> {
        let device = Arc::clone(&self.device);
        let taken = blocking(move || device.take_crl(&list)).await;
        let taken = taken.map_err(|error| Refusal::new(Code::StorageFailed, "inbox", error.to_string()))?;
        let newer = taken.map_err(|reason| Refusal::new(Code::FieldInvalid, "revocation list", reason))?;
        if newer {
            tracing::warn!(
                number = self.device.revocations().map(|of| of.number),
                "a newer revocation list is in force"
            );
            // Every stored report is judged anew when it is listed next.
            self.spool.touch();
        }
        Ok(newer)
    }

    async fn accept(&self, head: &LetterHead, body: Vec<u8>, now: UtcMs) -> Result<LetterFate, PortError> {
        self.take(head, body, now).await.map_err(port)
    }
}

#[cfg(test)]
mod tests;
