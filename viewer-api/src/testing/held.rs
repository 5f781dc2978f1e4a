//! What the in-memory county holds.

use crate::desk::{
    Account, CriticalState, Draft, Lease, LiveEvent, Reader, ReportVersion, SignRequest, StudyObject,
    StudyView, WorkRow,
};
use relay_core::clock::{MINUTE_MS, UtcMs};
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{ClinicId, PersonId, ReportId, Sha256, StudyKey};
use relay_core::report::ReportKind;
use relay_core::study::{StudyContext, StudyRevision};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Length of a lease.
pub(super) const LEASE_MS: i64 = 10 * MINUTE_MS;
/// Events that a slow stream may lag behind.
const LIVE_CAPACITY: usize = 64;

/// A work item and what hangs on it.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its row.
    pub row: WorkRow,
    /// Its objects and where their files are.
    pub objects: Vec<(StudyObject, PathBuf)>,
    pub(super) draft: Option<Draft>,
    pub(super) epoch: u64,
    pub(super) versions: Vec<ReportVersion>,
    pub(super) critical: Vec<CriticalState>,
}

impl Item {
    /// An item without objects.
    #[must_use]
    pub fn new(row: WorkRow) -> Self {
        Self { row, objects: Vec::new(), draft: None, epoch: 0, versions: Vec::new(), critical: Vec::new() }
    }

    pub(super) fn revision(&self) -> StudyRevision {
        StudyRevision::of(self.objects.iter().map(|(object, _)| object.hash))
    }
}

/// One line of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Who.
    pub who: Option<PersonId>,
    /// Method and route.
    pub action: String,
    /// Path.
    pub subject: String,
    /// Whether it was allowed.
    pub allowed: bool,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) accounts: BTreeMap<PersonId, Account>,
    pub(super) sessions: BTreeMap<Sha256, (PersonId, UtcMs, UtcMs)>,
    pub(super) items: BTreeMap<i64, Item>,
    pub(super) events: Vec<LiveEvent>,
    pub(super) accesses: Vec<Access>,
}

/// The in-memory county.
#[derive(Debug)]
pub struct TestDesk {
    pub(super) state: Mutex<State>,
    pub(super) live: broadcast::Sender<LiveEvent>,
}

impl Default for TestDesk {
    fn default() -> Self {
        Self { state: Mutex::default(), live: broadcast::channel(LIVE_CAPACITY).0 }
    }
}

pub(super) fn missing(field: &str) -> Refusal {
    Refusal::new(Code::NotFound, field, "nothing there, or not visible")
}

impl State {
    pub(super) fn item(&mut self, reader: &Reader, id: i64) -> Result<&mut Item, Refusal> {
        let item = self.items.get_mut(&id).filter(|item| reader.clinics.contains(&item.row.study.clinic));
        item.ok_or_else(|| missing("item"))
    }

    pub(super) fn of_study(&self, reader: &Reader, study: &StudyKey) -> Result<&Item, Refusal> {
        let item = self
            .items
            .values()
            .find(|item| item.row.study == *study && reader.clinics.contains(&study.clinic));
        item.ok_or_else(|| missing("study"))
    }

    pub(super) fn held(
        &mut self,
        reader: &Reader,
        id: i64,
        epoch: u64,
        now: UtcMs,
    ) -> Result<&mut Item, Refusal> {
        let item = self.item(reader, id)?;
        let lease = item
            .row
            .lease
            .as_ref()
            .filter(|lease| lease.holder == reader.id && lease.epoch == epoch && lease.expires_at > now);
        if lease.is_none() {
            return Err(Refusal::new(Code::LeaseLost, "epoch", "the lease is another's or has ended"));
        }
        Ok(item)
    }
}

impl TestDesk {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds or replaces an account.
    pub fn put_account(&self, account: Account) {
        self.state().accounts.insert(account.reader.id.clone(), account);
    }

    /// Adds or replaces a work item.
    pub fn put_item(&self, item: Item) {
        self.state().items.insert(item.row.id, item);
    }

    /// Appends an event about a clinic and wakes the streams; returns its sequence.
    pub fn publish(&self, kind: &str, clinic: Option<ClinicId>, work_item: Option<i64>, at: UtcMs) -> i64 {
        let mut state = self.state();
        let seq = i64::try_from(state.events.len()).unwrap_or(i64::MAX) + 1;
        let event = LiveEvent { seq, kind: kind.to_owned(), clinic, work_item, class: None, at };
        state.events.push(event.clone());
        drop(state);
        // Nobody listening is no error.
        let _ = self.live.send(event);
        seq
    }

    /// The access log so far.
    pub fn accesses(&self) -> Vec<Access> {
        self.state().accesses.clone()
    }

    pub(super) fn sees(reader: &Reader, event: &LiveEvent) -> bool {
        event.clinic.as_ref().is_none_or(|clinic| reader.clinics.contains(clinic))
    }
}

pub(super) fn view(item: &Item) -> StudyView {
    StudyView {
        row: item.row.clone(),
        objects: item.objects.iter().map(|(object, _)| object.clone()).collect(),
        revision: item.revision(),
        context: StudyContext::default(),
        missing: 0,
        priors: Vec::new(),
        suspected: Vec::new(),
        versions: item.versions.clone(),
        critical: item.critical.clone(),
    }
}

pub(super) fn lease_of(item: &mut Item, reader: &Reader, now: UtcMs) -> Lease {
    item.epoch += 1;
    let lease = Lease {
        holder: reader.id.clone(),
        holder_name: reader.name.clone(),
        claimed_at: now,
        expires_at: now.plus_ms(LEASE_MS),
        epoch: item.epoch,
    };
    item.row.lease = Some(lease.clone());
    item.row.state = "claimed".into();
    lease
}

/// As the county counts: preliminary versions apart.
fn paper_version(item: &Item, kind: ReportKind) -> u32 {
    let preliminary = |kind| kind == ReportKind::Preliminary;
    item.versions.iter().filter(|version| preliminary(version.kind) == preliminary(kind)).count() as u32 + 1
}

pub(super) fn version_of(item: &Item, reader: &Reader, request: &SignRequest, now: UtcMs) -> ReportVersion {
    ReportVersion {
        report: ReportId::parse(&format!("r-{}", item.row.id)).expect("invariant: a lawful report id"),
        version: item.versions.len() as u32 + 1,
        paper_version: paper_version(item, request.kind),
        kind: request.kind,
        author: reader.id.clone(),
        author_name: reader.name.clone(),
        reviewer_name: None,
        signed_at: now,
        audited_at: None,
        revision: item.revision(),
        delivery: "queued".into(),
        received_at: None,
        opened: None,
        voided: None,
        differs: None,
        text: item.draft.as_ref().map(|draft| draft.text.clone()).unwrap_or_default(),
    }
}
