//! Verifying a report package off line: the only way to a [`VerifiedReport`].

use relay_core::clock::{DAY_MS, UtcMs};
use relay_core::ids::{ClinicId, ReportId, Sha256, StudyUid};
use relay_core::report::{
    PURPOSE_PLAN, PURPOSE_REPORT, ReportKind, ReportPackage, ReviewManifest, SignedManifest,
};
use relay_core::study::StudyRevision;
use rustls_pki_types::CertificateDer;

use super::cms::{self, CmsFault, CmsParts};
use super::report::check_review;
use super::{Part, SignatureSuite, VerifyReportError as Error};
use crate::authority::RevocationReason;
use crate::certificate::{self, DoctorIdentity, DoctorRole};
use crate::keys::verify_p256;
use crate::trust::{CrlError, TrustStore};

/// How far in the future of this clock a signature may be. Generous: a clinic's clock may be hours slow, and a report
/// must not wait for a technician.
pub const FUTURE_TOLERANCE_MS: i64 = DAY_MS;
/// Most signatures a manifest may ask for: author and reviewer.
const MAX_REQUIRED_SIGNATURES: u8 = 2;

/// A signature that verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSignature {
    /// Who signed.
    pub doctor: DoctorIdentity,
    /// When, as signed.
    pub signed_at: UtcMs,
    /// With what.
    pub suite: SignatureSuite,
}

/// What revocation was checked against. Shown to people when it is not `Current`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevocationEvidence {
    /// A list that is not old.
    Current {
        /// When it was made.
        this_update: UtcMs,
    },
    /// A list whose successor was due: the clinic has been off line for long.
    Old {
        /// When it was made.
        this_update: UtcMs,
        /// When a newer one was due.
        next_update: UtcMs,
    },
    /// No list has reached this place yet.
    None,
}

/// A report whose every part is as signed, by doctors of this county, for this clinic. Made by [`verify_report`] and
/// [`verify_plan`] only; says what it was made from and cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReport {
    package: ReportPackage,
    manifest: SignedManifest,
    author: VerifiedSignature,
    review: Option<(ReviewManifest, VerifiedSignature)>,
    revocation: RevocationEvidence,
}

impl VerifiedReport {
    /// What the author signed. In a reviewed package this is the earlier version that the released one is built on.
    #[must_use]
    pub const fn author_manifest(&self) -> &SignedManifest {
        &self.manifest
    }

    /// What the reviewer signed: the released version of a reviewed package.
    #[must_use]
    pub fn review_manifest(&self) -> Option<&ReviewManifest> {
        self.review.as_ref().map(|(manifest, _)| manifest)
    }

    /// The report.
    #[must_use]
    pub const fn report_id(&self) -> &ReportId {
        &self.manifest.report_id
    }

    /// The clinic it is addressed to: the one that verified it.
    #[must_use]
    pub const fn clinic(&self) -> &ClinicId {
        &self.manifest.clinic
    }

    /// The study it reads.
    #[must_use]
    pub const fn study_uid(&self) -> &StudyUid {
        &self.manifest.study_uid
    }

