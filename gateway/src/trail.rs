//! The county's own answers to the ports of its neighbours: audit trail for the desk, judge of notes, reception of clinics.

use crate::audit::{self, Entry};
use crate::desk::AuditTrail;
use crate::link::Reception;
use crate::returns::NoteJudge;
use crate::store::{Columns, Store, StoreError};
use async_trait::async_trait;
use relay_certs::signing::{NoteError, verify_note};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::ClinicId;
use relay_core::letter::{Note, NoteBody};
use relay_core::link::frame::Hello;
use relay_core::link::gateway::Greeting;
use rustls_pki_types::CertificateDer;

/// Writes the desk's lines into the chained log.
#[derive(Debug, Clone)]
pub struct StoreTrail(pub Store);

#[async_trait]
impl AuditTrail for StoreTrail {
    async fn record(&self, who: &str, action: &str, subject: &str, allowed: bool, now: UtcMs) {
        let entry = Entry {
            at: now,
            who: who.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            allowed,
            detail: String::new(),
        };
        if let Err(error) = audit::record(&self.0, entry).await {
            metrics::counter!("relay_audit_lost_total").increment(1);
            tracing::error!(
                who,
                action,
                subject,
                allowed,
                error = &error as &dyn std::error::Error,
                "audit line lost"
            );
        }
    }
}

/// Verifies notes by the certificate of their connection.
#[derive(Debug, Clone, Copy)]
pub struct CertificateJudge;

impl NoteJudge for CertificateJudge {
    fn judge(&self, note: &Note, device_certificate: &[u8], clinic: &ClinicId) -> Result<NoteBody, Refusal> {
        verify_note(note, &CertificateDer::from(device_certificate), clinic).map_err(|error| {
            let code = match &error {
                NoteError::TooLong(_) => Code::RefusedTooLarge,
                NoteError::Certificate(_) => Code::CertificateUnknownCa,
                _ => Code::FieldInvalid,
            };
            Refusal::new(code, "note", error.to_string())
        })
    }
}

/// Greets clinics with the name the county knows them by.
#[derive(Debug, Clone)]
pub struct FrontDesk {
    /// Where clinics are listed.
    pub store: Store,
    /// The county's duty telephone, unless the clinic has one of its own.
    pub duty_phone: Option<String>,
}

#[async_trait]
impl Reception for FrontDesk {
    async fn greet(&self, clinic: &ClinicId, _hello: &Hello, _now: UtcMs) -> Result<Greeting, Refusal> {
        let mut tx = self.store.read().await?;
        let row = sqlx::query("SELECT name, duty_phone, disabled_at FROM clinic WHERE id = $1")
            .bind(clinic.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(StoreError::database("find a clinic"))?;
        let Some(row) = row else {
            return Ok(Greeting { clinic_name: clinic.to_string(), duty_phone: self.duty_phone.clone() });
        };
        let c = Columns::of(&row, "clinic", clinic.as_str());
        if c.time_or_none("disabled_at")?.is_some() {
            return Err(Refusal::new(
                Code::Forbidden,
                "clinic",
                "the county has closed this clinic's account",
            ));
        }
        let own: Option<String> = c.get("duty_phone")?;
        Ok(Greeting { clinic_name: c.get("name")?, duty_phone: own.or_else(|| self.duty_phone.clone()) })
    }
}
