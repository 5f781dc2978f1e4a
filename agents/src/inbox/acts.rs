//! What a named person does with what came: opens, reads back, records the action, has seen. Each is a row and a note,
//! signed by the device, in one transaction.

use super::Inbox;
use crate::spool::{PinError, ReportRow, SpoolError, blocking};
use crate::trust::Invalid;
use rand::RngCore as _;
use relay_certs::signing::NoteError;
use relay_core::durable::BlobError;
use relay_core::ids::{LetterId, NoteId, ObjectHash, ReportId, StudyUid};
use relay_core::letter::{Note, NoteBody, NoteKind, PURPOSE_NOTE};
use relay_core::limits::MAX_LETTER_BYTES;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

/// Longest text that a person may write: a read-back is a sentence or two. In characters.
const MAX_TEXT_CHARS: usize = 1_000;

/// Why an act is not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActError {
    /// The person is not recognised.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Nothing of that id here.
    #[error("no {what} {id} here")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Under which id.
        id: String,
    },
    /// The report on this disk is not what was signed.
    #[error("DO NOT USE this report: {file}: {invalid}")]
    Invalid {
        /// The file on this disk.
        file: PathBuf,
        /// Which part, and what differs.
        invalid: Invalid,
    },
    /// The file differs from what was received, in a place that no signature covers.
    #[error("DO NOT USE this report: {file}: the file is not the one that was received")]
    Changed {
        /// The file on this disk.
        file: PathBuf,
    },
    /// Done before, or not possible yet.
    #[error("{0}")]
    State(&'static str),
    /// The text is empty or too long.
    #[error("text: 1 to {MAX_TEXT_CHARS} characters are wanted")]
    Text,
    /// The note cannot be signed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The store failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl ActError {
    /// What a Chinese user is told.
    #[must_use]
    pub fn zh(&self) -> String {
        match self {
            Self::Pin(error) => error.zh(),
            Self::NotFound { id, .. } => format!("本机没有 {id}"),
            Self::Invalid { invalid, .. } => invalid.zh(),
            Self::Changed { .. } => "签名无效，请勿使用：文件与接收时不一致".to_owned(),
            Self::State(_) => "已处理过，或尚未复述".to_owned(),
            Self::Text => "请填写内容".to_owned(),
            Self::Note(error) => error.zh().to_owned(),
            Self::Spool(_) => "本机存储故障".to_owned(),
        }
    }
}

/// A report that a person has opened: verified from disk just now.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Its row.
    pub row: ReportRow,
    /// `report.pdf`, as signed.
    pub pdf: Vec<u8>,
    /// Signature state in Chinese.
    pub sentence_zh: String,
    /// Signature state in English.
    pub sentence_en: String,
}

impl Inbox {
    fn note(
        &self,
        kind: NoteKind,
        study: &StudyUid,
        letter: &LetterId,
        report: Option<(ReportId, u32)>,
        person: &str,
        text: Option<String>,
    ) -> Result<Note, ActError> {
        let mut bytes = [0; 16];
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        let id = NoteId::parse(&format!("n-{}", hex::encode(bytes)))
            .expect("invariant: hexadecimal is a lawful id");
        let body = NoteBody {
            purpose: PURPOSE_NOTE.to_owned(),
            id,
            kind,
            clinic: self.device.clinic().clone(),
            study: study.clone(),
            letter: Some(letter.clone()),
            report,
            person: person.to_owned(),
            text,
            at: self.spool.now(),
        };
        Ok(self.device.sign_note(&body)?)
    }

