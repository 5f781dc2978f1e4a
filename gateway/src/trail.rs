//! The county's own answers to the ports of its neighbours: audit trail for the desk, judge of notes, reception of clinics.

use crate::audit::{self, Entry};
use crate::desk::AuditTrail;
use crate::link::Reception;
use crate::reports::CountyTrust;
use crate::returns::NoteJudge;
use crate::store::{Columns, Store, StoreError};
use async_trait::async_trait;
use relay_certs::signing::{NoteError, verify_note, verify_note_by_its_certificate};
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

/// Verifies notes by the certificate that travels with them, which the county's CA must have issued to the clinic; without
/// one, by that of their connection.
#[derive(Debug, Clone)]
pub struct CertificateJudge(pub CountyTrust);

impl NoteJudge for CertificateJudge {
    fn judge(&self, note: &Note, device_certificate: &[u8], clinic: &ClinicId) -> Result<NoteBody, Refusal> {
        let own = note.certificate.is_empty() || note.certificate == device_certificate;
        let judged = if own {
            verify_note(note, &CertificateDer::from(device_certificate), clinic)
        } else {
            verify_note_by_its_certificate(note, &self.0.now()?.0, clinic)
        };
        judged.map_err(|error| {
            let code = match &error {
                NoteError::TooLong(_) => Code::RefusedTooLarge,
                NoteError::Certificate(_) | NoteError::UnknownCa => Code::CertificateUnknownCa,
                NoteError::Expired { .. } => Code::CertificateExpired,
                NoteError::Revoked { .. } => Code::CertificateRevoked,
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
        let store = crate::store::name(&mut tx).await?;
        let Some(row) = row else {
            let (clinic_name, duty_phone) = (clinic.to_string(), self.duty_phone.clone());
            return Ok(Greeting { clinic_name, duty_phone, store });
        };
        let c = Columns::of(&row, "clinic", clinic.as_str());
        if c.time_or_none("disabled_at")?.is_some() {
            return Err(closed());
        }
        let own: Option<String> = c.get("duty_phone")?;
        let duty_phone = own.or_else(|| self.duty_phone.clone());
        Ok(Greeting { clinic_name: c.get("name")?, duty_phone, store })
    }

    async fn still_welcome(&self, clinic: &ClinicId) -> Result<(), Refusal> {
        let mut tx = self.store.read().await?;
        let closed_now: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM clinic WHERE id = $1 AND disabled_at IS NOT NULL")
                .bind(clinic.as_str())
                .fetch_optional(&mut *tx)
                .await
                .map_err(StoreError::database("find a clinic"))?;
        if closed_now.is_some() { Err(closed()) } else { Ok(()) }
    }
}

fn closed() -> Refusal {
    Refusal::new(Code::Forbidden, "clinic", "the county has closed this clinic's account")
}
