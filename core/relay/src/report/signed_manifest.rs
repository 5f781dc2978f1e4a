//! The manifest that doctors sign: it binds purpose, identity, version, revision, content and appearance, so that
//! nothing can be mixed, replayed or rolled back. Its bytes are JSON in RFC 8785 form.

use crate::clock::UtcMs;
use crate::ids::{ClinicId, PersonId, ReportId, Sha256, StudyUid};
use crate::study::{StudyRevision, words};

words! {
    /// What a report version is.
    ReportKind {
        /// 临时: the author's signature alone; X-ray before audit.
        Preliminary = 1, "preliminary", "临时";
        /// 最终: with the signatures that policy asks for.
        Final = 2, "final", "最终";
        /// 补充: adds to a final report.
        Addendum = 3, "addendum", "补充";
        /// 更正: replaces a final report.
        Correction = 4, "correction", "更正";
    }
}

/// Purpose of an author's signature over a report.
pub const PURPOSE_REPORT: &str = "relay report v1";
/// Purpose of a reviewer's signature over a report and its author's signature.
pub const PURPOSE_REVIEW: &str = "relay report review v1";
/// Purpose of a clinician's signature over a treatment plan.
pub const PURPOSE_PLAN: &str = "relay treatment plan v1";

/// What the author signs. Canonical bytes: [`canonical_json`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedManifest {
    /// [`PURPOSE_REPORT`] or [`PURPOSE_PLAN`].
    pub purpose: String,
    /// The report (or plan), over all its versions.
    pub report_id: ReportId,
    /// Counts from 1 within the report, over all kinds.
    pub version: u32,
    /// The number that paper shows and people are told: preliminary versions count apart from final ones and what follows.
    pub paper_version: u32,
    /// Version that this one replaces or adds to; `None` for the first.
    pub previous: Option<u32>,
    /// Preliminary, final, addendum or correction.
    pub kind: ReportKind,
    /// The clinic it is addressed to.
    pub clinic: ClinicId,
    /// The study it reads.
    pub study_uid: StudyUid,
    /// The set of objects it has read.
    pub study_revision: StudyRevision,
    /// SHA-256 of `report.json`.
    pub json_sha256: Sha256,
    /// SHA-256 of `report.pdf`.
    pub pdf_sha256: Sha256,
    /// Who signs as author.
    pub author: PersonId,
    /// Signatures that policy asks for until the report is final: 1 = author alone, 2 = author and reviewer. A preliminary
    /// version is valid with the author's alone.
    pub required_signatures: u8,
    /// True when the signing key is a demonstration key without third-party CA.
    pub demo_signature: bool,
    /// When the author signed.
    pub signed_at: UtcMs,
}

/// What the reviewer signs: the version that he releases, and the author's version that it is built on.
///
/// The second person's name and time stand on the released paper, and he may change words; so the released version has
/// content and appearance of its own, which the author cannot have signed. A reviewed package therefore holds
/// `report.json` and `report.pdf` of *this* manifest; the author's [`SignedManifest`] and CMS go with it as evidence of
/// the version he signed (its own `json_sha256`/`pdf_sha256` are those of the earlier package, which the clinic has).
/// A verifier checks: both CMS; `json_sha256`/`pdf_sha256` here against the package; `manifest_sha256` and
/// `author_cms_sha256` against the author's parts; report id, clinic, study equal in both; `version` greater than the
/// author's and `previous` equal to the author's version; reviewer ≠ author.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewManifest {
    /// [`PURPOSE_REVIEW`].
    pub purpose: String,
    /// Same report as the author's manifest.
    pub report_id: ReportId,
    /// The released version, greater than the author's.
    pub version: u32,
    /// The number that paper shows and people are told.
    pub paper_version: u32,
    /// The author's version that was audited.
    pub previous: u32,
    /// Final, correction or addendum.
    pub kind: ReportKind,
    /// Same clinic as the author's manifest.
    pub clinic: ClinicId,
    /// Same study as the author's manifest.
    pub study_uid: StudyUid,
    /// The set of objects it has read.
    pub study_revision: StudyRevision,
    /// SHA-256 of the released `report.json`.
    pub json_sha256: Sha256,
    /// SHA-256 of the released `report.pdf`.
    pub pdf_sha256: Sha256,
    /// True when the reviewer changed words; then the report names both.
    pub words_changed: bool,
    /// SHA-256 of the canonical bytes of the author's [`SignedManifest`].
    pub manifest_sha256: Sha256,
    /// SHA-256 of the author's CMS.
    pub author_cms_sha256: Sha256,
    /// Who signs as reviewer.
    pub reviewer: PersonId,
    /// True when the reviewer's key is a demonstration key.
    pub demo_signature: bool,
    /// When the reviewer signed.
    pub signed_at: UtcMs,
}