    /// The released version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.review_manifest().map_or(self.manifest.version, |review| review.version)
    }

    /// The number that paper shows of the released version, which people are told.
    #[must_use]
    pub fn paper_version(&self) -> u32 {
        self.review_manifest().map_or(self.manifest.paper_version, |review| review.paper_version)
    }

    /// The version that the released one replaces or adds to.
    #[must_use]
    pub fn previous(&self) -> Option<u32> {
        self.review_manifest().map_or(self.manifest.previous, |review| Some(review.previous))
    }

    /// What the released version is.
    #[must_use]
    pub fn kind(&self) -> ReportKind {
        self.review_manifest().map_or(self.manifest.kind, |review| review.kind)
    }

    /// The set of objects that the released version has read.
    #[must_use]
    pub fn study_revision(&self) -> &StudyRevision {
        self.review_manifest().map_or(&self.manifest.study_revision, |review| &review.study_revision)
    }

    /// When the last signature was made.
    #[must_use]
    pub fn signed_at(&self) -> UtcMs {
        self.review_manifest().map_or(self.manifest.signed_at, |review| review.signed_at)
    }

    /// `report.json`, as signed.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.package.json
    }

    /// `report.pdf`, as signed.
    #[must_use]
    pub fn pdf(&self) -> &[u8] {
        &self.package.pdf
    }

    /// The package it was made from.
    #[must_use]
    pub const fn package(&self) -> &ReportPackage {
        &self.package
    }

    /// Author's signature.
    #[must_use]
    pub const fn author(&self) -> &VerifiedSignature {
        &self.author
    }

    /// Reviewer's signature, when there is one.
    #[must_use]
    pub fn reviewer(&self) -> Option<&VerifiedSignature> {
        self.review.as_ref().map(|(_, signature)| signature)
    }

    /// What revocation was checked against.
    #[must_use]
    pub const fn revocation(&self) -> RevocationEvidence {
        self.revocation
    }

    /// True when any signing key is a demonstration key without third-party CA: 演示签名·非第三方CA.
    #[must_use]
    pub fn is_demo(&self) -> bool {
        self.manifest.demo_signature
            || self.author.doctor.demo
            || self.review.as_ref().is_some_and(|(review, by)| review.demo_signature || by.doctor.demo)
    }

    /// One sentence for the page: signature state in Chinese and English.
    #[must_use]
    pub fn sentence(&self) -> (String, String) {
        let mut zh = format!("签名有效：报告医师 {}", self.author.doctor.name);
        let mut en = format!("signature valid: author {}", self.author.doctor.name);
        if let Some(reviewer) = self.reviewer() {
            zh.push_str(&format!("，审核医师 {}", reviewer.doctor.name));
            en.push_str(&format!(", reviewer {}", reviewer.doctor.name));
        }
        match self.revocation {
            RevocationEvidence::Current { .. } => {}
            RevocationEvidence::Old { .. } => {
                zh.push_str("（吊销列表已过期，请联网更新）");
                en.push_str(" (the revocation list is old; go on line to renew it)");
            }
            RevocationEvidence::None => {
                zh.push_str("（尚无吊销列表）");
                en.push_str(" (no revocation list yet)");
            }
        }
        if self.is_demo() {
            zh.push_str("（演示签名·非第三方CA）");
            en.push_str(" (demonstration key, no third-party CA)");
        }
        (zh, en)
    }
}

/// Verifies a report package: signatures, chain to the county CA, validity at signing time, revocation, roles, purpose,
/// addressee, required signatures, and the digests of content and appearance. `at` is the clock here.
///
/// # Errors
/// [`VerifyReportError`](Error) naming the part and what differs.
pub fn verify_report(
    package: &ReportPackage,
    trust: &TrustStore,
    expect_clinic: &ClinicId,
    at: UtcMs,
) -> Result<VerifiedReport, Error> {
    let trust = &newest_list(package, trust)?;
    Check { package, trust, expect_clinic, at }.run(PURPOSE_REPORT)
}

/// Verifies a treatment plan package in the same way; its author is a clinician.
///
/// # Errors
/// [`VerifyReportError`](Error) naming the part and what differs.
pub fn verify_plan(
    package: &ReportPackage,
    trust: &TrustStore,
    expect_clinic: &ClinicId,
    at: UtcMs,
) -> Result<VerifiedReport, Error> {
    let trust = &newest_list(package, trust)?;
    Check { package, trust, expect_clinic, at }.run(PURPOSE_PLAN)
}

/// What is trusted here, with the package's revocation list where that is the newer one. An older list is passed over: it
/// was the newest when the report was signed.
fn newest_list(package: &ReportPackage, trust: &TrustStore) -> Result<TrustStore, Error> {
    let mut newest = trust.clone();
    match package.revocations.as_deref().map(|der| newest.update_crl(der)) {
        None | Some(Ok(_) | Err(CrlError::RolledBack { .. })) => Ok(newest),
        Some(Err(error)) => Err(damaged(Part::Revocations, error.to_string())),
    }
}

struct Check<'a> {
    package: &'a ReportPackage,
    trust: &'a TrustStore,
    expect_clinic: &'a ClinicId,
    at: UtcMs,
}

