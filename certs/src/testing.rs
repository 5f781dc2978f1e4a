//! A county made by program, for tests: gateways, agents and doctors that are good, expired, revoked or foreign.
//!
//! Everything comes from a seed and a time, so that two runs make the same keys. Never compiled into a product build:
//! feature `test-pki`.

use std::path::Path;
use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use relay_core::clock::{DAY_MS, UtcMs};
use relay_core::ids::{ClinicId, PersonId, Sha256, StudyUid};
use relay_core::report::{
    PURPOSE_REPORT, PURPOSE_REVIEW, ReportKind, ReportPackage, ReviewManifest, SignedManifest,
};
use relay_core::study::StudyRevision;
use rustls_pki_types::CertificateDer;

use crate::authority::{
    AGENT_VALID_DAYS, Authority, CA_VALID_DAYS, DOCTOR_VALID_DAYS, Doctor, IssuedIdentity, RevocationReason,
    RevokeTarget, SERVER_VALID_DAYS, Validity,
};
use crate::certificate::DoctorRole;
use crate::enrol::AgentRequest;
use crate::keys::PrivateKey;
use crate::signing::{Signed, SoftwareSigner, sign_report, sign_review};
use crate::trust::{TlsIdentity, TrustStore};

/// PIN of every doctor made here.
pub const TEST_PIN: &str = "246810";
/// Rounds of key derivation in test files: tests need no protection, only speed.
const TEST_ITERATIONS: u32 = 16;

/// A county CA with a source of randomness.
#[derive(Debug)]
pub struct TestCounty {
    /// The CA, to be used like any other.
    pub authority: Arc<Authority>,
    /// The time at which it was made; certificates are valid around it.
    pub now: UtcMs,
    rng: StdRng,
}

impl TestCounty {
    /// A county CA in `dir` (empty or absent), its keys drawn from `seed`.
    ///
    /// # Panics
    /// When the directory cannot be used.
    #[must_use]
    pub fn new(dir: &Path, seed: u64, now: UtcMs) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let validity =
            Validity { not_before: now.plus_ms(-365 * DAY_MS), ..Validity::days(now, CA_VALID_DAYS) };
        let authority =
            Authority::create(dir, "测试县 Test County", validity, now, &mut rng).expect("test CA");
        Self { authority: Arc::new(authority), now, rng }
    }

    /// The CA certificate.
    #[must_use]
    pub fn ca(&self) -> &CertificateDer<'static> {
        self.authority.ca_certificate()
    }

    /// The current CRL in DER.
    ///
    /// # Panics
    /// When the directory cannot be read.
    #[must_use]
    pub fn crl(&self) -> Vec<u8> {
        self.authority.crl_der().expect("test CRL")
    }

    /// CA and current CRL.
    ///
    /// # Panics
    /// When the directory cannot be read.
    #[must_use]
    pub fn trust(&self) -> TrustStore {
        let mut store = TrustStore::new(self.ca().clone());
        store.update_crl(&self.crl()).expect("own CRL");
        store
    }

    /// The randomness, for verbs of the authority.
    pub fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    /// A gateway for `localhost`, `127.0.0.1` and `::1`.
    ///
    /// # Panics
    /// When the directory cannot be used.
    pub fn gateway(&mut self) -> TlsIdentity {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let validity = Validity::days(self.now, SERVER_VALID_DAYS);
        self.authority.issue_server(&names, validity, self.now, &mut self.rng).expect("test gateway").into()
    }

    /// An agent with a good certificate.
    ///
    /// # Panics
    /// For an unlawful clinic id.
    pub fn agent(&mut self, clinic: &str) -> TlsIdentity {
        self.agent_with(clinic, Validity::days(self.now, AGENT_VALID_DAYS))
    }

    /// An agent whose certificate ended a day ago.
    ///
    /// # Panics
    /// For an unlawful clinic id.
    pub fn expired_agent(&mut self, clinic: &str) -> TlsIdentity {
        let validity =
            Validity { not_before: self.now.plus_ms(-30 * DAY_MS), not_after: self.now.plus_ms(-DAY_MS) };
        self.agent_with(clinic, validity)
    }

    /// An agent whose certificate is revoked; take the CRL after this.
    ///
    /// # Panics
    /// For an unlawful clinic id.
    pub fn revoked_agent(&mut self, clinic: &str) -> TlsIdentity {
        let identity = self.agent(clinic);
        self.revoke(&identity.chain[0], RevocationReason::KeyCompromise);
        identity
    }

    fn agent_with(&mut self, clinic: &str, validity: Validity) -> TlsIdentity {
        let clinic = ClinicId::parse(clinic).expect("lawful clinic id");
        let key = PrivateKey::generate(&mut self.rng).expect("test key");
        let request = AgentRequest::for_key(&clinic, key).expect("test request");
        let issued = self
            .authority
            .issue_agent(&clinic, &request.csr_der, validity, self.now, &mut self.rng)
            .expect("test agent");
        TlsIdentity { chain: issued.chain, key: request.key }
    }

    /// Revokes one certificate.
    ///
    /// # Panics
    /// When it is not of this county.
    pub fn revoke(&self, certificate: &CertificateDer<'_>, reason: RevocationReason) {
        let parsed = crate::certificate::parse(certificate).expect("certificate");
        let serial = crate::certificate::serial_of(&parsed).expect("serial");
        self.authority.revoke(&RevokeTarget::Serial(serial), reason, self.now).expect("revocation");
    }

    /// A doctor with a good certificate and software key.
    ///
    /// # Panics
    /// For an unlawful id.
    pub fn doctor(&mut self, person: &str, role: DoctorRole) -> TestDoctor {
        self.doctor_with(person, role, Validity::days(self.now, DOCTOR_VALID_DAYS))
    }

    /// A doctor whose certificate ended a day ago.
    ///
    /// # Panics
    /// For an unlawful id.
    pub fn expired_doctor(&mut self, person: &str, role: DoctorRole) -> TestDoctor {
        let validity =
            Validity { not_before: self.now.plus_ms(-30 * DAY_MS), not_after: self.now.plus_ms(-DAY_MS) };
        self.doctor_with(person, role, validity)
    }

    /// A doctor whose key is reported stolen; take the CRL after this.
    ///
    /// # Panics
    /// For an unlawful id.
    pub fn revoked_doctor(&mut self, person: &str, role: DoctorRole) -> TestDoctor {
        let doctor = self.doctor(person, role);
        self.revoke(&doctor.identity.certificate.chain[0], RevocationReason::KeyCompromise);
        doctor
    }

    fn doctor_with(&mut self, person: &str, role: DoctorRole, validity: Validity) -> TestDoctor {
        let person = PersonId::parse(person).expect("lawful person id");
        let doctor = Doctor { name: format!("医师{person}"), person, role };
        let identity = self
            .authority
            .issue_demo_doctor(&doctor, validity, self.now, &mut self.rng)
            .expect("test doctor");
        let p12 = crate::signing::to_pkcs12_with(&identity, TEST_PIN, TEST_ITERATIONS).expect("test PKCS#12");
        TestDoctor { doctor, identity, p12 }
    }
}

