//! The in-memory desk.

use super::held::{Access, Item, LEASE_MS, TestDesk, lease_of, missing, version_of, view};
use crate::desk::{
    Account, AccountRow, ClinicRow, CriticalState, Draft, DraftText, LOCKOUT_FAILURES, LOCKOUT_MS, Lease,
    LiveEvent, PatientFacts, RaiseCritical, Reader, ReadingDesk, SESSION_IDLE_MS, Session, SignRequest,
    Signed, StudyView, Throughput, WorkFilter, WorkList,
};
use async_trait::async_trait;
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{ObjectHash, PersonId, ReportId, Sha256, StudyKey};
use relay_core::report::{ReportKind, ReportPackage};
use relay_core::study::Kind;
use std::path::PathBuf;
use tokio::sync::broadcast;

#[async_trait]
impl ReadingDesk for TestDesk {
    async fn account(&self, login: &PersonId) -> Result<Option<Account>, Refusal> {
        Ok(self.state().accounts.get(login).cloned())
    }

    async fn record_login(
        &self,
        login: &PersonId,
        ok: bool,
        totp_step: Option<u64>,
        _peer: &str,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        let mut state = self.state();
        let account = state.accounts.get_mut(login).ok_or_else(|| missing("login"))?;
        if !ok {
            account.failures += 1;
            if account.failures >= LOCKOUT_FAILURES {
                account.failures = 0;
                account.locked_until = Some(now.plus_ms(LOCKOUT_MS));
            }
            return Ok(());
        }
        if totp_step.is_some() && totp_step <= account.totp_last_step {
            return Err(Refusal::new(Code::Unauthenticated, "totp", "this code was used"));
        }
        account.totp_last_step = totp_step.or(account.totp_last_step);
        (account.failures, account.locked_until) = (0, None);
        Ok(())
    }

    async fn open_session(
        &self,
        token: &Sha256,
        login: &PersonId,
        expires: UtcMs,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        self.state().sessions.insert(*token, (login.clone(), expires, now));
        Ok(())
    }

    async fn session(&self, token: &Sha256, touch: bool, now: UtcMs) -> Result<Option<Session>, Refusal> {
        let mut state = self.state();
        let Some((login, expires_at, used_at)) = state.sessions.get_mut(token) else { return Ok(None) };
        if *expires_at <= now || now.since(*used_at) >= SESSION_IDLE_MS {
            return Ok(None);
        }
        if touch {
            *used_at = now;
        }
        let (login, expires_at, used_at) = (login.clone(), *expires_at, *used_at);
        let reader = state.accounts.get(&login).map(|account| account.reader.clone());
        Ok(reader.map(|reader| Session { reader, expires_at, used_at }))
    }

    async fn close_session(&self, token: &Sha256, _now: UtcMs) -> Result<(), Refusal> {
        self.state().sessions.remove(token);
        Ok(())
    }

    async fn accounts(&self, _reader: &Reader) -> Result<Vec<AccountRow>, Refusal> {
        let row = |account: &Account| AccountRow {
            reader: account.reader.clone(),
            totp: account.totp_secret.is_some(),
            failures: account.failures,
            locked_until: account.locked_until,
        };
        Ok(self.state().accounts.values().map(row).collect())
    }

    async fn unlock_account(&self, _reader: &Reader, login: &PersonId, _now: UtcMs) -> Result<(), Refusal> {
        let mut state = self.state();
        let account = state.accounts.get_mut(login).ok_or_else(|| missing("login"))?;
        (account.failures, account.locked_until) = (0, None);
        Ok(())
    }

    async fn clinics(&self, _reader: &Reader) -> Result<Vec<ClinicRow>, Refusal> {
        let state = self.state();
        let row = |item: &Item| ClinicRow {
            clinic: item.row.study.clinic.clone(),
            name: item.row.clinic_name.clone(),
            online: true,
            heard_at: None,
            clock_offset_ms: None,
        };
        Ok(state.items.values().map(row).collect())
    }

    async fn worklist(&self, reader: &Reader, filter: &WorkFilter, _now: UtcMs) -> Result<WorkList, Refusal> {
        let state = self.state();
        let wanted = |item: &&Item| {
            reader.clinics.contains(&item.row.study.clinic)
                && (filter.states.is_empty() || filter.states.contains(&item.row.state))
                && filter.kind.is_none_or(|kind| kind == item.row.kind)
        };
        let found = || state.items.values().filter(wanted);
        let rows = found().take(filter.limit as usize).map(|item| item.row.clone()).collect();
        Ok(WorkList { rows, total: found().count() as u64, damaged: 0 })
    }

