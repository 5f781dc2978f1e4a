use super::*;
use crate::certificate::DoctorRole;
use crate::enrol::{AgentRequest, make_csr};
use crate::keys::KeyError;
use crate::testing::TestCounty;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use relay_core::ids::PersonId;

const NOW: UtcMs = UtcMs(1_790_000_000_000);

fn clinic(id: &str) -> ClinicId {
    ClinicId::parse(id).unwrap()
}

fn county(dir: &Path) -> TestCounty {
    TestCounty::new(dir, 1, NOW)
}

fn openssl(args: &[&str]) -> (bool, String) {
    let out = std::process::Command::new("openssl").args(args).output().unwrap();
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

#[test]
fn a_ca_is_made_once_and_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let made = county(dir.path());
    let opened = Authority::open(dir.path()).unwrap();
    assert_eq!(opened.ca_fingerprint(), made.authority.ca_fingerprint());
    assert_eq!(opened.county(), "测试县 Test County");
    let again =
        Authority::create(dir.path(), "x", Validity::days(NOW, 1), NOW, &mut StdRng::seed_from_u64(2));
    assert!(matches!(again, Err(AuthorityError::Exists { .. })));
}

#[cfg(unix)]
#[test]
fn key_and_ledger_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca");
    let _county = county(&ca);
    let mode = |name: &str| std::fs::metadata(ca.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(CA_KEY_FILE), mode(LEDGER_FILE)), (0o600, 0o600));
    assert_eq!(std::fs::metadata(&ca).unwrap().permissions().mode() & 0o777, 0o700);
    std::fs::set_permissions(ca.join(CA_KEY_FILE), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Authority::open(&ca), Err(AuthorityError::Key(KeyError::Mode { .. }))));
}

#[test]
fn a_key_that_is_not_the_cas_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _county = county(dir.path());
    PrivateKey::generate(&mut StdRng::seed_from_u64(9)).unwrap().save(&dir.path().join(CA_KEY_FILE)).unwrap();
    assert!(matches!(Authority::open(dir.path()), Err(AuthorityError::Damaged { .. })));
}

#[test]
fn the_clinic_is_chosen_by_the_ca_not_by_the_request() {
    let dir = tempfile::tempdir().unwrap();
    let mut county = county(dir.path());
    let request = make_csr(&clinic("somebody-else"), county.rng()).unwrap();
    let validity = Validity::days(NOW, 30);
    let issued = county
        .authority
        .clone()
        .issue_agent(&clinic("shilipu"), &request.csr_der, validity, NOW, county.rng())
        .unwrap();
    let identity = PeerIdentity::from_certificate(&issued.chain[0]).unwrap();
    assert_eq!((identity.clinic, identity.serial), (clinic("shilipu"), issued.serial));
    assert_eq!(identity.not_after.0 / 1_000, validity.not_after.0 / 1_000);
}

#[test]
fn a_request_with_a_broken_signature_or_another_key_kind_is_refused() {
    let mut rng = StdRng::seed_from_u64(3);
    let AgentRequest { mut csr_der, .. } = make_csr(&clinic("a"), &mut rng).unwrap();
    check_request(&csr_der).unwrap();
    let last = csr_der.len() - 1;
    csr_der[last] ^= 1;
    assert_eq!(check_request(&csr_der), Err(RequestError::Signature));
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&p384).unwrap();
    assert_eq!(check_request(request.der()), Err(RequestError::KeyKind));
    assert!(matches!(check_request(b"nonsense"), Err(RequestError::Unreadable(_))));
    assert!(matches!(check_request(&vec![0x30; 9_000]), Err(RequestError::TooLong(9_000))));
    for cut in 0..csr_der.len() {
        assert!(check_request(&csr_der[..cut]).is_err());
    }
}

