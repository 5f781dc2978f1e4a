use std::net::IpAddr;

use super::*;
use crate::authority::{Authority, RequestError};
use crate::testing::TestCounty;
use relay_core::clock::{DAY_MS, HOUR_MS, UtcMs};
use relay_core::codes::Code;
use relay_core::ids::ClinicId;

const NOW: UtcMs = UtcMs(1_790_000_000_000);

fn peer() -> IpAddr {
    IpAddr::from([10, 1, 2, 3])
}

struct Scene {
    _dir: tempfile::TempDir,
    county: TestCounty,
    desk: EnrolDesk,
    clinic: ClinicId,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let county = TestCounty::new(dir.path(), 5, NOW);
        let desk = EnrolDesk::new(county.authority.clone());
        Self { _dir: dir, county, desk, clinic: ClinicId::parse("shilipu").unwrap() }
    }

    fn invite(&mut self) -> Invitation {
        self.desk.issue_code(&self.clinic, HOUR_MS, NOW, self.county.rng()).unwrap()
    }

    fn request(&mut self) -> AgentRequest {
        make_csr(&self.clinic, self.county.rng()).unwrap()
    }

    fn post(&mut self, request: &AgentRequest, invitation: &Invitation, now: UtcMs) -> (u16, EnrolReply) {
        let body = serde_json::to_vec(&request.body(invitation)).unwrap();
        handle(&self.desk, &body, peer(), now, self.county.rng())
    }

    fn refused(&mut self, code: &str, csr: &[u8], now: UtcMs) -> EnrolError {
        self.desk.enrol(code, csr, peer(), now, self.county.rng()).unwrap_err()
    }
}

#[test]
fn a_code_becomes_a_certificate_for_its_clinic_and_the_agents_own_key() {
    let mut scene = Scene::new();
    let (invitation, request) = (scene.invite(), scene.request());
    let (status, reply) = scene.post(&request, &invitation, NOW);
    assert_eq!(status, 200);
    let identity = request.accept(&reply, &invitation, NOW).unwrap();
    assert_eq!(identity.identity.clinic, scene.clinic);
    assert_eq!(identity.ca(), scene.county.ca());
    assert_eq!(identity.trust.revocations().unwrap().der(), scene.county.crl());
}

#[test]
fn a_used_code_serves_no_other_key_but_answers_its_own_again() {
    let mut scene = Scene::new();
    let (invitation, request) = (scene.invite(), scene.request());
    let (_, first) = scene.post(&request, &invitation, NOW);
    // The answer was lost on the way: the same key asks again.
    let (status, again) = scene.post(&request, &invitation, NOW.plus_ms(1_000));
    assert_eq!((status, &again), (200, &first));
    assert_eq!(scene.county.authority.certificates().unwrap().len(), 1);
    let thief = scene.request();
    let code = invitation.code.reveal();
    let error = scene.refused(&code, &thief.csr_der, NOW);
    assert!(matches!(error, EnrolError::Used));
    assert_eq!(error.code(), Code::EnrolmentCodeInvalid);
}

#[test]
fn a_key_whose_certificate_was_revoked_is_refused_by_name_and_the_code_serves_a_new_key() {
    use crate::authority::{RevocationReason, RevokeTarget};
    let mut scene = Scene::new();
    let (invitation, request) = (scene.invite(), scene.request());
    assert_eq!(scene.post(&request, &invitation, NOW).0, 200);
    let target = RevokeTarget::Clinic(scene.clinic.clone());
    scene.county.authority.revoke(&target, RevocationReason::KeyCompromise, NOW).unwrap();
    let again = scene.invite();
    let error = scene.refused(&again.code.reveal(), &request.csr_der, NOW);
    assert_eq!(error.code(), Code::KeyRevoked, "{error}");
    assert_eq!(scene.county.authority.certificates().unwrap().len(), 1, "nothing was issued");
    let fresh = scene.request();
    assert_eq!(scene.post(&fresh, &again, NOW).0, 200, "the code was not spent");
}

#[test]
fn an_expired_code_is_refused_and_says_so() {
    let mut scene = Scene::new();
    let (invitation, request) = (scene.invite(), scene.request());
    let error = scene.refused(&invitation.code.reveal(), &request.csr_der, NOW.plus_ms(HOUR_MS));
    assert_eq!(error.code(), Code::EnrolmentCodeExpired);
}

#[test]
fn an_unknown_code_and_a_typing_error_are_refused() {
    let mut scene = Scene::new();
    let request = scene.request();
    let unknown = EnrolmentCode::generate(&scene.clinic.clone(), scene.county.rng()).reveal();
    assert!(matches!(scene.refused(&unknown, &request.csr_der, NOW), EnrolError::Unknown));
    let error = scene.refused("RELAY1-shilipu-0000-0000-0000-0000-0001", &request.csr_der, NOW);
    assert!(matches!(error, EnrolError::Code(CodeError::Checksum)));
}

#[test]
fn a_request_with_a_broken_signature_does_not_spend_the_code() {
    let mut scene = Scene::new();
    let (invitation, request) = (scene.invite(), scene.request());
    let mut broken = request.csr_der.clone();
    *broken.last_mut().unwrap() ^= 1;
    let error = scene.refused(&invitation.code.reveal(), &broken, NOW);
    assert!(matches!(error, EnrolError::Request(RequestError::Signature)));
    assert_eq!(scene.post(&request, &invitation, NOW).0, 200);
}

