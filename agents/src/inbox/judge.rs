//! What lists say of stored reports: a version counts as valid there when its package was verified from this disk as it lies
//! there now, under the revocation list in force. What was found is remembered by file and list, so that a page asked for
//! every second costs one look at each file. Withdrawals are held against the letters that brought them.

use super::{Inbox, insert_of, read_limited};
use crate::spool::{ReportInsert, ReportPage, ReportRow, SpoolError, StudyPage, StudyView, blocking};
use crate::trust::{Device, Invalid};
use relay_certs::signing::{VerifiedReport, VerifyReportError};
use relay_core::clock::UtcMs;
use relay_core::ids::{LetterId, ObjectHash, StudyUid};
use relay_core::letter::{LetterHead, LetterKind, ReportVoid};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Versions verified for one list: each is a read and some signatures. The others stand as not yet checked until a later
/// list or the background comes to them.
const MAX_VERIFIED: usize = 64;
/// Verdicts and withdrawals in memory: a clinic has a few thousand reports a year. Beyond it all are found anew.
const MAX_REMEMBERED: usize = 20_000;

/// How a package looked when it was judged, and under which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    package: ObjectHash,
    length: u64,
    modified_s: i64,
    modified_ns: i64,
    changed_s: i64,
    changed_ns: i64,
    inode: u64,
    /// Number of the revocation list.
    list: Option<u64>,
}

/// What the signed package says.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    study: StudyUid,
    says: ReportInsert,
}

/// What was found of a package; a fault is said in Chinese.
type Verdict = Result<Arc<Facts>, String>;

/// What was found before.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    reports: BTreeMap<LetterId, (Seen, Verdict)>,
    voids: BTreeMap<ObjectHash, ReportVoid>,
}

impl Verdicts {
    pub(super) const fn new() -> Self {
        Self { reports: BTreeMap::new(), voids: BTreeMap::new() }
    }
}

impl Facts {
    pub(super) fn of(verified: &VerifiedReport) -> Self {
        Self { study: verified.study_uid().clone(), says: insert_of(verified) }
    }

    /// Which report the row stands for, where it is not this one; the row may be damaged, the report is what was signed.
    pub(super) fn differs(&self, row: &ReportRow) -> Option<&'static str> {
        if self.study != row.study {
            return Some("study");
        }
        if self.says.report_id != row.report_id {
            return Some("report id");
        }
        if self.says.version != row.version {
            return Some("version");
        }
        (self.says.kind != row.kind).then_some("kind")
    }

    /// The row with the names, times and numbers that were signed; false when it had them all.
    pub(super) fn correct(&self, row: &mut ReportRow) -> bool {
        let says = &self.says;
        let same = row.author == says.author
            && row.reviewer == says.reviewer
            && row.signed_at == says.signed_at
            && row.reviewed_at == says.reviewed_at
            && row.paper_version == says.paper_version
            && row.demo == says.demo;
        (row.author, row.reviewer) = (says.author.clone(), says.reviewer.clone());
        (row.signed_at, row.reviewed_at) = (says.signed_at, says.reviewed_at);
        (row.paper_version, row.demo) = (says.paper_version, says.demo);
        !same
    }

    pub(super) const fn says(&self) -> &ReportInsert {
        &self.says
    }
}

/// What a Chinese user is told of a package that is not what was signed.
pub(super) fn changed_zh(what: &str) -> String {
    let part = match what {
        "study" => "所属检查",
        "report id" => "报告编号",
        "version" => "版本",
        "kind" => "报告类型",
        _ => "文件内容",
    };
    format!("请勿使用此报告：{part}与接收时的登记不一致。请联系县级重新发送")
}

/// The same of a package that is not there.
pub(super) fn missing_zh() -> String {
    "请勿使用此报告：报告文件在本机磁盘上丢失或无法读取。请联系县级重新发送，并检查磁盘".to_owned()
}

