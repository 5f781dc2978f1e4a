//! What a named person does with what came: opens, reads back, records the action, has seen. Each is a row and a note,
//! signed by the device, in one transaction.

use super::judge::{Facts, changed_zh, missing_zh};
use super::{Inbox, read_limited};
use crate::spool::{PinError, ReportRow, SpoolError, blocking};
use crate::trust::Invalid;
use rand::RngCore as _;
use relay_certs::signing::{NoteError, VerifiedReport};
use relay_core::clock::UtcMs;
use relay_core::durable::BlobError;
use relay_core::ids::{LetterId, NoteId, ObjectHash, ReportId, StudyUid};
use relay_core::letter::{Note, NoteBody, NoteKind, PURPOSE_NOTE};
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
    #[error("DO NOT USE this report: {file}: {invalid}; ask the county to send it again")]
    Invalid {
        /// The file on this disk.
        file: PathBuf,
        /// Which part, and what differs.
        invalid: Invalid,
    },
    /// The file is a valid report, but not the one that this row stands for: other bytes than were received, or
    /// another study, report, version or kind.
    #[error(
        "DO NOT USE this report: {file}: its {what} is not the one that was received; ask the county to send it again"
    )]
    Changed {
        /// The file on this disk.
        file: PathBuf,
        /// What differs: `content`, `study`, `report id`, `version` or `kind`.
        what: &'static str,
    },
    /// The report's file is gone from this disk, or cannot be read.
    #[error("DO NOT USE this report: {source}; ask the county to send it again, and look at the disk")]
    Missing {
        /// Which file, and why.
        source: BlobError,
    },
    /// Done before, or not possible yet.
    #[error(transparent)]
    State(#[from] Done),
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
            Self::NotFound { what, id } => {
                let (noun, command) = match *what {
                    "report" => ("报告", "reports"),
                    "critical notice" => ("危急值通知", "critical list"),
                    _ => ("退回通知", "status"),
                };
                format!("本机没有编号为 {id} 的{noun}，可用 relay-agent {command} 查看本机已有的编号")
            }
            Self::Invalid { invalid, .. } => format!("{}。请联系县级重新发送", invalid.zh()),
            Self::Changed { what, .. } => changed_zh(what),
            Self::Missing { .. } => missing_zh(),
            Self::State(state) => state.zh().to_owned(),
            Self::Text => format!("请填写内容（1至{MAX_TEXT_CHARS}字）"),
            Self::Note(error) => error.zh().to_owned(),
            Self::Spool(error) if error.is_full() => "本机磁盘已满，请联系管理员清理后再试".to_owned(),
            Self::Spool(_) => "本机存储故障，请联系管理员（relay-agent doctor）".to_owned(),
        }
    }
}

/// Why an act is not possible as things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Done {
    /// Somebody has read the notice back already.
    #[error("this notice was read back before: record the action next")]
    ReadBack,
    /// The action is recorded already.
    #[error("the action on this notice was recorded before: nothing is left to do")]
    Action,
    /// The action comes after the read-back.
    #[error("this notice has not been read back yet: read it back first, then record the action")]
    NotReadBack,
    /// Somebody has seen the request already.
    #[error("this retake request was seen before: nothing is left to do")]
    Seen,
}

