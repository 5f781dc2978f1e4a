use std::path::Path;
use std::process::Command;

use super::*;
use crate::authority::RevocationReason;
use crate::certificate::DoctorRole;
use crate::testing::{TEST_PIN, TestCounty, TestDoctor, test_manifest, test_package, test_review};
use relay_core::clock::{DAY_MS, UtcMs};
use relay_core::codes::Code;
use relay_core::ids::ClinicId;
use relay_core::report::{PURPOSE_PLAN, ReportKind, ReportPackage, ReviewManifest, SignedManifest};

const NOW: UtcMs = UtcMs(1_790_000_000_123);
const JSON: &[u8] = br#"{"resourceType":"Bundle"}"#;
const PDF: &[u8] = b"%PDF-1.7 test";

type BytesOf = fn(&mut ReportPackage) -> &mut Vec<u8>;
type Change<T> = fn(&mut T);

struct Scene {
    dir: tempfile::TempDir,
    county: TestCounty,
    author: TestDoctor,
    reviewer: TestDoctor,
    clinic: ClinicId,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut county = TestCounty::new(dir.path(), 21, NOW);
        let author = county.doctor("d-author", DoctorRole::Reader);
        let reviewer = county.doctor("d-reviewer", DoctorRole::Reviewer);
        Self { dir, county, author, reviewer, clinic: ClinicId::parse("shilipu").unwrap() }
    }

    fn manifest(&self) -> SignedManifest {
        SignedManifest {
            required_signatures: 2,
            ..test_manifest("shilipu", &self.author.doctor.person, JSON, PDF, NOW)
        }
    }

    fn package(&self) -> ReportPackage {
        test_package(&self.manifest(), JSON, PDF, &self.author, Some(&self.reviewer))
    }

    fn verify(&self, package: &ReportPackage) -> Result<VerifiedReport, VerifyReportError> {
        verify_report(package, &self.county.trust(), &self.clinic, NOW)
    }

    fn refused(&self, package: &ReportPackage) -> VerifyReportError {
        let error = self.verify(package).unwrap_err();
        assert!(error.zh().contains(error.part().file()), "{}", error.zh());
        assert!(error.to_string().starts_with(error.part().file()), "{error}");
        error
    }

    /// Packs a manifest that `change` has altered, signed by the author alone.
    fn altered(&self, change: impl FnOnce(&mut SignedManifest)) -> ReportPackage {
        let mut manifest = SignedManifest { required_signatures: 1, ..self.manifest() };
        change(&mut manifest);
        test_package(&manifest, JSON, PDF, &self.author, None)
    }
}

fn openssl_verifies(dir: &Path, content: &[u8], cms: &[u8]) -> bool {
    let (content_file, cms_file) = (dir.join("manifest.json"), dir.join("author.p7s"));
    crate::files::write_public(&content_file, content).unwrap();
    crate::files::write_public(&cms_file, cms).unwrap();
    let at = (NOW.0 / 1_000).to_string();
    let out = Command::new("openssl")
        .args(["cms", "-verify", "-cades", "-binary", "-inform", "DER", "-purpose", "any", "-attime", &at])
        .arg("-content")
        .arg(&content_file)
        .arg("-in")
        .arg(&cms_file)
        .arg("-CAfile")
        .arg(dir.join("ca.pem"))
        .args(["-out", "/dev/null"])
        .output()
        .unwrap();
    out.status.success()
}

#[test]
fn a_report_signed_by_author_and_reviewer_verifies() {
    let scene = Scene::new();
    let verified = scene.verify(&scene.package()).unwrap();
    assert_eq!(verified.author_manifest(), &scene.manifest());
    assert_eq!((verified.version(), verified.previous(), verified.kind()), (2, Some(1), ReportKind::Final));
    assert_eq!(verified.signed_at(), NOW.plus_ms(60_000));
    assert_eq!((verified.json(), verified.pdf()), (JSON, PDF));
    assert_eq!(verified.author().doctor.person, scene.author.doctor.person);
    assert_eq!(verified.author().signed_at, UtcMs(1_790_000_000_000));
    let reviewer = verified.reviewer().unwrap();
    assert_eq!(
        (&reviewer.doctor.name, reviewer.doctor.role),
        (&scene.reviewer.doctor.name, DoctorRole::Reviewer)
    );
    assert!(verified.is_demo());
    let (zh, en) = verified.sentence();
    assert!(zh.contains("签名有效") && zh.contains("演示签名·非第三方CA"), "{zh}");
    assert!(en.contains("signature valid"), "{en}");
}

