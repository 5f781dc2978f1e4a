//! Notes from the clinic (opened, read back, acted upon), signed by the device key: the key of the agent's certificate.
//! The person stands for it by his PIN at the clinic; the device by its key; together they are the event.
//!
//! Raw ECDSA P-256/SHA-256 over `purpose ‖ 0x00 ‖ canonical JSON`: the purpose keeps these signatures apart from
//! everything else the key signs (a TLS 1.3 signature begins with 64 spaces).

use relay_core::clock::{DAY_MS, UtcMs};
use relay_core::ids::ClinicId;
use relay_core::letter::{Note, NoteBody, PURPOSE_NOTE};
use relay_core::limits::MAX_NOTE_BYTES;
use relay_core::report::canonical_json;
use rustls_pki_types::CertificateDer;

use crate::authority::RevocationReason;
use crate::certificate::{self, CertificateError, PeerIdentity};
use crate::keys::{PrivateKey, verify_p256};
use crate::serial::Serial;
use crate::trust::TrustStore;

/// A device whose clock is behind may write its first notes before its certificate began.
const CLOCK_TOLERANCE_MS: i64 = DAY_MS;

/// Why a note is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Longer than a note may be.
    #[error("the note has {0} bytes, at most {MAX_NOTE_BYTES} are lawful")]
    TooLong(usize),
    /// The body is not canonical JSON of a note.
    #[error("the note's body cannot be read: {0}")]
    Body(String),
    /// The signature is not by the device.
    #[error("the note's signature is not by the key of the clinic's certificate")]
    Signature,
    /// A field does not say what it must.
    #[error("field {field} of the note is {found}, expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The device's certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificate beside the note is not from the county CA, or not one for a clinic's device.
    #[error("the certificate beside the note is not from this county's CA for a clinic's device")]
    UnknownCa,
    /// The certificate was not valid when the note was written.
    #[error("written {}, but the certificate is valid from {} to {}", at.to_rfc3339(), not_before.to_rfc3339(), not_after.to_rfc3339())]
    Expired {
        /// When the note was written.
        at: UtcMs,
        /// Start of validity.
        not_before: UtcMs,
        /// End of validity.
        not_after: UtcMs,
    },
    /// The certificate was revoked before the note was written, or its key is compromised.
    #[error("the certificate {serial} was revoked {}", at.to_rfc3339())]
    Revoked {
        /// Which certificate.
        serial: Serial,
        /// When it was revoked.
        at: UtcMs,
    },
}

impl NoteError {
    /// What a Chinese user is told.
    #[must_use]
    pub const fn zh(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "回执超过长度上限",
            Self::Body(_) => "回执内容无法解析",
            Self::Signature => "回执签名无效",
            Self::Field { .. } => "回执内容与其标识不符",
            Self::Certificate(_) | Self::UnknownCa => "回执所用的机构证书无效",
            Self::Expired { .. } => "签署回执时机构证书不在有效期内",
            Self::Revoked { .. } => "回执所用的机构证书已吊销",
        }
    }
}

fn to_be_signed(body: &[u8]) -> Vec<u8> {
    [PURPOSE_NOTE.as_bytes(), &[0], body].concat()
}

/// Signs a note with the agent's key.
///
/// # Errors
/// [`NoteError`] when the body has another purpose, or is too long.
pub fn sign_note(key: &PrivateKey, body: &NoteBody) -> Result<Note, NoteError> {
    expect("purpose", PURPOSE_NOTE, &body.purpose)?;
    let bytes = canonical_json(body).map_err(|e| NoteError::Body(e.to_string()))?;
    if bytes.len() > MAX_NOTE_BYTES {
        return Err(NoteError::TooLong(bytes.len()));
    }
    let signature = key.sign(&to_be_signed(&bytes));
    Ok(Note { id: body.id.clone(), kind: body.kind, body: bytes, signature, certificate: Vec::new() })
}