#[test]
fn openssl_accepts_every_profile_for_its_purpose_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut county = county(dir.path());
    let ca = dir.path().join("ca.pem");
    let (gateway, agent) = (county.gateway(), county.agent("shilipu"));
    let doctor = county.doctor("d1", DoctorRole::Reader);
    let certificates = [
        ("gateway", &gateway.chain[0], "sslserver", "sslclient"),
        ("agent", &agent.chain[0], "sslclient", "sslserver"),
        ("doctor", &doctor.identity.certificate.chain[0], "smimesign", "sslclient"),
    ];
    let at = (NOW.0 / 1_000).to_string();
    for (name, certificate, good, bad) in certificates {
        let path = dir.path().join(format!("{name}.pem"));
        std::fs::File::options().create(true).write(true).truncate(true).open(&path).unwrap();
        crate::files::write_public(&path, to_pem("CERTIFICATE", certificate.as_ref()).as_bytes()).unwrap();
        let verify = |purpose: &str| {
            let ca = ca.to_str().unwrap();
            openssl(&[
                "verify",
                "-x509_strict",
                "-attime",
                &at,
                "-purpose",
                purpose,
                "-CAfile",
                ca,
                path.to_str().unwrap(),
            ])
        };
        let (ok, said) = verify(good);
        assert!(ok, "{name} for {good}: {said}");
        assert!(!verify(bad).0, "{name} must not serve as {bad}");
    }
}

#[test]
fn openssl_reads_the_crl_and_finds_the_revoked_serial() {
    let dir = tempfile::tempdir().unwrap();
    let mut county = county(dir.path());
    let _revoked = county.revoked_agent("shilipu");
    let serial = county.authority.certificates().unwrap()[0].serial.to_string();
    let (crl, ca) = (dir.path().join("crl.der"), dir.path().join("ca.pem"));
    let (ok, text) = openssl(&[
        "crl",
        "-inform",
        "DER",
        "-in",
        crl.to_str().unwrap(),
        "-CAfile",
        ca.to_str().unwrap(),
        "-noout",
        "-text",
    ]);
    assert!(ok && text.contains("verify OK"), "{text}");
    assert!(text.to_lowercase().contains(&serial), "{serial} in {text}");
    for part in
        ["Version 2", "X509v3 Authority Key Identifier", "X509v3 CRL Number", "Key Compromise", "Next Update"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn revoking_a_clinic_takes_its_certificates_and_open_codes_and_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let mut county = county(dir.path());
    let (_a, _b, _other) = (county.agent("shilipu"), county.agent("shilipu"), county.agent("other"));
    let desk = crate::enrol::EnrolDesk::new(county.authority.clone());
    desk.issue_code(&clinic("shilipu"), DAY_MS, NOW, county.rng()).unwrap();
    let target = RevokeTarget::Clinic(clinic("shilipu"));
    let serials = county.authority.revoke(&target, RevocationReason::CessationOfOperation, NOW).unwrap();
    assert_eq!(serials.len(), 2);
    let live = county.authority.certificates().unwrap().into_iter().filter(|r| r.revoked.is_none()).count();
    assert_eq!(live, 1);
    assert_eq!(county.authority.codes().unwrap()[0].expires_at, NOW);
    let again = county.authority.revoke(&target, RevocationReason::CessationOfOperation, NOW);
    assert!(matches!(again, Err(AuthorityError::NothingToRevoke { .. })));
    // A stolen key found later makes the reason worse.
    assert_eq!(county.authority.revoke(&target, RevocationReason::KeyCompromise, NOW).unwrap().len(), 2);
}

#[test]
fn a_crl_copy_lost_in_a_power_cut_is_put_right_on_opening() {
    let dir = tempfile::tempdir().unwrap();
    let mut county = county(dir.path());
    let old = std::fs::read(dir.path().join(CRL_FILE)).unwrap();
    let _revoked = county.revoked_agent("shilipu");
    crate::files::write_public(&dir.path().join(CRL_FILE), &old).unwrap();
    let opened = Authority::open(dir.path()).unwrap();
    let copy = std::fs::read(dir.path().join(CRL_FILE)).unwrap();
    assert_ne!(copy, old);
    assert_eq!(copy, opened.crl_der().unwrap());
}

#[test]
fn the_crl_is_renewed_at_half_of_its_life_and_its_number_grows() {
    let dir = tempfile::tempdir().unwrap();
    let county = county(dir.path());
    assert!(!county.authority.renew_crl(false, NOW.plus_ms(DAY_MS)).unwrap());
    assert!(county.authority.renew_crl(false, NOW.plus_ms(4 * DAY_MS)).unwrap());
    let list = crate::trust::RevocationList::verify(&county.crl(), county.ca()).unwrap();
    assert_eq!((list.number(), list.next_update()), (2, NOW.plus_ms(11 * DAY_MS)));
}

#[test]
fn a_renewal_needs_a_known_unrevoked_unexpired_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let mut county = county(dir.path());
    let agent = county.agent("shilipu");
    let peer = PeerIdentity::from_certificate(&agent.chain[0]).unwrap();
    let request = AgentRequest::for_key(&peer.clinic, agent.key.clone()).unwrap();
    let authority = county.authority.clone();
    let renewed = authority.renew_agent(&peer, &request.csr_der, NOW, county.rng()).unwrap();
    assert_ne!(renewed.serial, peer.serial);
    let late = authority.renew_agent(&peer, &request.csr_der, NOW.plus_ms(3 * 365 * DAY_MS), county.rng());
    assert!(matches!(late, Err(AuthorityError::NotRenewable { .. })));
    county.revoke(&agent.chain[0], RevocationReason::KeyCompromise);
    let revoked = authority.renew_agent(&peer, &request.csr_der, NOW, county.rng());
    assert!(matches!(revoked, Err(AuthorityError::NotRenewable { .. })));
    let stranger = PeerIdentity { clinic: clinic("other"), ..peer };
    let other = authority.renew_agent(&stranger, &request.csr_der, NOW, county.rng());
    assert!(matches!(other, Err(AuthorityError::NotRenewable { .. })));
}

