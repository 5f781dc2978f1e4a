//! The whole day without a person: everything is sent, read, audited, returned, verified and opened.

use super::cast::{CARDIOLOGIST, RADIOLOGIST, REVIEWER};
use super::doctors::{Doctor, Failures};
use super::openers::{Opener, Shown};
use super::outcome::{Outcome, Refused, Row};
use super::plan::Plan;
use super::say;
use super::town::Town;
use crate::lab::clinic::{self, NotTaken};
use crate::lab::http::Client;
use crate::lab::wait::{Look, until};
use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use relay_agent::spool::{ReportRow, StudyView};
use relay_core::ids::Sha256;
use relay_core::report::ReportKind;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A day with nothing in it ends within this time.
const BASE_DEADLINE: Duration = Duration::from_secs(300);
/// More for each file.
const FILE_DEADLINE: Duration = Duration::from_secs(3);
/// The county has the signed word of an opening this soon after it.
const NOTE_DEADLINE: Duration = Duration::from_secs(60);
/// When nothing but cases that cannot be signed is left, the day ends this much later.
const STUCK_DEADLINE: Duration = Duration::from_secs(30);
/// Digits of a UID that the table shows.
const UID_TAIL: usize = 12;

/// Plays the day.
///
/// # Errors
/// When a program fails or the day does not end in time.
pub(super) async fn play(town: &mut Town, plan: Plan) -> anyhow::Result<Option<Outcome>> {
    let (stop, failures, shown) = (CancellationToken::new(), Failures::default(), Shown::default());
    let mut people: Vec<LocalBoxFuture<'static, ()>> = Vec::new();
    for login in [RADIOLOGIST, CARDIOLOGIST] {
        let login = town.login(login)?;
        let doctor = Doctor::new(town.county.log_in(login).await?, login, Failures::clone(&failures))?;
        people.push(doctor.read(stop.clone()).boxed_local());
    }
    let login = town.login(REVIEWER)?;
    let reviewer = town.county.log_in(login).await?;
    let second = Doctor::new(reviewer.clone(), login, Failures::clone(&failures))?;
    people.push(second.audit(stop.clone()).boxed_local());
    for (clinic, told) in town.clinics.iter().zip(&town.told.agents) {
        let staff = told.staff.first().context("nobody to open reports")?.clone();
        people.push(Opener::new(clinic, staff, Shown::clone(&shown))?.open_all(stop.clone()).boxed_local());
    }
    say(&format!("relay-demo: {} files", plan.items.len()));
    let day = async {
        let played = through(town, &plan, &reviewer, &failures, &shown).await;
        stop.cancel();
        played
    };
    let (outcome, _) = tokio::join!(day, futures::future::join_all(people));
    outcome.map(Some)
}

/// From the first file to the last opened report.
async fn through(
    town: &mut Town,
    plan: &Plan,
    reviewer: &Client,
    failures: &Failures,
    shown: &Shown,
) -> anyhow::Result<Outcome> {
    let not_taken = plan.send(town).await?;
    let files = u32::try_from(plan.items.len()).unwrap_or(u32::MAX);
    let studies = all_back(town, BASE_DEADLINE + FILE_DEADLINE * files, failures).await?;
    let mut outcome = Outcome { rows: Vec::new(), refused: refused_at_clinic(plan, not_taken) };
    for (clinic, study, report) in studies {
        let seen = Seen { reviewer, clinic: &clinic, study: &study, report: report.as_ref(), shown };
        outcome.rows.extend(seen.row().await?);
        outcome.refused.extend(refused_at_county(plan, reviewer, &clinic, &study).await?);
    }
    for (clinic, rejects) in rejects(town).await? {
        add_rejects(&mut outcome, plan, clinic, rejects);
    }
    Ok(outcome)
}

/// The final version that a clinic holds of a study.
fn final_of<'a>(reports: &'a [ReportRow], study: &StudyView) -> Option<&'a ReportRow> {
    reports
        .iter()
        .find(|r| r.study == study.uid && r.kind == ReportKind::Final && !r.superseded && r.fault.is_none())
}

fn settled(study: &StudyView) -> bool {
    study.receipted + study.refused >= study.objects
}

type Back = Vec<(String, StudyView, Option<ReportRow>)>;

