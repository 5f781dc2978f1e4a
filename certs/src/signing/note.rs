//! Notes from the clinic (opened, read back, acted upon), signed by the device key: the key of the agent's certificate.
//! The person stands for it by his PIN at the clinic; the device by its key; together they are the event.
//!
//! Raw ECDSA P-256/SHA-256 over `purpose ‖ 0x00 ‖ canonical JSON`: the purpose keeps these signatures apart from
//! everything else the key signs (a TLS 1.3 signature begins with 64 spaces).

use relay_core::ids::ClinicId;
use relay_core::letter::{Note, NoteBody, PURPOSE_NOTE};
use relay_core::limits::MAX_NOTE_BYTES;
use relay_core::report::canonical_json;
use rustls_pki_types::CertificateDer;

use crate::certificate::{self, CertificateError, PeerIdentity};
use crate::keys::{PrivateKey, verify_p256};

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
            Self::Certificate(_) => "回执所用的机构证书无效",
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
    Ok(Note { id: body.id.clone(), kind: body.kind, body: bytes, signature })
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
    use relay_core::clock::UtcMs;
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