#[test]
fn unlawful_names_are_refused_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let mut county = county(dir.path());
    let authority = county.authority.clone();
    let validity = Validity::days(NOW, 1);
    for names in [vec![], vec!["a b".to_owned()], vec!["县".to_owned()], vec!["x".to_owned(); 17]] {
        let refused = authority.issue_server(&names, validity, NOW, county.rng());
        assert!(matches!(refused, Err(AuthorityError::Field { .. })), "{names:?}");
    }
    for name in ["", "  ", "a\nb", &"长".repeat(65)] {
        let doctor =
            Doctor { person: PersonId::parse("d").unwrap(), name: name.to_owned(), role: DoctorRole::Reader };
        let refused = authority.issue_demo_doctor(&doctor, validity, NOW, county.rng());
        assert!(matches!(refused, Err(AuthorityError::Field { field: "doctor name", .. })), "{name:?}");
    }
}

#[test]
fn two_handles_on_one_directory_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let _county = county(dir.path());
    std::thread::scope(|scope| {
        for worker in 0..4_u64 {
            let path = dir.path();
            scope.spawn(move || {
                let authority = Authority::open(path).unwrap();
                let mut rng = StdRng::seed_from_u64(100 + worker);
                for i in 0..5 {
                    let names = [format!("h{worker}-{i}.test")];
                    authority.issue_server(&names, Validity::days(NOW, 1), NOW, &mut rng).unwrap();
                }
            });
        }
    });
    assert_eq!(Authority::open(dir.path()).unwrap().certificates().unwrap().len(), 20);
}

#[test]
fn a_damaged_ledger_is_named_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let county = county(dir.path());
    let path = dir.path().join(LEDGER_FILE);
    crate::files::write_private(&path, b"{").unwrap();
    let refused = county.authority.renew_crl(true, NOW);
    assert!(matches!(&refused, Err(AuthorityError::Damaged { file, .. }) if file.ends_with("ledger.json")));
    assert_eq!(std::fs::read(&path).unwrap(), b"{");
}