/// Waits until every study that the county holds has its final version opened at its clinic.
async fn all_back(town: &mut Town, deadline: Duration, failures: &Failures) -> anyhow::Result<Back> {
    let (mut said, mut moved_at) = (String::new(), Instant::now());
    let waited = until("every study to come back", deadline, async || {
        town.check()?;
        let (mut back, mut open, mut safe) = (Back::new(), 0, 0);
        for clinic in &town.clinics {
            let page = clinic.overview().await?;
            for study in page.studies {
                let report = final_of(&page.reports, &study).cloned();
                let refused = settled(&study) && study.receipted == 0;
                safe += usize::from(settled(&study));
                open += usize::from(report.as_ref().is_some_and(|r| r.opened_at.is_some()) || refused);
                back.push((clinic.id.clone(), study, report));
            }
        }
        let stands = format!("{} studies, {safe} safe at the county, {open} finished", back.len());
        if stands != said {
            say(&format!("relay-demo: {stands}"));
            said.clone_from(&stands);
            moved_at = Instant::now();
        }
        if open == back.len() {
            return Ok(Look::There(back));
        }
        let missing: Vec<String> = back
            .iter()
            .filter(|(_, _, report)| report.as_ref().is_none_or(|r| r.opened_at.is_none()))
            .take(5)
            .map(|(clinic, study, _)| format!("{clinic}/{} {}", study.uid, study.state))
            .collect();
        let failed = failures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stuck = !failed.is_empty() && back.len() - open <= failed.len();
        if stuck && moved_at.elapsed() > STUCK_DEADLINE {
            // What is left cannot be signed: the table and the exit code say so.
            say(&format!("relay-demo: not signed: {failed:?}"));
            return Ok(Look::There(back));
        }
        Ok(Look::NotYet(format!(
            "{stands}; not finished: {}; doctors failed at {failed:?}",
            missing.join(", ")
        )))
    });
    waited.await
}

struct Seen<'a> {
    reviewer: &'a Client,
    clinic: &'a str,
    study: &'a StudyView,
    report: Option<&'a ReportRow>,
    shown: &'a Shown,
}

impl Seen<'_> {
    /// The study's row; nothing when the county accepted no object of it.
    async fn row(&self) -> anyhow::Result<Option<Row>> {
        let study = self.study;
        if study.receipted == 0 {
            return Ok(None);
        }
        let Some(report) = self.report else { return Ok(Some(self.unreported())) };
        let path = format!("/api/v1/studies/{}/{}", self.clinic, study.uid);
        let told = until("the county to learn of an opening", NOTE_DEADLINE, async || {
            let told = self.reviewer.get(&path).await?;
            let version = version_of(&told, report);
            if version.is_some_and(|v| v["opened_at_ms"].is_i64()) {
                return Ok(Look::There(told));
            }
            Ok(Look::NotYet(
                version.map_or_else(|| "no such version".to_owned(), |v| v["delivery"].to_string()),
            ))
        })
        .await?;
        let versions = told["versions"].as_array().cloned().unwrap_or_default();
        let last = version_of(&told, report).cloned().unwrap_or_default();
        let ms = |value: &Value| value.as_i64();
        let between = |from: Option<i64>, to: Option<i64>| from.zip(to).map(|(from, to)| to - from);
        let first_signed = versions.first().and_then(|v| ms(&v["signed_at_ms"]));
        let released = ms(&last["audited_at_ms"]).or(first_signed);
        let of_kind =
            |kind: &str| u32::try_from(versions.iter().filter(|v| v["kind"] == kind).count()).unwrap_or(0);
        Ok(Some(Row {
            link_ms: between(Some(study.first_object_at.0), study.safe_at.map(|at| at.0)),
            reading_ms: between(ms(&told["row"]["arrived_at_ms"]), first_signed),
            audit_ms: between(first_signed, ms(&last["audited_at_ms"])),
            return_ms: between(released, ms(&last["received_at_ms"])),
            opening_ms: between(ms(&last["received_at_ms"]), ms(&last["opened_at_ms"])),
            versions: (of_kind("preliminary"), of_kind("final")),
            delivered: last["received_at_ms"].is_i64(),
            verified: self.verified(report).await?,
            opened: last["opened_at_ms"].is_i64(),
            ..self.unreported()
        }))
    }

    fn unreported(&self) -> Row {
        let study = self.study;
        let uid = study.uid.as_str();
        let tail = &uid[uid.len().saturating_sub(UID_TAIL)..];
        Row {
            study: format!("{}/…{tail}", self.clinic),
            kind: study.kind.word().to_owned(),
            objects: study.receipted,
            bytes: study.bytes,
            wire: study.coded_bytes,
            ..Row::default()
        }
    }

    /// The clinic showed exactly the PDF that the county signed.
    async fn verified(&self, report: &ReportRow) -> anyhow::Result<bool> {
        let key = (report.report_id.to_string(), report.version);
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let path = format!("/api/v1/reports/{}/versions/{}/report.pdf", report.report_id, report.version);
        let reply = self.reviewer.send(http::Method::GET, &path, None).await?;
        let signed = reply.status.is_success().then(|| Sha256::of(&reply.body));
        // Opened in an earlier run of the same demo: the clinic's own word counts.
        Ok(signed.is_some()
            && match shown {
                Some(shown) => shown.ok() == signed,
                None => report.opened_at.is_some() && report.fault.is_none(),
            })
    }
}