impl Inbox {
    /// A page of report versions, from 0, each judged as its package lies on this disk now.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn reports(&self, page: u64) -> Result<ReportPage, SpoolError> {
        self.hold_withdrawals().await?;
        let listed = self.spool.reports(page).await?;
        if self.judge(&listed.reports, MAX_VERIFIED).await? {
            self.spool.reports(page).await
        } else {
            Ok(listed)
        }
    }

    /// A page of studies, from 0; what is said of their reports is judged as for [`Self::reports`].
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn studies(&self, page: u64) -> Result<StudyPage, SpoolError> {
        self.hold_withdrawals().await?;
        let listed = self.spool.studies(page).await?;
        let studies: Vec<StudyUid> = listed.studies.iter().map(|study| study.uid.clone()).collect();
        let reports = self.spool.reports_of(&studies).await?;
        if self.judge(&reports, MAX_VERIFIED).await? { self.spool.studies(page).await } else { Ok(listed) }
    }

    /// One study, however old.
    ///
    /// # Errors
    /// [`SpoolError::NoStudy`], or of the database.
    pub async fn study(&self, study: &StudyUid) -> Result<StudyView, SpoolError> {
        self.hold_withdrawals().await?;
        let reports = self.spool.reports_of(std::slice::from_ref(study)).await?;
        self.judge(&reports, MAX_VERIFIED).await?;
        self.spool.study(study).await
    }

    /// Judges every version; for a command that is asked once.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn judge_all(&self) -> Result<(), SpoolError> {
        let mut page = 0;
        self.hold_withdrawals().await?;
        self.restore_rows().await?;
        loop {
            let listed = self.spool.reports(page).await?;
            self.judge(&listed.reports, usize::MAX).await?;
            page += 1;
            if page >= listed.pages {
                return Ok(());
            }
        }
    }

    /// Background work: the next page of versions is judged, rows that the letters here prove missing are put back.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn scrub(&self) -> Result<(), SpoolError> {
        self.hold_withdrawals().await?;
        self.restore_rows().await?;
        let page = self.scrubbed.load(Ordering::Relaxed);
        let listed = self.spool.reports(page).await?;
        self.judge(&listed.reports, MAX_VERIFIED).await?;
        let next = if page + 1 >= listed.pages { 0 } else { page + 1 };
        self.scrubbed.store(next, Ordering::Relaxed);
        Ok(())
    }

    /// Judges these rows, at most `budget` of them from the disk; true when something else is to be said of one now.
    pub(super) async fn judge(&self, rows: &[ReportRow], mut budget: usize) -> Result<bool, SpoolError> {
        if rows.is_empty() {
            return Ok(false);
        }
        let mut known = self.verdicts.lock().await;
        let paths: Vec<PathBuf> = rows.iter().map(|row| self.spool.blobs().path_of(&row.package)).collect();
        let list = self.list_number();
        let packages: Vec<ObjectHash> = rows.iter().map(|row| row.package).collect();
        let seen = blocking(move || {
            let looks = paths.iter().zip(packages).map(|(path, package)| look(path, package, list));
            looks.collect::<Vec<_>>()
        });
        let mut changed = false;
        for (row, seen) in rows.iter().zip(seen.await?) {
            let before = known.reports.get(&row.letter).filter(|(before, _)| seen.as_ref() == Some(before));
            let verdict = match (before, seen) {
                (Some((_, verdict)), _) => Some(verdict.clone()),
                (None, None) => Some(Err(missing_zh())),
                (None, Some(_)) if budget == 0 => None,
                (None, Some(seen)) => {
                    budget -= 1;
                    Some(self.verify(&mut known, row, seen).await?)
                }
            };
            changed |= self.spool.set_checked(&row.letter, verdict.is_some());
            if let Some(verdict) = verdict {
                changed |= self.settle(row, &verdict).await?;
            }
        }
        Ok(changed)
    }

    fn list_number(&self) -> Option<u64> {
        self.device.revocations().map(|list| list.number)
    }

    async fn verify(&self, known: &mut Verdicts, row: &ReportRow, seen: Seen) -> Result<Verdict, SpoolError> {
        let (path, device, now) =
            (self.spool.blobs().path_of(&row.package), Arc::clone(&self.device), self.spool.now());
        let package = row.package;
        let (verdict, lasts) = blocking(move || verdict_of(&path, &package, &device, now)).await?;
        if lasts {
            if known.reports.len() >= MAX_REMEMBERED {
                known.reports.clear();
            }
            // The package may have brought a newer list.
            let seen = Seen { list: self.list_number(), ..seen };
            known.reports.insert(row.letter.clone(), (seen, verdict.clone()));
        }
        Ok(verdict)
    }

    /// Has the row say what was found; true when it said something else.
    async fn settle(&self, row: &ReportRow, verdict: &Verdict) -> Result<bool, SpoolError> {
        let fault = match verdict {
            Ok(facts) => facts.differs(row).map(changed_zh),
            Err(fault) => Some(fault.clone()),
        };
        let mut changed = false;
        if fault != row.fault {
            match &fault {
                Some(fault) => {
                    tracing::error!(letter = %row.letter, report = %row.report_id, version = row.version, fault, "a stored report does not verify");
                }
                None => {
                    tracing::info!(letter = %row.letter, report = %row.report_id, version = row.version, "a stored report verifies again");
                }
            }
            self.spool.record_fault(&row.letter, fault.as_deref()).await?;
            changed = true;
        }
        if let (Ok(facts), None) = (verdict, &fault)
            && facts.correct(&mut row.clone())
        {
            tracing::error!(letter = %row.letter, report = %row.report_id, "a report's row said what was not signed; it is put right");
            self.spool.correct_report(&row.letter, facts.says()).await?;
            changed = true;
        }
        Ok(changed)
    }

    /// A withdrawal whose row is gone or changed is put back from its letter: a withdrawn report never comes to life again.
    pub(super) async fn hold_withdrawals(&self) -> Result<(), SpoolError> {
        let letters = self.spool.letters_of(LetterKind::ReportVoid, false).await?;
        if letters.is_empty() {
            return Ok(());
        }
        let mut known = self.verdicts.lock().await;
        let rows = self.spool.voids().await?;
        let mut bodies: Vec<(LetterHead, ReportVoid)> = Vec::with_capacity(letters.len());
        for head in letters {
            let void = match known.voids.get(&head.hash) {
                Some(void) => void.clone(),
                None => {
                    let Some(void) = self.stored_body::<ReportVoid>(&head).await? else { continue };
                    if known.voids.len() >= MAX_REMEMBERED {
                        known.voids.clear();
                    }
                    known.voids.insert(head.hash, void.clone());
                    void
                }
            };
            bodies.push((head, void));
        }
        for (head, void) in &bodies {
            let same = |of: &&(LetterHead, ReportVoid)| {
                of.1.report == void.report && of.1.through_version == void.through_version
            };
            let stands = bodies.iter().filter(same).any(|(_, said)| rows.contains(said));
            if !stands {
                tracing::error!(letter = %head.id, report = %void.report, "the row of a withdrawal was gone or changed; it is put back");
                self.spool.restore_void(head, void).await?;
            }
        }
        Ok(())
    }

    /// Rows of reports that are gone are made again from the letters that brought them.
    async fn restore_rows(&self) -> Result<(), SpoolError> {
        for head in self.spool.letters_of(LetterKind::Report, true).await? {
            let path = self.spool.blobs().path_of(&head.hash);
            let (hash, device, now) = (head.hash, Arc::clone(&self.device), self.spool.now());
            let read = blocking(move || {
                let body = read_limited(&path).ok().filter(|body| ObjectHash::of(body) == hash)?;
                device.verify(&body, now).ok().map(|verified| Facts::of(&verified))
            });
            let Some(facts) = read.await?.filter(|facts| facts.study == head.study) else {
                self.spool.remember_damaged_letter(&head.id);
                continue;
            };
            if self.spool.store_report(&head, facts.says(), now).await? {
                tracing::error!(letter = %head.id, report = %facts.says().report_id, "the row of a report was gone; it is put back");
            }
        }
        Ok(())
    }

    /// The body of a letter as it was stored; `None`, remembered for `doctor`, when it is not there any more.
    async fn stored_body<T: serde::de::DeserializeOwned>(
        &self,
        head: &LetterHead,
    ) -> Result<Option<T>, SpoolError> {
        let (path, hash) = (self.spool.blobs().path_of(&head.hash), head.hash);
        let body = blocking(move || read_limited(&path).ok().filter(|body| ObjectHash::of(body) == hash));
        let body = body.await?.and_then(|body| serde_json::from_slice(&body).ok());
        if body.is_none() {
            self.spool.remember_damaged_letter(&head.id);
        }
        Ok(body)
    }
}

fn look(path: &Path, package: ObjectHash, list: Option<u64>) -> Option<Seen> {
    let meta = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some(Seen {
        package,
        length: meta.len(),
        modified_s: meta.mtime(),
        modified_ns: meta.mtime_nsec(),
        changed_s: meta.ctime(),
        changed_ns: meta.ctime_nsec(),
        inode: meta.ino(),
        list,
    })
}

/// The verdict, and whether it lasts as long as the file and the list.
fn verdict_of(path: &Path, package: &ObjectHash, device: &Device, now: UtcMs) -> (Verdict, bool) {
    let Ok(bytes) = read_limited(path) else { return (Err(missing_zh()), false) };
    match device.verify(&bytes, now) {
        Ok(_) if ObjectHash::of(&bytes) != *package => (Err(changed_zh("content")), true),
        Ok(verified) => (Ok(Arc::new(Facts::of(&verified))), true),
        Err(invalid) => {
            let of_the_clock = matches!(invalid, Invalid::Report(VerifyReportError::FromTheFuture { .. }));
            (Err(format!("{}。请联系县级重新发送", invalid.zh())), !of_the_clock)
        }
    }
}