/// Bytes that are not the canonical form of the expected manifest.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// Not JSON, or fields missing or unknown.
    #[error("not the expected manifest")]
    Json(#[from] serde_json::Error),
    /// JSON of the right shape, but not in canonical form.
    #[error("not in canonical form (RFC 8785)")]
    NotCanonical,
}

/// RFC 8785 bytes of a value whose keys are ASCII and whose numbers are integers below 2^53: then sorting keys and
/// writing without white space is the whole of the canonical form.
///
/// # Errors
/// [`CanonicalError::Json`] when the value does not serialise.
pub fn canonical_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let mut value = serde_json::to_value(value)?;
    // A dependency may switch `serde_json/preserve_order` on for the whole binary (dicom-json does in the gateway): then
    // maps keep the order of the struct, and the two ends would disagree about the canonical form.
    value.sort_all_objects();
    Ok(serde_json::to_vec(&value)?)
}

fn parse_canonical<T: serde::Serialize + serde::de::DeserializeOwned>(
    bytes: &[u8],
) -> Result<T, CanonicalError> {
    let value: T = serde_json::from_slice(bytes)?;
    if canonical_json(&value)? == bytes { Ok(value) } else { Err(CanonicalError::NotCanonical) }
}

impl SignedManifest {
    /// Parses canonical bytes; anything that would serialise differently is refused.
    ///
    /// # Errors
    /// [`CanonicalError`].
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, CanonicalError> {
        parse_canonical(bytes)
    }
}

impl ReviewManifest {
    /// Parses canonical bytes; anything that would serialise differently is refused.
    ///
    /// # Errors
    /// [`CanonicalError`].
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, CanonicalError> {
        parse_canonical(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ObjectHash;

    fn manifest() -> SignedManifest {
        SignedManifest {
            purpose: PURPOSE_REPORT.into(),
            report_id: ReportId::parse("r-1").unwrap(),
            version: 1,
            paper_version: 1,
            previous: None,
            kind: ReportKind::Final,
            clinic: ClinicId::parse("shilipu").unwrap(),
            study_uid: StudyUid::parse("1.2.3").unwrap(),
            study_revision: StudyRevision::of([ObjectHash::of(b"a")]),
            json_sha256: Sha256::of(b"j"),
            pdf_sha256: Sha256::of(b"p"),
            author: PersonId::parse("d1").unwrap(),
            required_signatures: 2,
            demo_signature: true,
            signed_at: UtcMs(1_700_000_000_000),
        }
    }

    #[test]
    fn the_canonical_form_has_sorted_keys_and_round_trips() {
        let bytes = canonical_json(&manifest()).unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.starts_with(r#"{"author":"d1","clinic":"shilipu","demo_signature":true,"#), "{text}");
        assert_eq!(SignedManifest::from_canonical(&bytes).unwrap(), manifest());
    }

    #[test]
    fn white_space_or_another_field_is_not_canonical() {
        let bytes = canonical_json(&manifest()).unwrap();
        let mut spaced = bytes.clone();
        spaced.insert(1, b' ');
        assert!(matches!(SignedManifest::from_canonical(&spaced), Err(CanonicalError::NotCanonical)));
        let extra = String::from_utf8(bytes).unwrap().replacen('{', r#"{"aa":1,"#, 1);
        assert!(matches!(SignedManifest::from_canonical(extra.as_bytes()), Err(CanonicalError::Json(_))));
    }
}