fn version_of<'a>(told: &'a Value, report: &ReportRow) -> Option<&'a Value> {
    told["versions"]
        .as_array()?
        .iter()
        .find(|v| v["report"] == report.report_id.as_str() && v["version"] == report.version)
}

fn refused_at_clinic(plan: &Plan, not_taken: Vec<NotTaken>) -> Vec<Refused> {
    let mut refused = Vec::new();
    for not in not_taken {
        let NotTaken { file, code, field, reason } = not;
        let sha256 = plan.items.iter().find(|item| item.path == file).map(|item| item.sha256);
        refused.push(Refused { file, sha256, code, field, reason });
    }
    refused
}

/// What the county refused of a study: its files that the county does not hold.
async fn refused_at_county(
    plan: &Plan,
    reviewer: &Client,
    clinic: &str,
    study: &StudyView,
) -> anyhow::Result<Vec<Refused>> {
    let Some(refusal) = study.refusal.as_ref().filter(|_| study.refused > 0) else { return Ok(Vec::new()) };
    let mut held = BTreeSet::new();
    if study.receipted > 0 {
        let told = reviewer.get(&format!("/api/v1/studies/{clinic}/{}", study.uid)).await?;
        let objects = told["objects"].as_array().cloned().unwrap_or_default();
        held.extend(objects.iter().filter_map(|o| o["sha256"].as_str().map(str::to_owned)));
    }
    let mut words = refusal.splitn(3, ": ").map(str::to_owned);
    let mut next = || words.next().unwrap_or_default();
    let (code, field, reason) = (next(), next(), next());
    let files = plan
        .items
        .iter()
        .filter(|item| item.key == study.uid.as_str() && !held.contains(&item.sha256.to_hex()));
    Ok(files
        .map(|item| Refused {
            file: item.path.clone(),
            sha256: Some(item.sha256),
            code: code.clone(),
            field: field.clone(),
            reason: reason.clone(),
        })
        .collect())
}

async fn rejects(town: &Town) -> anyhow::Result<Vec<(usize, Vec<relay_agent::spool::RejectView>)>> {
    let mut all = Vec::new();
    for (number, clinic) in town.clinics.iter().enumerate() {
        all.push((number, clinic::overview(&clinic.api()?).await?.rejects));
    }
    Ok(all)
}

/// Files that the watched folder refused: nobody was there to be told.
fn add_rejects(
    outcome: &mut Outcome,
    plan: &Plan,
    clinic: usize,
    rejects: Vec<relay_agent::spool::RejectView>,
) {
    let told: BTreeSet<Sha256> = outcome.refused.iter().filter_map(|r| r.sha256).collect();
    for reject in rejects {
        let item = plan.items.iter().find(|item| item.clinic == clinic && item.sha256 == reject.sha256);
        let Some(item) = item.filter(|item| !told.contains(&item.sha256)) else { continue };
        outcome.refused.push(Refused {
            file: item.path.clone(),
            sha256: Some(reject.sha256),
            code: reject.code,
            field: reject.field,
            reason: reject.reason,
        });
    }
}
