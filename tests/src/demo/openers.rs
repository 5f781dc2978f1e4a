//! The clinics' people, scripted: they open every report that has come back, by name and PIN.

use super::cast::Staff;
use crate::lab::clinic::{self, Clinic};
use crate::lab::http::Client;
use relay_core::ids::Sha256;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks at the clinic's page.
const LOOK: Duration = Duration::from_millis(200);

/// SHA-256 of the PDF that was shown, or why nothing was shown, by report id and version.
pub(super) type Shown = Arc<Mutex<BTreeMap<(String, u32), Result<Sha256, String>>>>;

/// A person at a clinic.
#[derive(Debug)]
pub(super) struct Opener {
    api: Client,
    staff: Staff,
    shown: Shown,
}

impl Opener {
    /// A person at this clinic.
    ///
    /// # Errors
    /// When the agent does not run.
    pub(super) fn new(clinic: &Clinic, staff: Staff, shown: Shown) -> anyhow::Result<Self> {
        Ok(Self { api: clinic.api()?, staff, shown })
    }

    /// Opens until told to stop.
    pub(super) async fn open_all(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.look().await {
                tracing::warn!("{error:#}");
            }
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(LOOK) => {} }
        }
    }

    async fn look(&self) -> anyhow::Result<()> {
        for report in clinic::overview(&self.api).await?.reports {
            let key = (report.report_id.to_string(), report.version);
            if report.superseded
                || self.shown.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key)
            {
                continue;
            }
            let opened =
                clinic::open_report(&self.api, report.letter.as_str(), &self.staff.name, &self.staff.pin)
                    .await;
            let told = opened.map(|pdf| Sha256::of(&pdf)).map_err(|error| format!("{error:#}"));
            if let Err(reason) = &told {
                tracing::warn!(report = %report.report_id, version = report.version, "{reason}");
            }
            self.shown.lock().unwrap_or_else(PoisonError::into_inner).insert(key, told);
        }
        Ok(())
    }
}