impl Check<'_> {
    fn run(&self, purpose: &str) -> Result<VerifiedReport, Error> {
        let author = self.signature(
            Part::AuthorSignature,
            &self.package.author_cms,
            Part::Manifest,
            &self.package.manifest,
        )?;
        let manifest = SignedManifest::from_canonical(&self.package.manifest)
            .map_err(|e| damaged(Part::Manifest, e.to_string()))?;
        self.manifest(&manifest, &author, purpose)?;
        let review = match &self.package.review {
            Some((review, cms)) => Some(self.review(review, cms, &manifest)?),
            // A preliminary version goes out before the audit, with the author's signature alone.
            None if manifest.required_signatures > 1 && manifest.kind != ReportKind::Preliminary => {
                let required = manifest.required_signatures;
                return Err(Error::ReviewMissing { part: Part::ReviewerSignature, required });
            }
            None => None,
        };
        // The package holds content and appearance of the released version: the reviewer's, when there is one.
        let (json, pdf) = match &review {
            Some((review, _)) => (&review.json_sha256, &review.pdf_sha256),
            None => (&manifest.json_sha256, &manifest.pdf_sha256),
        };
        digest(Part::Json, json, &self.package.json)?;
        digest(Part::Pdf, pdf, &self.package.pdf)?;
        Ok(VerifiedReport {
            package: self.package.clone(),
            manifest,
            author,
            review,
            revocation: self.evidence(),
        })
    }

    /// One CMS: form, key, chain, times, revocation, and that it is over `content`.
    fn signature(
        &self,
        part: Part,
        cms: &[u8],
        content_part: Part,
        content: &[u8],
    ) -> Result<VerifiedSignature, Error> {
        let parsed = cms::parse(cms, self.trust.ca()).map_err(|fault| match fault {
            CmsFault::Form(reason) => damaged(part, reason),
            CmsFault::Suite(algorithm) => Error::Algorithm { part, algorithm },
        });
        // A CMS of another county embeds another CA: say that instead of "not in our form".
        let parsed = match parsed {
            Err(Error::Damaged { .. }) if foreign(cms, self.trust.ca()) => {
                return Err(Error::UnknownCa { part });
            }
            other => other?,
        };
        let parts = &parsed.parts;
        let doctor = self.certificate(part, parts)?;
        let signed = parts.to_be_signed().map_err(|_| Error::Signature { part })?;
        let SignatureSuite::EcdsaP256Sha256 = parts.suite;
        let key = public_key(&parts.leaf).ok_or(Error::Signature { part })?;
        if !verify_p256(&key, &signed, &parsed.signature) {
            return Err(Error::Signature { part });
        }
        // The CMS itself is sound: if the digest is not that of the content, the content was changed.
        digest(content_part, &parts.content_sha256, content)?;
        if parts.signing_time.since(self.at) > FUTURE_TOLERANCE_MS {
            return Err(Error::FromTheFuture { part, signed_at: parts.signing_time, now: self.at });
        }
        Ok(VerifiedSignature { doctor, signed_at: parts.signing_time, suite: parts.suite })
    }

    fn certificate(&self, part: Part, parts: &CmsParts) -> Result<DoctorIdentity, Error> {
        let unreadable = |e: certificate::CertificateError| damaged(part, e.to_string());
        let leaf = certificate::parse(&parts.leaf).map_err(unreadable)?;
        let ca = certificate::parse(self.trust.ca()).map_err(unreadable)?;
        if leaf.issuer().as_raw() != ca.subject().as_raw()
            || leaf.verify_signature(Some(ca.public_key())).is_err()
        {
            return Err(Error::UnknownCa { part });
        }
        let usage = leaf.key_usage().ok().flatten().is_some_and(|u| u.value.digital_signature());
        let extended = leaf.extended_key_usage().ok().flatten().is_some_and(|e| e.value.email_protection);
        if leaf.is_ca() || !usage || !extended {
            let reason = "it is not a certificate for signing documents".to_owned();
            return Err(Error::Role { part, reason });
        }
        let doctor = DoctorIdentity::from_certificate(&parts.leaf)
            .map_err(|e| Error::Role { part, reason: e.to_string() })?;
        let (not_before, not_after) = (certificate::not_before(&leaf), certificate::not_after(&leaf));
        let signed_at = parts.signing_time;
        if signed_at < not_before || signed_at > not_after {
            return Err(Error::Expired { part, signed_at, not_before, not_after });
        }
        self.not_revoked(part, &doctor, signed_at)?;
        Ok(doctor)
    }

    /// After a compromise no signature of the key counts, whatever time it claims: the thief could write any. For the
    /// other reasons, what was signed before stays valid.
    fn not_revoked(&self, part: Part, doctor: &DoctorIdentity, signed_at: UtcMs) -> Result<(), Error> {
        let entry = self.trust.revocations().and_then(|list| list.entry(&doctor.serial));
        let Some(entry) = entry else { return Ok(()) };
        let compromised =
            matches!(entry.reason, RevocationReason::KeyCompromise | RevocationReason::Unspecified);
        if compromised || signed_at >= entry.at {
            let (at, reason) = (entry.at, entry.reason);
            return Err(Error::Revoked { part, serial: doctor.serial.clone(), at, reason });
        }
        Ok(())
    }

    fn manifest(
        &self,
        manifest: &SignedManifest,
        author: &VerifiedSignature,
        purpose: &str,
    ) -> Result<(), Error> {
        let part = Part::Manifest;
        field(part, "purpose", purpose, &manifest.purpose)?;
        if manifest.clinic != *self.expect_clinic {
            let (expected, found) = (self.expect_clinic.to_string(), manifest.clinic.to_string());
            return Err(Error::WrongClinic { part, expected, found });
        }
        field(part, "author", &author.doctor.person, &manifest.author)?;
        same_second(part, author.signed_at, manifest.signed_at)?;
        let role = author.doctor.role;
        let allowed = if purpose == PURPOSE_PLAN { role == DoctorRole::Clinician } else { role.may_author() };
        if !allowed {
            let reason = format!("a {role} may not be its author");
            return Err(Error::Role { part: Part::AuthorSignature, reason });
        }
        if author.doctor.demo && !manifest.demo_signature {
            return Err(wrong(part, "demo_signature", "true, as the certificate says", "false"));
        }
        if !(1..=MAX_REQUIRED_SIGNATURES).contains(&manifest.required_signatures) {
            return Err(wrong(
                part,
                "required_signatures",
                "1 or 2",
                &manifest.required_signatures.to_string(),
            ));
        }
        let earlier = manifest.previous.is_none_or(|previous| previous >= 1 && previous < manifest.version);
        if manifest.version == 0 || !earlier {
            let found = format!("{} after {:?}", manifest.version, manifest.previous);
            return Err(wrong(part, "version", "1 or more, above previous", &found));
        }
        if matches!(manifest.kind, ReportKind::Addendum | ReportKind::Correction)
            && manifest.previous.is_none()
        {
            return Err(wrong(part, "previous", "a version, for an addendum or correction", "none"));
        }
        Ok(())
    }

    fn review(
        &self,
        bytes: &[u8],
        cms: &[u8],
        manifest: &SignedManifest,
    ) -> Result<(ReviewManifest, VerifiedSignature), Error> {
        let by = self.signature(Part::ReviewerSignature, cms, Part::Review, bytes)?;
        let part = Part::Review;
        let review = ReviewManifest::from_canonical(bytes).map_err(|e| damaged(part, e.to_string()))?;
        check_review(&review, manifest, &self.package.manifest, &self.package.author_cms)
            .map_err(|m| wrong(part, m.field, &m.expected, &m.found))?;
        field(part, "reviewer", &by.doctor.person, &review.reviewer)?;
        same_second(part, by.signed_at, review.signed_at)?;
        if by.doctor.demo && !review.demo_signature {
            return Err(wrong(part, "demo_signature", "true, as the certificate says", "false"));
        }
        let part = Part::ReviewerSignature;
        if by.doctor.person == manifest.author {
            return Err(Error::ReviewerIsAuthor { part });
        }
        if !by.doctor.role.may_review() {
            let reason = format!("a {} may not be the reviewer", by.doctor.role);
            return Err(Error::Role { part, reason });
        }
        Ok((review, by))
    }

    fn evidence(&self) -> RevocationEvidence {
        match self.trust.revocations() {
            None => RevocationEvidence::None,
            Some(list) if list.next_update() < self.at => {
                RevocationEvidence::Old { this_update: list.this_update(), next_update: list.next_update() }
            }
            Some(list) => RevocationEvidence::Current { this_update: list.this_update() },
        }
    }
}