impl Done {
    /// The same in Chinese.
    #[must_use]
    pub const fn zh(self) -> &'static str {
        match self {
            Self::ReadBack => "此危急值已复述，下一步请记录处置",
            Self::Action => "此危急值的处置已记录，无需再次操作",
            Self::NotReadBack => "此危急值尚未复述，请先复述，再记录处置",
            Self::Seen => "此退回通知已有人查看，无需再次操作",
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
        self.hold_withdrawals().await?;
        let row = self.spool.report(id).await?;
        let row = row.ok_or_else(|| ActError::NotFound { what: "report", id: id.to_owned() })?;
        let file = self.spool.blobs().path_of(&row.package);
        let (path, device, now) = (file.clone(), Arc::clone(&self.device), self.spool.now());
        let read = blocking(move || {
            let bytes = read_limited(&path)?;
            let hash = ObjectHash::of(&bytes);
            Ok::<_, BlobError>((device.verify(&bytes, now), hash))
        });
        let fault = match read.await? {
            Ok((Ok(verified), hash)) => {
                let facts = Facts::of(&verified);
                let content = (hash != row.package).then_some("content");
                match content.or_else(|| facts.differs(&row)) {
                    None => return self.opened(row, &facts, &verified, person, now).await,
                    Some(what) => ActError::Changed { file, what },
                }
            }
            Ok((Err(invalid), _)) => ActError::Invalid { file, invalid },
            Err(source) => ActError::Missing { source },
        };
        tracing::error!(report = %row.report_id, version = row.version, fault = %fault, "a stored report does not verify");
        self.spool.record_fault(&row.letter, Some(&fault.zh())).await?;
        Err(fault)
    }

    /// Notes that a version, verified just now, is opened; what is shown of it is what was signed.
    async fn opened(
        &self,
        mut row: ReportRow,
        facts: &Facts,
        verified: &VerifiedReport,
        person: &str,
        now: UtcMs,
    ) -> Result<Opened, ActError> {
        if facts.correct(&mut row) {
            self.spool.correct_report(&row.letter, facts.says()).await?;
        }
        let report = Some((row.report_id.clone(), row.version));
        let note = self.note(NoteKind::ReportOpened, &row.study, &row.letter, report, person, None)?;
        self.spool.record_opened(&row.letter, person, &note, now).await?;
        row.opened_at.get_or_insert(now);
        row.opened_by.get_or_insert_with(|| person.to_owned());
        (row.fault, row.checked) = (None, true);
        let (mut sentence_zh, mut sentence_en) = verified.sentence();
        if let Some(void) = &row.voided {
            // The signature is what it is; that the report is withdrawn stands before it.
            sentence_zh = format!("{}。{sentence_zh}", void.zh());
            sentence_en = format!("{}; {sentence_en}", void.en());
        }
        Ok(Opened { pdf: verified.pdf().to_vec(), row, sentence_zh, sentence_en })
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
        let row = self.spool.critical(id).await?;
        let row = row.ok_or_else(|| ActError::NotFound { what: "critical notice", id: id.to_owned() })?;
        let kind = if action { NoteKind::CriticalAction } else { NoteKind::CriticalReadBack };
        let note = self.note(kind, &row.study, &row.letter, None, person, Some(text))?;
        let now = self.spool.now();
        if self.spool.record_critical(&row.letter, person, action, &note, now).await? {
            return Ok(());
        }
        // As it stands now: another person may have acted since the row was read.
        let now = self.spool.critical(id).await?.unwrap_or(row);
        Err(ActError::State(match (action, now.read_back_at, now.action_at) {
            (false, ..) => Done::ReadBack,
            (true, None, _) => Done::NotReadBack,
            (true, Some(_), _) => Done::Action,
        }))
    }

    /// A retake request was seen by a named person.
    ///
    /// # Errors
    /// [`ActError`].
    pub async fn retake_seen(&self, id: &str, person: &str, pin: &str) -> Result<(), ActError> {
        self.spool.check_pin(person, pin).await?;
        let row = self.spool.retake(id).await?;
        let row = row.ok_or_else(|| ActError::NotFound { what: "retake request", id: id.to_owned() })?;
        let note = self.note(NoteKind::RetakeSeen, &row.study, &row.letter, None, person, None)?;
        let now = self.spool.now();
        if self.spool.record_retake_seen(&row.letter, person, &note, now).await? {
            return Ok(());
        }
        Err(ActError::State(Done::Seen))
    }
}

fn checked(text: &str) -> Result<String, ActError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MAX_TEXT_CHARS {
        return Err(ActError::Text);
    }
    Ok(text.to_owned())
}