#[test]
fn signed_bytes_have_sorted_keys_whatever_features_serde_json_has() {
    // This test binary has `preserve_order` on, like the gateway; the agent has not. Both must see the same bytes.
    let ordered = serde_json::json!({"b": 1, "a": 2}).to_string();
    assert_eq!(ordered, r#"{"b":1,"a":2}"#, "the dev-dependency switches preserve_order on");
    let scene = Scene::new();
    let package = scene.package();
    assert!(package.manifest.starts_with(br#"{"author":"d-author","clinic":"shilipu","demo_signature":"#));
    let (review, _) = package.review.unwrap();
    assert!(review.starts_with(br#"{"author_cms_sha256":"#));
}

#[test]
fn openssl_agrees_and_one_flipped_byte_ends_it() {
    let scene = Scene::new();
    let package = scene.package();
    assert!(openssl_verifies(scene.dir.path(), &package.manifest, &package.author_cms));
    let mut flipped = package.manifest.clone();
    flipped[10] ^= 1;
    assert!(!openssl_verifies(scene.dir.path(), &flipped, &package.author_cms));
    let mut flipped = package.author_cms.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(!openssl_verifies(scene.dir.path(), &package.manifest, &flipped));
    let (review, cms) = package.review.unwrap();
    assert!(openssl_verifies(scene.dir.path(), &review, &cms));
}

#[test]
fn every_flipped_byte_of_every_part_is_caught_and_its_part_is_named() {
    let scene = Scene::new();
    let (package, trust) = (scene.package(), scene.county.trust());
    let parts: [(Part, BytesOf); 6] = [
        (Part::Manifest, |p| &mut p.manifest),
        (Part::Json, |p| &mut p.json),
        (Part::Pdf, |p| &mut p.pdf),
        (Part::AuthorSignature, |p| &mut p.author_cms),
        (Part::Review, |p| &mut p.review.as_mut().unwrap().0),
        (Part::ReviewerSignature, |p| &mut p.review.as_mut().unwrap().1),
    ];
    for (part, bytes) in parts {
        let mut copy = package.clone();
        for at in 0..bytes(&mut copy).len() {
            for mask in [0x01, 0x80] {
                bytes(&mut copy)[at] ^= mask;
                let error = verify_report(&copy, &trust, &scene.clinic, NOW).unwrap_err();
                assert_eq!(error.part(), part, "byte {at}: {error}");
                assert_eq!(error.code(), Code::ReportInvalid, "byte {at}");
                bytes(&mut copy)[at] ^= mask;
            }
        }
        assert!(verify_report(&copy, &trust, &scene.clinic, NOW).is_ok());
    }
}

#[test]
fn cut_and_lengthened_signatures_are_refused_without_panic() {
    let scene = Scene::new();
    let (package, trust) = (scene.package(), scene.county.trust());
    for cut in (0..package.author_cms.len()).step_by(7) {
        let mut copy = package.clone();
        copy.author_cms.truncate(cut);
        assert!(verify_report(&copy, &trust, &scene.clinic, NOW).is_err());
    }
    let mut copy = package;
    copy.author_cms.push(0);
    assert_eq!(scene.refused(&copy).part(), Part::AuthorSignature);
    copy.author_cms = vec![0x30; 100_000];
    assert_eq!(scene.refused(&copy).part(), Part::AuthorSignature);
}

#[test]
fn unsigned_attributes_of_later_versions_are_allowed_and_ignored() {
    let scene = Scene::new();
    let manifest = SignedManifest { required_signatures: 1, ..scene.manifest() };
    let mut package = test_package(&manifest, JSON, PDF, &scene.author, None);
    let parsed = cms::parse(&package.author_cms, scene.county.ca()).unwrap();
    let time_stamp = x509_cert::attr::Attribute {
        oid: der::asn1::ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.14"),
        values: vec![der::Any::encode_from(&der::asn1::OctetString::new(*b"token").unwrap()).unwrap()]
            .try_into()
            .unwrap(),
    };
    let unsigned = Some(vec![time_stamp].try_into().unwrap());
    package.author_cms = parsed.parts.assemble(&parsed.signature, unsigned).unwrap();
    scene.verify(&package).unwrap();
    assert!(openssl_verifies(scene.dir.path(), &package.manifest, &package.author_cms));
}

#[test]
fn parts_of_two_reports_cannot_be_mixed() {
    let scene = Scene::new();
    let one = scene.package();
    let other = test_package(
        &SignedManifest { version: 2, previous: Some(1), ..scene.manifest() },
        JSON,
        PDF,
        &scene.author,
        Some(&scene.reviewer),
    );
    let mixed = ReportPackage { manifest: other.manifest.clone(), ..one.clone() };
    assert_eq!(scene.refused(&mixed).part(), Part::Manifest);
    let mixed = ReportPackage { author_cms: other.author_cms.clone(), ..one.clone() };
    assert_eq!(scene.refused(&mixed).part(), Part::Manifest);
    let mixed = ReportPackage { review: other.review, ..one.clone() };
    assert!(matches!(
        scene.refused(&mixed),
        VerifyReportError::Field { part: Part::Review, field: "manifest_sha256", .. }
    ));
    // The reviewer's CMS put in the author's place.
    let (review, cms) = one.review.clone().unwrap();
    let swapped = ReportPackage { manifest: review, author_cms: cms, ..one };
    assert_eq!(scene.refused(&swapped).part(), Part::Manifest);
}

#[test]
fn a_report_for_another_clinic_is_refused_by_its_own_code() {
    let scene = Scene::new();
    let other = ClinicId::parse("other").unwrap();
    let error = verify_report(&scene.package(), &scene.county.trust(), &other, NOW).unwrap_err();
    assert!(matches!(error, VerifyReportError::WrongClinic { .. }));
    assert_eq!(error.code(), Code::WrongClinic);
}

#[test]
fn a_missing_reviewer_is_refused_when_the_manifest_asks_for_one() {
    let scene = Scene::new();
    let package = ReportPackage { review: None, ..scene.package() };
    assert!(matches!(scene.refused(&package), VerifyReportError::ReviewMissing { required: 2, .. }));
    // A preliminary version goes out before the audit that policy asks for.
    let preliminary = scene.altered(|m| (m.kind, m.required_signatures) = (ReportKind::Preliminary, 2));
    let verified = scene.verify(&preliminary).unwrap();
    assert!(verified.reviewer().is_none());
    assert_eq!(verified.kind(), ReportKind::Preliminary);
}

#[test]
fn the_released_version_has_content_and_appearance_of_its_own() {
    let scene = Scene::new();
    let author = sign_report(&scene.author.signer(), &scene.manifest()).unwrap();
    let (json, pdf) = (br#"{"words":"changed"}"#.to_vec(), b"%PDF-1.7 with both names".to_vec());
    let mut review = test_review(&author, &scene.reviewer.doctor.person, &json, &pdf);
    review.words_changed = true;
    let signed = sign_review(&scene.reviewer.signer(), &author, &review).unwrap();
    let package = ReportPackage {
        manifest: author.bytes,
        json,
        pdf,
        author_cms: author.cms,
        review: Some((signed.bytes, signed.cms)),
        revocations: None,
    };
    let verified = scene.verify(&package).unwrap();
    assert_eq!(verified.review_manifest(), Some(&review));
    // The author's own version in place of the released one is not what the reviewer signed.
    let old = ReportPackage { json: JSON.to_vec(), ..package };
    assert!(matches!(scene.refused(&old), VerifyReportError::Differs { part: Part::Json, .. }));
}

#[test]
fn a_review_that_does_not_fit_the_authors_version_is_neither_signed_nor_accepted() {
    let scene = Scene::new();
    let author = sign_report(&scene.author.signer(), &scene.manifest()).unwrap();
    let cases: [(&str, Change<ReviewManifest>); 9] = [
        ("purpose", |r| r.purpose = "relay report v1".to_owned()),
        ("report_id", |r| r.report_id = "r-2".parse().unwrap()),
        ("clinic", |r| r.clinic = "other".parse().unwrap()),
        ("study_uid", |r| r.study_uid = "1.2.3.4".parse().unwrap()),
        ("version", |r| r.version = 1),
        ("previous", |r| r.previous = 2),
        ("kind", |r| r.kind = ReportKind::Preliminary),
        ("manifest_sha256", |r| r.manifest_sha256 = r.json_sha256),
        ("author_cms_sha256", |r| r.author_cms_sha256 = r.json_sha256),
    ];
    for (name, change) in cases {
        let mut review = test_review(&author, &scene.reviewer.doctor.person, JSON, PDF);
        change(&mut review);
        let refused = sign_review(&scene.reviewer.signer(), &author, &review);
        assert!(matches!(&refused, Err(SignError::Mismatch { field, .. }) if *field == name), "{name}");
        let bytes = relay_core::report::canonical_json(&review).unwrap();
        let cms = forged_cms(&bytes, review.signed_at, &scene.reviewer);
        let package = ReportPackage {
            manifest: author.bytes.clone(),
            json: JSON.to_vec(),
            pdf: PDF.to_vec(),
            author_cms: author.cms.clone(),
            review: Some((bytes, cms)),
            revocations: None,
        };
        let error = scene.refused(&package);
        let named =
            matches!(&error, VerifyReportError::Field { part: Part::Review, field, .. } if *field == name);
        assert!(named, "{name}: {error}");
    }
}

#[test]
fn doctors_of_another_county_expired_and_revoked_ones_are_refused() {
    let mut scene = Scene::new();
    let dir = tempfile::tempdir().unwrap();
    let foreign = TestCounty::new(dir.path(), 22, NOW).doctor("d-author", DoctorRole::Reader);
    let manifest = SignedManifest { required_signatures: 1, ..scene.manifest() };
    let package = test_package(&manifest, JSON, PDF, &foreign, None);
    assert_eq!(scene.refused(&package), VerifyReportError::UnknownCa { part: Part::AuthorSignature });

    let expired = scene.county.expired_doctor("d-author", DoctorRole::Reader);
    let package = test_package(&manifest, JSON, PDF, &expired, None);
    assert!(matches!(
        scene.refused(&package),
        VerifyReportError::Expired { part: Part::AuthorSignature, .. }
    ));
    // What he signed while it was valid stays valid.
    let earlier = SignedManifest { signed_at: NOW.plus_ms(-2 * DAY_MS), ..manifest.clone() };
    scene.verify(&test_package(&earlier, JSON, PDF, &expired, None)).unwrap();

    let revoked = scene.county.revoked_doctor("d-author", DoctorRole::Reader);
    let package = test_package(&manifest, JSON, PDF, &revoked, None);
    assert!(matches!(
        scene.refused(&package),
        VerifyReportError::Revoked { part: Part::AuthorSignature, .. }
    ));
    // A stolen key could claim any time: what it signed earlier does not count either.
    let hours_ago = SignedManifest { signed_at: NOW.plus_ms(-3 * 3_600_000), ..manifest };
    let package = test_package(&hours_ago, JSON, PDF, &revoked, None);
    assert!(matches!(scene.refused(&package), VerifyReportError::Revoked { .. }));
}

#[test]
fn what_a_doctor_signed_before_he_left_stays_valid() {
    let scene = Scene::new();
    let before = scene.altered(|m| m.signed_at = NOW.plus_ms(-3_600_000));
    let after = scene.altered(|m| m.signed_at = NOW.plus_ms(1_000));
    let certificate = &scene.author.identity.certificate.chain[0];
    scene.county.revoke(certificate, RevocationReason::AffiliationChanged);
    scene.verify(&before).unwrap();
    assert!(matches!(scene.refused(&after), VerifyReportError::Revoked { .. }));
}

#[test]
fn a_revoked_or_expired_reviewer_is_named_as_the_reviewers_signature() {
    let mut scene = Scene::new();
    scene.reviewer = scene.county.revoked_doctor("d-reviewer", DoctorRole::Reviewer);
    let error = scene.refused(&scene.package());
    assert!(matches!(error, VerifyReportError::Revoked { part: Part::ReviewerSignature, .. }));
}

#[test]
fn the_age_of_the_revocation_list_is_told() {
    let scene = Scene::new();
    let package = scene.package();
    let late =
        verify_report(&package, &scene.county.trust(), &scene.clinic, NOW.plus_ms(30 * DAY_MS)).unwrap();
    assert!(matches!(late.revocation(), RevocationEvidence::Old { .. }));
    assert!(late.sentence().0.contains("吊销列表已过期"));
    let bare = crate::trust::TrustStore::new(scene.county.ca().clone());
    let bare = verify_report(&package, &bare, &scene.clinic, NOW).unwrap();
    assert_eq!(bare.revocation(), RevocationEvidence::None);
}

#[test]
fn a_slow_clock_still_accepts_but_not_tomorrows_report() {
    let scene = Scene::new();
    let (package, trust) = (scene.package(), scene.county.trust());
    assert!(verify_report(&package, &trust, &scene.clinic, NOW.plus_ms(-3 * 3_600_000)).is_ok());
    let error = verify_report(&package, &trust, &scene.clinic, NOW.plus_ms(-2 * DAY_MS)).unwrap_err();
    assert!(matches!(error, VerifyReportError::FromTheFuture { .. }));
}

#[test]
fn the_author_cannot_review_himself_and_a_reader_cannot_review() {
    let mut scene = Scene::new();
    let author = sign_report(&scene.author.signer(), &scene.manifest()).unwrap();
    let review = test_review(&author, &scene.author.doctor.person, JSON, PDF);
    let refused = sign_review(&scene.author.signer(), &author, &review);
    assert!(matches!(refused, Err(SignError::Role { role: DoctorRole::Reader, .. })));
    // A reviewer who wrote the report himself, also with a second certificate, also past the signing side.
    let manifest = SignedManifest { author: scene.reviewer.doctor.person.clone(), ..scene.manifest() };
    let author = sign_report(&scene.reviewer.signer(), &manifest).unwrap();
    let second = scene.county.doctor("d-reviewer", DoctorRole::Reviewer);
    let review = test_review(&author, &second.doctor.person, JSON, PDF);
    let refused = sign_review(&second.signer(), &author, &review);
    assert!(matches!(refused, Err(SignError::ReviewerIsAuthor)));
    let bytes = relay_core::report::canonical_json(&review).unwrap();
    let cms = forged_cms(&bytes, review.signed_at, &second);
    let (json, pdf) = (JSON.to_vec(), PDF.to_vec());
    let package = ReportPackage {
        manifest: author.bytes,
        json,
        pdf,
        author_cms: author.cms,
        review: Some((bytes, cms)),
        revocations: None,
    };
    assert_eq!(scene.refused(&package).code(), Code::ReviewerIsAuthor);
}

#[test]
fn a_signature_of_the_wrong_role_is_refused_by_the_verifier_too() {
    let mut scene = Scene::new();
    // Signed by hand, past the checks of the signing side.
    let clinician = scene.county.doctor("d-author", DoctorRole::Clinician);
    let manifest = SignedManifest { required_signatures: 1, ..scene.manifest() };
    let package = forged(&manifest, &clinician);
    assert!(matches!(scene.refused(&package), VerifyReportError::Role { part: Part::AuthorSignature, .. }));
    let plan = SignedManifest { purpose: PURPOSE_PLAN.to_owned(), ..manifest };
    let package = forged(&plan, &clinician);
    assert!(matches!(scene.refused(&package), VerifyReportError::Field { field: "purpose", .. }));
    verify_plan(&package, &scene.county.trust(), &scene.clinic, NOW).unwrap();
    assert_eq!(forged(&plan, &clinician), test_package(&plan, JSON, PDF, &clinician, None));
}

/// Signs whatever the manifest says.
fn forged(manifest: &SignedManifest, doctor: &TestDoctor) -> ReportPackage {
    let bytes = relay_core::report::canonical_json(manifest).unwrap();
    let author_cms = forged_cms(&bytes, manifest.signed_at, doctor);
    ReportPackage {
        manifest: bytes,
        json: JSON.to_vec(),
        pdf: PDF.to_vec(),
        author_cms,
        review: None,
        revocations: None,
    }
}

fn forged_cms(content: &[u8], signing_time: UtcMs, doctor: &TestDoctor) -> Vec<u8> {
    let chain = &doctor.identity.certificate.chain;
    let parts = cms::CmsParts {
        suite: SignatureSuite::EcdsaP256Sha256,
        leaf: chain[0].clone(),
        ca: chain[1].clone(),
        content_sha256: relay_core::ids::Sha256::of(content),
        signing_time,
    };
    let signature = doctor.identity.key.sign(&parts.to_be_signed().unwrap());
    parts.assemble(&signature, None).unwrap()
}

#[test]
fn lying_manifests_are_refused_by_field() {
    let scene = Scene::new();
    let base = SignedManifest { required_signatures: 1, ..scene.manifest() };
    let cases: [(&str, Change<SignedManifest>); 6] = [
        ("author", |m| m.author = "d-other".parse().unwrap()),
        ("demo_signature", |m| m.demo_signature = false),
        ("required_signatures", |m| m.required_signatures = 0),
        ("required_signatures", |m| m.required_signatures = 3),
        ("version", |m| m.previous = Some(1)),
        ("previous", |m| m.kind = ReportKind::Correction),
    ];
    for (name, change) in cases {
        let mut manifest = base.clone();
        change(&mut manifest);
        let error = scene.refused(&forged(&manifest, &scene.author));
        assert!(
            matches!(&error, VerifyReportError::Field { field, .. } if *field == name),
            "{name}: {error}"
        );
    }
    let mut package = forged(&base, &scene.author);
    package.json = b"{}".to_vec();
    assert!(matches!(scene.refused(&package), VerifyReportError::Differs { part: Part::Json, .. }));
}

#[test]
fn an_agents_or_gateways_key_signs_no_report() {
    let mut scene = Scene::new();
    let agent = scene.county.agent("shilipu");
    let mut thief = scene.author.clone();
    thief.identity.key = agent.key;
    thief.identity.certificate.chain = agent.chain;
    let manifest = SignedManifest { required_signatures: 1, ..scene.manifest() };
    let error = scene.refused(&forged(&manifest, &thief));
    assert!(matches!(error, VerifyReportError::Role { part: Part::AuthorSignature, .. }));
}

#[test]
fn a_manifest_that_does_not_fit_its_signer_is_not_signed() {
    let scene = Scene::new();
    let signer = scene.author.signer();
    let cases: [fn(&mut SignedManifest); 3] = [
        |m| m.author = "d-other".parse().unwrap(),
        |m| m.demo_signature = false,
        |m| m.purpose = "anything".to_owned(),
    ];
    for change in cases {
        let mut manifest = scene.manifest();
        change(&mut manifest);
        assert!(matches!(sign_report(&signer, &manifest), Err(SignError::Mismatch { .. })));
    }
}

#[test]
fn a_wrong_pin_is_a_clear_error_and_openssl_opens_the_file_with_the_right_one() {
    let scene = Scene::new();
    let p12 = to_pkcs12(&scene.author.identity, "123456").unwrap();
    assert!(matches!(SoftwareSigner::from_pkcs12(&p12, "654321"), Err(Pkcs12Error::WrongPin)));
    let signer = SoftwareSigner::from_pkcs12(&p12, "123456").unwrap();
    assert_eq!(signer.identity().person, scene.author.doctor.person);
    assert_eq!(format!("{signer:?}"), "SoftwareSigner(d-author, key hidden)");
    assert!(matches!(to_pkcs12(&scene.author.identity, "12345"), Err(Pkcs12Error::PinLength(5))));
    assert!(matches!(SoftwareSigner::from_pkcs12(b"x", "123456"), Err(Pkcs12Error::Format(_))));
    let path = scene.dir.path().join("d.p12");
    crate::files::write_private(&path, &p12).unwrap();
    let out = Command::new("openssl")
        .args(["pkcs12", "-noout", "-passin", "pass:123456", "-in"])
        .arg(&path)
        .output();
    assert!(out.unwrap().status.success());
}

#[test]
fn a_damaged_pkcs12_never_panics() {
    let scene = Scene::new();
    for at in 0..scene.author.p12.len() {
        let mut bytes = scene.author.p12.clone();
        bytes[at] ^= 0x55;
        let _ = SoftwareSigner::from_pkcs12(&bytes, TEST_PIN);
    }
}