fn damaged(part: Part, reason: String) -> Error {
    Error::Damaged { part, reason }
}

fn wrong(part: Part, field: &'static str, expected: &str, found: &str) -> Error {
    Error::Field { part, field, expected: expected.to_owned(), found: found.to_owned() }
}

fn field<A, B>(part: Part, name: &'static str, expected: &A, found: &B) -> Result<(), Error>
where
    A: std::fmt::Display + ?Sized,
    B: std::fmt::Display + ?Sized,
{
    let (expected, found) = (expected.to_string(), found.to_string());
    if expected == found { Ok(()) } else { Err(wrong(part, name, &expected, &found)) }
}

fn digest(part: Part, signed: &Sha256, bytes: &[u8]) -> Result<(), Error> {
    let found = Sha256::of(bytes);
    if found == *signed {
        return Ok(());
    }
    Err(Error::Differs { part, signed: signed.to_hex(), found: found.to_hex() })
}

/// The CMS has whole seconds, the manifest milliseconds.
fn same_second(part: Part, cms: UtcMs, manifest: UtcMs) -> Result<(), Error> {
    if cms.0.div_euclid(1_000) == manifest.0.div_euclid(1_000) {
        return Ok(());
    }
    Err(wrong(part, "signed_at", &cms.to_rfc3339(), &manifest.to_rfc3339()))
}

fn public_key(leaf: &CertificateDer<'_>) -> Option<Vec<u8>> {
    certificate::parse(leaf).ok().map(|parsed| parsed.public_key().raw.to_vec())
}

/// Well formed in our form, but around another CA.
fn foreign(cms: &[u8], ours: &CertificateDer<'_>) -> bool {
    cms::embedded_cas(cms).iter().any(|ca| ca.as_ref() != ours.as_ref() && cms::parse(cms, ca).is_ok())
}