    async fn claim(&self, reader: &Reader, item: i64, now: UtcMs) -> Result<Lease, Refusal> {
        let mut state = self.state();
        let item = state.item(reader, item)?;
        if let Some(lease) = item.row.lease.as_ref().filter(|l| l.holder != reader.id && l.expires_at > now) {
            return Err(Refusal::new(Code::ClaimHeld, "item", format!("held by {}", lease.holder)));
        }
        Ok(lease_of(item, reader, now))
    }

    async fn claim_next(
        &self,
        reader: &Reader,
        _: Option<Kind>,
        now: UtcMs,
    ) -> Result<Option<(i64, Lease)>, Refusal> {
        let mut state = self.state();
        let open =
            |item: &&mut Item| item.row.lease.is_none() && reader.clinics.contains(&item.row.study.clinic);
        Ok(state.items.values_mut().find(open).map(|item| (item.row.id, lease_of(item, reader, now))))
    }

    async fn renew(&self, reader: &Reader, item: i64, epoch: u64, now: UtcMs) -> Result<Lease, Refusal> {
        let mut state = self.state();
        let item = state.held(reader, item, epoch, now)?;
        let lease = item.row.lease.as_mut().ok_or_else(|| missing("lease"))?;
        lease.expires_at = now.plus_ms(LEASE_MS);
        Ok(lease.clone())
    }

    async fn release(&self, reader: &Reader, item: i64, epoch: u64, now: UtcMs) -> Result<(), Refusal> {
        let mut state = self.state();
        let item = state.held(reader, item, epoch, now)?;
        item.row.lease = None;
        item.row.state = "waiting".into();
        Ok(())
    }

    async fn study(&self, reader: &Reader, item: i64, _now: UtcMs) -> Result<StudyView, Refusal> {
        Ok(view(self.state().item(reader, item)?))
    }

    async fn study_by_key(
        &self,
        reader: &Reader,
        study: &StudyKey,
        _now: UtcMs,
    ) -> Result<StudyView, Refusal> {
        Ok(view(self.state().of_study(reader, study)?))
    }

    async fn object_path(
        &self,
        reader: &Reader,
        study: &StudyKey,
        object: &ObjectHash,
        _now: UtcMs,
    ) -> Result<PathBuf, Refusal> {
        let state = self.state();
        let found = state.of_study(reader, study)?.objects.iter().find(|(facts, _)| facts.hash == *object);
        found.map(|(_, path)| path.clone()).ok_or_else(|| missing("object"))
    }

    async fn preview(
        &self,
        reader: &Reader,
        study: &StudyKey,
        _object: &ObjectHash,
        _now: UtcMs,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        self.state().of_study(reader, study)?;
        Ok(None)
    }

    async fn draft(&self, reader: &Reader, item: i64) -> Result<Option<Draft>, Refusal> {
        Ok(self.state().item(reader, item)?.draft.clone())
    }

    async fn save_draft(
        &self,
        reader: &Reader,
        item: i64,
        epoch: u64,
        replaces: u64,
        text: &DraftText,
        now: UtcMs,
    ) -> Result<Draft, Refusal> {
        let mut state = self.state();
        let item = state.held(reader, item, epoch, now)?;
        let current = item.draft.as_ref().map_or(0, |draft| draft.revision);
        if current != replaces {
            return Err(Refusal::new(Code::StateConflict, "replaces", format!("the draft is at {current}")));
        }
        let draft =
            Draft { text: text.clone(), revision: current + 1, saved_at: now, author: reader.id.clone() };
        item.draft = Some(draft.clone());
        item.row.state = "drafted".into();
        Ok(draft)
    }

    async fn sign(
        &self,
        reader: &Reader,
        item: i64,
        request: SignRequest,
        now: UtcMs,
    ) -> Result<Signed, Refusal> {
        let mut state = self.state();
        let item = state.held(reader, item, request.epoch, now)?;
        if item.draft.as_ref().map(|draft| draft.revision) != Some(request.draft_revision) {
            return Err(Refusal::new(Code::StateConflict, "draft_revision", "the draft is another"));
        }
        let version = version_of(item, reader, &request, now);
        let signed = Signed {
            report: version.report.clone(),
            version: version.version,
            paper_version: version.paper_version,
            kind: ReportKind::Preliminary,
            state: "signed".into(),
        };
        item.row.author = Some(reader.id.clone());
        item.row.state = "signed".into();
        item.row.lease = None;
        item.versions.push(version);
        Ok(signed)
    }

