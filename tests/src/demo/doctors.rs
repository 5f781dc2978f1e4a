//! The county's doctors, scripted: they claim, write, sign and audit through the real API, each with his own key.

use crate::lab::county::Login;
use crate::lab::http::Client;
use crate::lab::wait::{Look, until};
use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Cases that one doctor has open at a time: signing is bound by the county's two cores.
const HANDS: usize = 2;
/// Between two looks at an empty list.
const LOOK: Duration = Duration::from_millis(150);
/// A study that is claimed at its first object is whole within this time.
const WHOLE_DEADLINE: Duration = Duration::from_secs(120);
/// A case that fails so often is left alone, and told at the end.
const MAX_TRIES: u32 = 5;

/// Cases that could not be read, by work item, with tries and the last reason.
pub(super) type Failures = Arc<Mutex<BTreeMap<i64, (u32, String)>>>;

/// A doctor at work.
#[derive(Debug, Clone)]
pub(super) struct Doctor {
    client: Client,
    pin: String,
    login: String,
    failures: Failures,
}

/// What became of one step.
enum Step {
    Done,
    /// Somebody else or a late object was faster: look again.
    Again,
}

impl Doctor {
    /// A doctor with a session.
    ///
    /// # Errors
    /// When the person has no signing key.
    pub(super) fn new(client: Client, login: &Login, failures: Failures) -> anyhow::Result<Self> {
        let pin = login.pin.clone().with_context(|| format!("{} has no PIN", login.login))?;
        Ok(Self { client, pin, login: login.login.clone(), failures })
    }