#[test]
fn too_many_wrong_codes_close_the_address_even_for_the_right_one() {
    let mut scene = Scene::new();
    let (invitation, request) = (scene.invite(), scene.request());
    for _ in 0..PEER_FAILURES_PER_WINDOW {
        scene.refused("RELAY1-shilipu-0000-0000-0000-0000-0001", &request.csr_der, NOW);
    }
    let (status, reply) = scene.post(&request, &invitation, NOW);
    assert_eq!(status, 429);
    assert!(matches!(&reply, EnrolReply::Refused { code, .. } if code == "TOO_MANY_ATTEMPTS"));
    assert!(matches!(request.accept(&reply, &invitation, NOW), Err(EnrolReplyError::Refused { .. })));
    assert_eq!(scene.post(&request, &invitation, NOW.plus_ms(WINDOW_MS)).0, 200);
}

#[test]
fn only_the_hash_of_a_code_is_kept() {
    let mut scene = Scene::new();
    let invitation = scene.invite();
    let ledger = std::fs::read_to_string(scene.county.authority.dir().join("ledger.json")).unwrap();
    let code = invitation.code.reveal();
    let secret = code.strip_prefix("RELAY1-shilipu-").unwrap();
    assert!(!ledger.contains(secret) && !ledger.contains(&secret.replace('-', "")));
    assert!(ledger.contains(&invitation.code.sha256().to_hex()));
}

#[test]
fn codes_survive_a_restart_and_unlawful_lives_are_refused() {
    let mut scene = Scene::new();
    let (invitation, request) = (scene.invite(), scene.request());
    let reopened = Authority::open(scene.county.authority.dir()).unwrap();
    scene.desk = EnrolDesk::new(std::sync::Arc::new(reopened));
    assert_eq!(scene.post(&request, &invitation, NOW).0, 200);
    for life in [0, -1, MAX_CODE_VALID_MS + 1] {
        let clinic = scene.clinic.clone();
        assert!(scene.desk.issue_code(&clinic, life, NOW, scene.county.rng()).is_err());
    }
}

#[test]
fn an_answer_from_another_ca_or_for_another_key_or_clinic_is_not_accepted() {
    let mut scene = Scene::new();
    let (invitation, request) = (scene.invite(), scene.request());
    let (_, reply) = scene.post(&request, &invitation, NOW);

    let mut stranger = Scene::new();
    stranger.county = TestCounty::new(&stranger.county.authority.dir().join("x"), 77, NOW);
    stranger.desk = EnrolDesk::new(stranger.county.authority.clone());
    let foreign = stranger.invite();
    let (_, foreign_reply) = stranger.post(&request, &foreign, NOW);
    assert!(matches!(request.accept(&foreign_reply, &invitation, NOW), Err(EnrolReplyError::WrongCa { .. })));

    let other_key = scene.request();
    assert!(matches!(other_key.accept(&reply, &invitation, NOW), Err(EnrolReplyError::WrongKey)));

    scene.clinic = ClinicId::parse("other").unwrap();
    let other = scene.invite();
    assert!(matches!(request.accept(&reply, &other, NOW), Err(EnrolReplyError::WrongClinic { .. })));

    let late = NOW.plus_ms(3 * 365 * DAY_MS);
    assert!(matches!(request.accept(&reply, &invitation, late), Err(EnrolReplyError::NotValidNow)));
}

#[test]
fn a_leaf_that_the_pinned_ca_did_not_sign_is_not_accepted() {
    let mut scene = Scene::new();
    let (invitation, request) = (scene.invite(), scene.request());
    let dir = tempfile::tempdir().unwrap();
    let mut stranger = TestCounty::new(dir.path(), 78, NOW);
    let validity = crate::authority::Validity::days(NOW, 1);
    let authority = stranger.authority.clone();
    let issued =
        authority.issue_agent(&scene.clinic, &request.csr_der, validity, NOW, stranger.rng()).unwrap();
    let leaf = crate::authority::to_pem("CERTIFICATE", issued.chain[0].as_ref());
    let chain_pem = leaf + &scene.county.authority.ca_pem();
    let reply = EnrolReply::Issued { chain_pem, crl: String::new() };
    assert!(matches!(request.accept(&reply, &invitation, NOW), Err(EnrolReplyError::NotSignedByCa)));
}

#[test]
fn bodies_that_are_no_request_are_refused() {
    let mut scene = Scene::new();
    for body in
        [b"".as_slice(), b"{}", b"[1", br#"{"code":"x","csr":"%%%"}"#, br#"{"code":"x","csr":"","more":1}"#]
    {
        let (status, reply) = handle(&scene.desk, body, IpAddr::from([9, 9, 9, 9]), NOW, scene.county.rng());
        assert_eq!(status, 422);
        assert!(matches!(&reply, EnrolReply::Refused { code, .. } if code == "REQUEST_INVALID"), "{reply:?}");
    }
    let long = vec![b' '; MAX_ENROL_BODY_BYTES + 1];
    assert_eq!(handle(&scene.desk, &long, peer(), NOW, scene.county.rng()).0, 413);
}