    async fn audit(
        &self,
        reader: &Reader,
        item: i64,
        request: SignRequest,
        _changed: Option<DraftText>,
        now: UtcMs,
    ) -> Result<Signed, Refusal> {
        let mut state = self.state();
        let item = state.item(reader, item)?;
        if item.row.author.as_ref() == Some(&reader.id) {
            return Err(Refusal::new(Code::ReviewerIsAuthor, "reviewer", "the author cannot audit himself"));
        }
        if item.row.state != "signed" {
            return Err(Refusal::new(Code::StateConflict, "state", "nothing to audit"));
        }
        let version = version_of(item, reader, &request, now);
        item.row.state = "audited".into();
        Ok(Signed {
            report: version.report,
            version: version.version,
            paper_version: version.paper_version,
            kind: ReportKind::Final,
            state: "audited".into(),
        })
    }

    async fn raise_critical(
        &self,
        reader: &Reader,
        item: i64,
        raise: RaiseCritical,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        let mut state = self.state();
        let item = state.item(reader, item)?;
        item.row.critical_open = true;
        item.critical.push(CriticalState {
            code: raise.code,
            finding: raise.finding,
            raised_at: now,
            raised_by_name: reader.name.clone(),
            escalated: 0,
            received_at: None,
            read_back: None,
            action: None,
        });
        Ok(())
    }

    async fn request_retake(
        &self,
        reader: &Reader,
        item: i64,
        epoch: u64,
        _reason: &str,
        _text: &str,
        now: UtcMs,
    ) -> Result<(), Refusal> {
        self.state().held(reader, item, epoch, now)?.row.state = "retake_requested".into();
        Ok(())
    }

    async fn correct_identity(
        &self,
        reader: &Reader,
        item: i64,
        patient: PatientFacts,
        _reason: &str,
        _now: UtcMs,
    ) -> Result<(), Refusal> {
        self.state().item(reader, item)?.row.patient = patient;
        Ok(())
    }

    async fn report_package(
        &self,
        reader: &Reader,
        report: &ReportId,
        version: u32,
    ) -> Result<Vec<u8>, Refusal> {
        let state = self.state();
        let signed = |item: &&Item| {
            reader.clinics.contains(&item.row.study.clinic)
                && item.versions.iter().any(|v| v.report == *report && v.version == version)
        };
        state.items.values().find(signed).ok_or_else(|| missing("report"))?;
        let package = ReportPackage {
            manifest: b"{}".to_vec(),
            json: b"{\"resourceType\":\"Bundle\"}".to_vec(),
            pdf: b"%PDF-1.7".to_vec(),
            author_cms: vec![0x30, 0],
            review: None,
            revocations: None,
        };
        package.encode().map_err(|error| Refusal::new(Code::Internal, "package", error.to_string()))
    }

    async fn events_after(&self, reader: &Reader, seq: i64, limit: u32) -> Result<Vec<LiveEvent>, Refusal> {
        let state = self.state();
        let later = state.events.iter().filter(|event| event.seq > seq && Self::sees(reader, event));
        Ok(later.take(limit as usize).cloned().collect())
    }

    async fn last_event(&self) -> Result<i64, Refusal> {
        Ok(self.state().events.last().map_or(0, |event| event.seq))
    }

    fn live(&self) -> broadcast::Receiver<LiveEvent> {
        self.live.subscribe()
    }

    async fn throughput(&self, _reader: &Reader, now: UtcMs) -> Result<Throughput, Refusal> {
        Ok(Throughput {
            day_start_ms: 0,
            at_ms: now.0,
            received: self.state().items.len() as u64,
            reported: 0,
            returned: 0,
            due: 0,
            on_time: 0,
            backlog: 0,
            backlog_oldest_ms: None,
            stages: Vec::new(),
            clinics: Vec::new(),
        })
    }

    async fn record_access(
        &self,
        who: Option<&PersonId>,
        action: &str,
        subject: &str,
        allowed: bool,
        _now: UtcMs,
    ) {
        let access =
            Access { who: who.cloned(), action: action.to_owned(), subject: subject.to_owned(), allowed };
        self.state().accesses.push(access);
    }
}
