//! A doctor's single steps through the county's API, for tests that tell a story.

use super::county::{County, Login};
use super::http::{Client, Reply};
use super::wait::{Look, until};
use anyhow::{Context as _, ensure};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// A study is on the list this soon after it is safe at the county.
const LISTED_DEADLINE: Duration = Duration::from_secs(30);

/// A doctor with a session and a signing key.
#[derive(Debug, Clone)]
pub struct Doctor {
    /// The session.
    pub client: Client,
    /// PIN of the key.
    pub pin: String,
}

impl Doctor {
    /// Logs in.
    ///
    /// # Errors
    /// When the county refuses, or the person has no key.
    pub async fn log_in(county: &County, login: &Login) -> anyhow::Result<Self> {
        let pin = login.pin.clone().with_context(|| format!("{} has no PIN", login.login))?;
        Ok(Self { client: county.log_in(login).await?, pin })
    }

    /// The same person, session and key after the county has moved to another port.
    #[must_use]
    pub fn moved(&self, address: std::net::SocketAddr) -> Self {
        Self { client: self.client.moved(address), pin: self.pin.clone() }
    }

    /// The study as the county has it.
    ///
    /// # Errors
    /// When it is not there for this person.
    pub async fn study(&self, clinic: &str, uid: &str) -> anyhow::Result<Value> {
        self.client.get(&format!("/api/v1/studies/{clinic}/{uid}")).await
    }

    /// The study when `is_so` holds for it.
    ///
    /// # Errors
    /// After `deadline`, with the row as it stood.
    pub async fn study_when(
        &self,
        clinic: &str,
        uid: &str,
        what: &str,
        deadline: Duration,
        is_so: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let path = format!("/api/v1/studies/{clinic}/{uid}");
        until(what, deadline, async || {
            let reply = self.client.send(Method::GET, &path, None).await?;
            let study = reply.json()?;
            let good = reply.status.is_success() && is_so(&study);
            Ok(if good {
                Look::There(study)
            } else {
                Look::NotYet(format!("{} {}", reply.status, study["row"]))
            })
        })
        .await
    }

    /// The study when it is complete and all of it is here.
    ///
    /// # Errors
    /// When it does not become so.
    pub async fn whole_study(&self, clinic: &str, uid: &str) -> anyhow::Result<Value> {
        let whole = |study: &Value| study["row"]["completeness"] == "complete" && study["missing"] == 0;
        self.study_when(clinic, uid, "the study to be whole", LISTED_DEADLINE, whole).await
    }

    /// Claims a work item.
    ///
    /// # Errors
    /// When nothing answers; a refusal is an answer.
    pub async fn claim(&self, item: i64) -> anyhow::Result<Reply> {
        self.client.send(Method::POST, &format!("/api/v1/worklist/{item}/claim"), None).await
    }

    /// Claims, writes and signs as author; gives what the county answered to the signature.
    ///
    /// # Errors
    /// When a step before the signature is refused.
    pub async fn report(&self, study: &Value, impression: &str) -> anyhow::Result<Reply> {
        let item = item_of(study)?;
        let claimed = self.claim(item).await?;
        ensure!(claimed.status.is_success(), "claim: {}", String::from_utf8_lossy(&claimed.body));
        let epoch = claimed.json()?["lease"]["epoch"].clone();
        let ecg = study["row"]["kind"] == "ecg";
        let text = json!({
            "findings": "所见如常。", "impression": impression, "advice": "", "result": "negative",
            "ecg_class": if ecg { "normal" } else { "" },
        });
        let save = json!({ "epoch": epoch, "replaces": 0, "text": text });
        let saved =
            self.client.must(Method::PUT, &format!("/api/v1/worklist/{item}/draft"), Some(&save)).await?;
        let sign = json!({
            "epoch": epoch, "draft_revision": saved["revision"], "study_revision": study["revision"],
            "kind": "final", "pin": self.pin,
        });
        self.client.send(Method::POST, &format!("/api/v1/worklist/{item}/sign"), Some(&sign)).await
    }

    /// Claims and signs as second person; gives the first refusal, or what the signature gave.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn audit(&self, study: &Value) -> anyhow::Result<Reply> {
        let item = item_of(study)?;
        let claimed = self.claim(item).await?;
        if !claimed.status.is_success() {
            return Ok(claimed);
        }
        let audit = json!({
            "epoch": claimed.json()?["lease"]["epoch"], "draft_revision": 0, "study_revision": study["revision"],
            "kind": "final", "pin": self.pin,
        });
        self.client.send(Method::POST, &format!("/api/v1/worklist/{item}/audit"), Some(&audit)).await
    }

    /// One part of a signed version, byte for byte.
    ///
    /// # Errors
    /// When there is none.
    pub async fn part(&self, report: &str, version: u64, part: &str) -> anyhow::Result<Vec<u8>> {
        let path = format!("/api/v1/reports/{report}/versions/{version}/{part}");
        let reply = self.client.send(Method::GET, &path, None).await?;
        ensure!(reply.status.is_success(), "{path}: {}", reply.status);
        Ok(reply.body.to_vec())
    }
}

/// The work item of a study.
///
/// # Errors
/// When the answer names none.
pub fn item_of(study: &Value) -> anyhow::Result<i64> {
    study["row"]["id"].as_i64().context("the study has no work item")
}