/// A doctor made for tests.
#[derive(Debug, Clone)]
pub struct TestDoctor {
    /// Id, name and role.
    pub doctor: Doctor,
    /// Certificate and key.
    pub identity: IssuedIdentity,
    /// Both as PKCS#12 under [`TEST_PIN`].
    pub p12: Vec<u8>,
}

impl TestDoctor {
    /// The doctor's software key, unlocked.
    ///
    /// # Panics
    /// Never for a doctor made here.
    #[must_use]
    pub fn signer(&self) -> SoftwareSigner {
        SoftwareSigner::from_pkcs12(&self.p12, TEST_PIN).expect("test signer")
    }
}

/// A manifest of version 1, final, for these bytes; change what a test needs before signing.
///
/// # Panics
/// For an unlawful clinic id.
#[must_use]
pub fn test_manifest(
    clinic: &str,
    author: &PersonId,
    json: &[u8],
    pdf: &[u8],
    signed_at: UtcMs,
) -> SignedManifest {
    SignedManifest {
        purpose: PURPOSE_REPORT.to_owned(),
        report_id: relay_core::ids::ReportId::parse("r-1").expect("lawful"),
        version: 1,
        paper_version: 1,
        previous: None,
        kind: ReportKind::Final,
        clinic: ClinicId::parse(clinic).expect("lawful clinic id"),
        study_uid: StudyUid::parse("1.2.826.0.1").expect("lawful"),
        study_revision: StudyRevision::of([relay_core::ids::ObjectHash::of(json)]),
        json_sha256: Sha256::of(json),
        pdf_sha256: Sha256::of(pdf),
        author: author.clone(),
        required_signatures: 1,
        demo_signature: true,
        signed_at,
    }
}

/// The review of an author's signed version: released as version + 1, final, with these bytes.
///
/// # Panics
/// When the author's bytes are no manifest.
#[must_use]
pub fn test_review(author: &Signed, reviewer: &PersonId, json: &[u8], pdf: &[u8]) -> ReviewManifest {
    let manifest = SignedManifest::from_canonical(&author.bytes).expect("author's manifest");
    ReviewManifest {
        purpose: PURPOSE_REVIEW.to_owned(),
        report_id: manifest.report_id,
        version: manifest.version + 1,
        paper_version: 1,
        previous: manifest.version,
        kind: ReportKind::Final,
        clinic: manifest.clinic,
        study_uid: manifest.study_uid,
        study_revision: manifest.study_revision,
        json_sha256: Sha256::of(json),
        pdf_sha256: Sha256::of(pdf),
        words_changed: false,
        manifest_sha256: Sha256::of(&author.bytes),
        author_cms_sha256: Sha256::of(&author.cms),
        reviewer: reviewer.clone(),
        demo_signature: true,
        signed_at: manifest.signed_at.plus_ms(60_000),
    }
}

/// Signs a manifest and packs it with its content and appearance. With a reviewer, these bytes are the version that
/// he releases (see [`test_review`]).
///
/// # Panics
/// When signer and manifest do not fit together.
#[must_use]
pub fn test_package(
    manifest: &SignedManifest,
    json: &[u8],
    pdf: &[u8],
    author: &TestDoctor,
    reviewer: Option<&TestDoctor>,
) -> ReportPackage {
    let signed = sign_report(&author.signer(), manifest).expect("author signs");
    let review = reviewer.map(|reviewer| {
        let review = test_review(&signed, &reviewer.doctor.person, json, pdf);
        let review = sign_review(&reviewer.signer(), &signed, &review).expect("reviewer signs");
        (review.bytes, review.cms)
    });
    ReportPackage {
        manifest: signed.bytes,
        json: json.to_vec(),
        pdf: pdf.to_vec(),
        author_cms: signed.cms,
        review,
        revocations: None,
    }
}