/// Verifies a note against the certificate of the connection it came by. The certificate's chain and revocation were
/// checked by that connection; keep the certificate with the event, so that the note can be verified again later.
///
/// # Errors
/// [`NoteError`].
pub fn verify_note(
    note: &Note,
    device: &CertificateDer<'_>,
    expect_clinic: &ClinicId,
) -> Result<NoteBody, NoteError> {
    if note.body.len() > MAX_NOTE_BYTES {
        return Err(NoteError::TooLong(note.body.len()));
    }
    let clinic = PeerIdentity::from_certificate(device)?.clinic;
    expect("clinic of the certificate", expect_clinic.as_str(), clinic.as_str())?;
    let parsed = certificate::parse(device)?;
    if !verify_p256(parsed.public_key().raw, &to_be_signed(&note.body), &note.signature) {
        return Err(NoteError::Signature);
    }
    let body: NoteBody = serde_json::from_slice(&note.body).map_err(|e| NoteError::Body(e.to_string()))?;
    if canonical_json(&body).ok().as_deref() != Some(&note.body[..]) {
        return Err(NoteError::Body("not in canonical form (RFC 8785)".to_owned()));
    }
    expect("purpose", PURPOSE_NOTE, &body.purpose)?;
    expect("clinic", expect_clinic.as_str(), body.clinic.as_str())?;
    expect("id", note.id.as_str(), body.id.as_str())?;
    if note.kind != body.kind {
        return Err(NoteError::Field {
            field: "kind",
            expected: format!("{:?}", note.kind),
            found: format!("{:?}", body.kind),
        });
    }
    Ok(body)
}

/// Verifies a note against the certificate that travels with it: a device may have a newer one by the time its note
/// arrives. The certificate must be the county CA's, name the clinic, have been valid when the note was written, and not
/// be revoked for it: after a compromise nothing counts, for other reasons what was written before does.
///
/// # Errors
/// [`NoteError`].
pub fn verify_note_by_its_certificate(
    note: &Note,
    trust: &TrustStore,
    expect_clinic: &ClinicId,
) -> Result<NoteBody, NoteError> {
    let device = CertificateDer::from(note.certificate.as_slice());
    let leaf = certificate::parse(&device)?;
    let ca = certificate::parse(trust.ca())?;
    let issued = leaf.issuer().as_raw() == ca.subject().as_raw()
        && leaf.verify_signature(Some(ca.public_key())).is_ok();
    if !issued || leaf.is_ca() {
        return Err(NoteError::UnknownCa);
    }
    let body = verify_note(note, &device, expect_clinic)?;
    let (not_before, not_after) = (certificate::not_before(&leaf), certificate::not_after(&leaf));
    if body.at < not_before.plus_ms(-CLOCK_TOLERANCE_MS) || body.at > not_after {
        return Err(NoteError::Expired { at: body.at, not_before, not_after });
    }
    let serial = PeerIdentity::from_certificate(&device)?.serial;
    if let Some(entry) = trust.revocations().and_then(|list| list.entry(&serial)) {
        let compromised =
            matches!(entry.reason, RevocationReason::KeyCompromise | RevocationReason::Unspecified);
        if compromised || body.at >= entry.at {
            return Err(NoteError::Revoked { serial, at: entry.at });
        }
    }
    Ok(body)
}

