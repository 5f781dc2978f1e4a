//! What author and reviewer share: printing, sealing, and proving a package before it may leave.

use super::content::{Site, StudyFacts, Wanted, content};
use super::files::FileFacts;
use super::pin::PinGate;
use super::proof::Proofs;
use super::signer::CountyTrust;
use crate::whole::Whole;
use relay_certs::signing::{SignError, VerifiedReport, verify_report};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::durable::BlobStore;
use relay_core::ids::{ClinicId, PersonId, ReportId, Sha256};
use relay_core::report::{ReportKind, ReportPackage};
use relay_core::sla::SlaPolicy;
use relay_core::study::StudyRevision;
use relay_report::Fonts;
use std::sync::Arc;
use viewer_api::desk::{DraftText, SignRequest};

/// What signing needs besides the store.
#[derive(Clone)]
pub struct Press {
    /// The hospital.
    pub site: Site,
    /// Fonts for paper.
    pub fonts: Arc<Fonts>,
    /// Where signers come from.
    pub signers: PinGate,
    /// Policy.
    pub policy: Arc<SlaPolicy>,
    /// Whose signatures count.
    pub trust: CountyTrust,
    /// Objects that were proven.
    pub whole: Whole,
    /// Versions that were proven.
    pub proofs: Proofs,
}

impl std::fmt::Debug for Press {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Press").field("site", &self.site).finish_non_exhaustive()
    }
}

/// A version that is sealed but not yet released.
pub(super) struct Pressed {
    /// The package, encoded.
    pub(super) bytes: Vec<u8>,
    pub(super) demo: bool,
    pub(super) kind: ReportKind,
    /// What it is, or becomes under the second signature.
    pub(super) becomes: ReportKind,
    pub(super) version: u32,
    pub(super) previous: Option<u32>,
    pub(super) signed_at: UtcMs,
    pub(super) text: DraftText,
    pub(super) required: u8,
    pub(super) reason: Option<String>,
    pub(super) revision: StudyRevision,
    pub(super) objects: (u32, u32),
    /// Author's id and name; reviewer's id and name.
    pub(super) author: (PersonId, String),
    pub(super) reviewer: Option<(PersonId, String)>,
    pub(super) author_signed_at: UtcMs,
}

/// Content and appearance of a version, as they are signed.
pub(super) struct Printed {
    pub(super) json: Vec<u8>,
    pub(super) pdf: Vec<u8>,
    pub(super) json_sha256: Sha256,
    pub(super) pdf_sha256: Sha256,
}

impl Press {
    /// Writes content and paper.
    /// Blocks: reads the study's files.
    pub(super) fn print(
        &self,
        facts: &StudyFacts,
        wanted: &Wanted<'_>,
        blobs: &BlobStore,
    ) -> Result<Printed, Refusal> {
        let invalid = |e: &dyn std::fmt::Display| Refusal::new(Code::FieldInvalid, "report", e.to_string());
        let files = FileFacts::read(blobs, &facts.sources);
        let content = content(&self.site, facts, wanted, &files)?;
        let json = relay_report::canonical_json(&content).map_err(|e| invalid(&e))?;
        let drawing = files.drawing.as_ref().filter(|_| content.exam_kind == relay_report::ExamKind::Ecg);
        let pdf =
            relay_report::render_pdf_with(&content, drawing, &self.fonts).map_err(|e| invalid(&e))?.bytes;
        Ok(Printed { json_sha256: Sha256::of(&json), pdf_sha256: Sha256::of(&pdf), json, pdf })
    }

    /// Puts the newest revocation list into the package and verifies it as the clinic will: what does not verify here
    /// never leaves. A doctor whose certificate was revoked or has expired is refused at this point.
    pub(super) fn prove(
        &self,
        package: ReportPackage,
        clinic: &ClinicId,
        now: UtcMs,
    ) -> Result<Vec<u8>, Refusal> {
        let (_, list) = self.trust.now()?;
        let package = ReportPackage { revocations: Some(list), ..package };
        self.verify(&package, clinic, now)?;
        package.encode().map_err(|e| Refusal::new(Code::RefusedTooLarge, "report", e.to_string()))
    }

    /// Verifies a package as the clinic will, under the newest revocation list.
    pub(super) fn verify(
        &self,
        package: &ReportPackage,
        clinic: &ClinicId,
        now: UtcMs,
    ) -> Result<VerifiedReport, Refusal> {
        let (trust, _) = self.trust.now()?;
        verify_report(package, &trust, clinic, now).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a signature does not verify");
            Refusal::new(error.code(), error.part().file(), error.to_string())
        })
    }
}

/// Unique over restores too: a restored store counts its rows again from the backup's, but is another incarnation.
pub(super) fn report_id(site: &Site, facts: &StudyFacts) -> Result<ReportId, Refusal> {
    ReportId::parse(&format!("{}-{}r{}", site.id, facts.incarnation, facts.stored.study_id))
        .map_err(|e| Refusal::new(Code::Internal, "report id", e.to_string()))
}

/// The next version, and the one it follows.
pub(super) fn next_version(facts: &StudyFacts) -> (u32, Option<u32>) {
    let previous = facts.versions.last().map(|v| v.version);
    (previous.unwrap_or(0) + 1, previous)
}

/// Refuses words or images that changed under the signer.
pub(super) fn check_seen(facts: &StudyFacts, request: &SignRequest) -> Result<(), Refusal> {
    if facts.revision != request.study_revision {
        let reason = "images have arrived or changed since the study was opened; look at them first";
        return Err(Refusal::new(Code::StateConflict, "study_revision", reason));
    }
    Ok(())
}

pub(super) fn sign_error(error: SignError) -> Refusal {
    tracing::warn!(error = &error as &dyn std::error::Error, "not signed");
    Refusal::new(Code::Forbidden, "signer", error.to_string())
}