    /// Opens a report version for a named person: verified again from disk, noted, then shown.
    ///
    /// # Errors
    /// [`ActError`]; a damaged file is named with the part that differs, and remembered.
    pub async fn open_report(&self, id: &str, person: &str, pin: &str) -> Result<Opened, ActError> {
        self.spool.check_pin(person, pin).await?;
        let row = self.spool.report(id).await?;
        let row = row.ok_or_else(|| ActError::NotFound { what: "report", id: id.to_owned() })?;
        let file = self.spool.blobs().path_of(&row.package);
        let (path, device, now) = (file.clone(), Arc::clone(&self.device), self.spool.now());
        let read = blocking(move || {
            let bytes = read_limited(&path)?;
            let hash = ObjectHash::of(&bytes);
            Ok::<_, BlobError>((device.verify(&bytes, now), hash))
        });
        let (verified, hash) = read.await?.map_err(SpoolError::from)?;
        let fault = match verified {
            Ok(verified) if hash == row.package => {
                let report = Some((row.report_id.clone(), row.version));
                let note =
                    self.note(NoteKind::ReportOpened, &row.study, &row.letter, report, person, None)?;
                self.spool.record_opened(&row.letter, person, &note, now).await?;
                let mut row = row;
                row.opened_at.get_or_insert(now);
                row.opened_by.get_or_insert_with(|| person.to_owned());
                row.fault = None;
                let (sentence_zh, sentence_en) = verified.sentence();
                return Ok(Opened { pdf: verified.pdf().to_vec(), row, sentence_zh, sentence_en });
            }
            Ok(_) => ActError::Changed { file },
            Err(invalid) => ActError::Invalid { file, invalid },
        };
        tracing::error!(report = %row.report_id, version = row.version, fault = %fault, "a stored report does not verify");
        self.spool.record_fault(&row.letter, &fault.zh()).await?;
        Err(fault)
    }

    /// A named medical person reads a critical notice back: it stops ringing.
    ///
    /// # Errors
    /// [`ActError`].
    pub async fn read_back(&self, id: &str, person: &str, pin: &str, text: &str) -> Result<(), ActError> {
        self.critical_act(id, person, pin, text, false).await
    }

    /// The treating doctor's action is recorded: the notice is closed.
    ///
    /// # Errors
    /// [`ActError`].
    pub async fn record_action(&self, id: &str, person: &str, pin: &str, text: &str) -> Result<(), ActError> {
        self.critical_act(id, person, pin, text, true).await
    }

    async fn critical_act(
        &self,
        id: &str,
        person: &str,
        pin: &str,
        text: &str,
        action: bool,
    ) -> Result<(), ActError> {
        self.spool.check_pin(person, pin).await?;
        let text = checked(text)?;
        let row = self.spool.criticals(true).await?.into_iter().find(|c| c.letter.as_str() == id);
        let row = row.ok_or_else(|| ActError::NotFound { what: "critical notice", id: id.to_owned() })?;
        let kind = if action { NoteKind::CriticalAction } else { NoteKind::CriticalReadBack };
        let note = self.note(kind, &row.study, &row.letter, None, person, Some(text))?;
        let now = self.spool.now();
        if self.spool.record_critical(&row.letter, person, action, &note, now).await? {
            return Ok(());
        }
        Err(ActError::State(if action {
            "recorded before, or not read back yet"
        } else {
            "read back before"
        }))
    }

    /// A retake request was seen by a named person.
    ///
    /// # Errors
    /// [`ActError`].
    pub async fn retake_seen(&self, id: &str, person: &str, pin: &str) -> Result<(), ActError> {
        self.spool.check_pin(person, pin).await?;
        let row = self.spool.retakes(true).await?.into_iter().find(|r| r.letter.as_str() == id);
        let row = row.ok_or_else(|| ActError::NotFound { what: "retake request", id: id.to_owned() })?;
        let note = self.note(NoteKind::RetakeSeen, &row.study, &row.letter, None, person, None)?;
        let now = self.spool.now();
        if self.spool.record_retake_seen(&row.letter, person, &note, now).await? {
            return Ok(());
        }
        Err(ActError::State("seen before"))
    }
}

fn checked(text: &str) -> Result<String, ActError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MAX_TEXT_CHARS {
        return Err(ActError::Text);
    }
    Ok(text.to_owned())
}

fn read_limited(path: &std::path::Path) -> Result<Vec<u8>, BlobError> {
    use std::io::Read as _;
    let disk = |source| BlobError::Disk { step: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|f| f.take(MAX_LETTER_BYTES + 1).read_to_end(&mut bytes))
        .map_err(disk)?;
    Ok(bytes)
}