    /// Reads until told to stop.
    pub(super) async fn read(self, stop: CancellationToken) {
        let hands = (0..HANDS).map(|_| {
            let (doctor, stop) = (self.clone(), stop.clone());
            async move {
                while !stop.is_cancelled() {
                    let done = doctor.next_case().await;
                    if !doctor.noted(done) {
                        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(LOOK) => {} }
                    }
                }
            }
        });
        futures::future::join_all(hands).await;
    }

    /// Audits until told to stop.
    pub(super) async fn audit(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let signed = self.awaiting_audit().await;
            let items = signed.unwrap_or_else(|error| {
                tracing::warn!(doctor = %self.login, "list: {error:#}");
                Vec::new()
            });
            let idle = items.is_empty();
            futures::stream::iter(items)
                .for_each_concurrent(HANDS, |item| {
                    let doctor = self.clone();
                    async move {
                        let done = doctor.audit_one(item).await.map_err(|error| (item, error));
                        doctor.noted(done.map(|_| true));
                    }
                })
                .await;
            if idle {
                tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(LOOK) => {} }
            }
        }
    }

    /// True when something was done.
    fn noted(&self, done: Result<bool, (i64, anyhow::Error)>) -> bool {
        match done {
            Ok(done) => done,
            Err((item, error)) => {
                tracing::warn!(doctor = %self.login, item, "{error:#}");
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                let entry = failures.entry(item).or_default();
                *entry = (entry.0 + 1, format!("{error:#}"));
                false
            }
        }
    }

    fn given_up(&self, item: i64) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&item).is_some_and(|(tries, _)| *tries >= MAX_TRIES)
    }

    async fn next_case(&self) -> Result<bool, (i64, anyhow::Error)> {
        let claimed = self.client.must(Method::POST, "/api/v1/worklist/claim-next", Some(&json!({}))).await;
        let claimed = claimed.map_err(|error| (0, error))?["claimed"].clone();
        let Some(item) = claimed["item"].as_i64() else { return Ok(false) };
        if self.given_up(item) {
            return Ok(false);
        }
        self.read_one(item, &claimed["lease"]["epoch"]).await.map_err(|error| (item, error))?;
        Ok(true)
    }

    async fn study(&self, item: i64) -> anyhow::Result<Value> {
        self.client.get(&format!("/api/v1/worklist/{item}/study")).await
    }

    /// The study when everything announced is here, and nothing more is to come.
    async fn whole_study(&self, item: i64) -> anyhow::Result<Value> {
        until("a study to be whole", WHOLE_DEADLINE, async || {
            let study = self.study(item).await?;
            if study["row"]["completeness"] == "complete" && study["missing"] == 0 {
                return Ok(Look::There(study));
            }
            Ok(Look::NotYet(format!("{}, {} missing", study["row"]["completeness"], study["missing"])))
        })
        .await
    }

    async fn read_one(&self, item: i64, epoch: &Value) -> anyhow::Result<()> {
        for _ in 0..MAX_TRIES {
            let study = self.whole_study(item).await?;
            let path = format!("/api/v1/worklist/{item}/draft");
            let draft = self.client.get(&path).await?;
            let replaces = draft["draft"]["revision"].as_u64().unwrap_or(0);
            let save = json!({ "epoch": epoch, "replaces": replaces, "text": words(&study) });
            let saved = self.client.must(Method::PUT, &path, Some(&save)).await?;
            let sign = json!({
                "epoch": epoch, "draft_revision": saved["revision"], "study_revision": study["revision"],
                "kind": "final", "pin": self.pin,
            });
            match self.act(&format!("/api/v1/worklist/{item}/sign"), &sign).await? {
                Step::Done => return Ok(()),
                Step::Again => {}
            }
        }
        bail!("the study kept changing")
    }

    async fn act(&self, path: &str, body: &Value) -> anyhow::Result<Step> {
        let reply = self.client.send(Method::POST, path, Some(body)).await?;
        match reply.code().as_str() {
            _ if reply.status.is_success() => Ok(Step::Done),
            "STATE_CONFLICT" | "CLAIM_HELD" => Ok(Step::Again),
            _ => bail!("{path}: {} {}", reply.status, String::from_utf8_lossy(&reply.body)),
        }
    }

    async fn awaiting_audit(&self) -> anyhow::Result<Vec<i64>> {
        let list = self.client.get("/api/v1/worklist?states=signed&limit=200").await?;
        let rows = list["items"].as_array().cloned().unwrap_or_default();
        let mine = |row: &Value| {
            // What one signature finishes is of kind final, and nothing is left to do.
            row["lease"].is_null()
                && row["author"] != self.login.as_str()
                && row["report"]["kind"] == "preliminary"
        };
        Ok(rows
            .iter()
            .filter(|row| mine(row))
            .filter_map(|row| row["id"].as_i64())
            .filter(|id| !self.given_up(*id))
            .collect())
    }

    async fn audit_one(&self, item: i64) -> anyhow::Result<()> {
        let reply = self.client.send(Method::POST, &format!("/api/v1/worklist/{item}/claim"), None).await?;
        if !reply.status.is_success() {
            if reply.code() == "CLAIM_HELD" || reply.code() == "STATE_CONFLICT" {
                return Ok(());
            }
            bail!("claim: {} {}", reply.status, String::from_utf8_lossy(&reply.body));
        }
        let epoch = reply.json()?["lease"]["epoch"].clone();
        let study = self.study(item).await?;
        let audit = json!({
            "epoch": epoch, "draft_revision": 0, "study_revision": study["revision"], "kind": "final", "pin": self.pin,
        });
        self.act(&format!("/api/v1/worklist/{item}/audit"), &audit).await.map(drop)
    }
}

/// A plain report for the study.
fn words(study: &Value) -> Value {
    if study["row"]["kind"] == "ecg" {
        return json!({
            "findings": "窦性心律，心率在正常范围。P波、PR间期、QRS波群未见明显异常。", "impression": "演示用心电图：请结合临床。",
            "advice": "", "result": "undetermined", "ecg_class": "borderline",
        });
    }
    let item = study["row"]["item"].as_str().unwrap_or_default();
    let part = if item.is_empty() { "摄片部位" } else { item };
    json!({
        "findings": format!("{part}：影像质量符合诊断要求，未见明确骨质异常及软组织肿胀。"),
        "impression": "演示用影像：未见明显异常。", "advice": "必要时复查。", "result": "negative", "ecg_class": "",
    })
}