fn expect(field: &'static str, expected: &str, found: &str) -> Result<(), NoteError> {
    if expected == found {
        return Ok(());
    }
    Err(NoteError::Field { field, expected: expected.to_owned(), found: found.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestCounty;
    use relay_core::ids::{LetterId, NoteId, StudyUid};
    use relay_core::letter::{NoteKind, PURPOSE_NOTE};

    const NOW: UtcMs = UtcMs(1_790_000_000_123);

    struct Scene {
        _dir: tempfile::TempDir,
        county: TestCounty,
        clinic: ClinicId,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let county = TestCounty::new(dir.path(), 31, NOW);
            Self { _dir: dir, county, clinic: ClinicId::parse("shilipu").unwrap() }
        }
    }

    fn note_body() -> NoteBody {
        NoteBody {
            purpose: PURPOSE_NOTE.to_owned(),
            id: NoteId::parse("n-1").unwrap(),
            kind: NoteKind::ReportOpened,
            clinic: ClinicId::parse("shilipu").unwrap(),
            study: StudyUid::parse("1.2.3").unwrap(),
            letter: Some(LetterId::parse("l-1").unwrap()),
            report: Some(("r-1".parse().unwrap(), 1)),
            person: "王医生".to_owned(),
            text: None,
            at: NOW,
        }
    }

    #[test]
    fn a_note_signed_by_the_device_verifies_and_nothing_in_it_can_change() {
        let mut scene = Scene::new();
        let (agent, other) = (scene.county.agent("shilipu"), scene.county.agent("shilipu"));
        let note = sign_note(&agent.key, &note_body()).unwrap();
        let check = |note: &relay_core::letter::Note| verify_note(note, &agent.chain[0], &scene.clinic);
        assert_eq!(check(&note).unwrap(), note_body());
        for at in 0..note.body.len() {
            let mut changed = note.clone();
            changed.body[at] ^= 1;
            assert_eq!(check(&changed), Err(NoteError::Signature));
        }
        for at in 0..note.signature.len() {
            let mut changed = note.clone();
            changed.signature[at] ^= 1;
            assert_eq!(check(&changed), Err(NoteError::Signature));
        }
        let mut renamed = note.clone();
        renamed.id = NoteId::parse("n-2").unwrap();
        assert!(matches!(check(&renamed), Err(NoteError::Field { field: "id", .. })));
        let mut other_kind = note.clone();
        other_kind.kind = NoteKind::CriticalReadBack;
        assert!(matches!(check(&other_kind), Err(NoteError::Field { field: "kind", .. })));
        assert_eq!(verify_note(&note, &other.chain[0], &scene.clinic), Err(NoteError::Signature));
    }

    #[test]
    fn a_note_written_under_an_older_certificate_of_the_clinic_still_counts() {
        let mut scene = Scene::new();
        let older = scene.county.agent("shilipu");
        let carry = |body: &NoteBody, agent: &crate::trust::TlsIdentity| {
            let note = sign_note(&agent.key, body).unwrap();
            Note { certificate: agent.chain[0].to_vec(), ..note }
        };
        let trust = TrustStore::new(scene.county.authority.ca_certificate().clone());
        let note = carry(&note_body(), &older);
        let verify = |note: &Note| verify_note_by_its_certificate(note, &trust, &scene.clinic);
        assert_eq!(verify(&note), Ok(note_body()));
        let late = NoteBody { at: NOW.plus_ms(100 * 366 * DAY_MS), ..note_body() };
        assert!(matches!(verify(&carry(&late, &older)), Err(NoteError::Expired { .. })));
        let swapped = Note { certificate: scene.county.authority.ca_certificate().to_vec(), ..note };
        assert!(verify(&swapped).is_err());
    }

    #[test]
    fn a_note_for_another_clinic_or_purpose_is_refused() {
        let mut scene = Scene::new();
        let agent = scene.county.agent("shilipu");
        let foreign = NoteBody { clinic: ClinicId::parse("other").unwrap(), ..note_body() };
        let note = sign_note(&agent.key, &foreign).unwrap();
        let refused = verify_note(&note, &agent.chain[0], &scene.clinic);
        assert!(matches!(refused, Err(NoteError::Field { field: "clinic", .. })));
        let purpose = NoteBody { purpose: "relay report v1".to_owned(), ..note_body() };
        assert!(matches!(sign_note(&agent.key, &purpose), Err(NoteError::Field { field: "purpose", .. })));
        let long = NoteBody { text: Some("长".repeat(10_000)), ..note_body() };
        assert!(matches!(sign_note(&agent.key, &long), Err(NoteError::TooLong(_))));
    }
}
