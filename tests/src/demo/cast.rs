//! Who plays: clinics, their people, the county's people. Names are made up; secrets come from the caller's randomness.

use crate::lab::county::Login;
use rand::RngCore;
use serde::{Deserialize, Serialize};

/// The county's hospital, as printed on reports.
pub(super) const HOSPITAL: &str = "示范县人民医院";
/// Clinics: id and name.
pub(super) const CLINICS: [(&str, &str); 2] = [("liuhe", "柳河镇卫生院"), ("shiqiao", "石桥镇卫生院")];
/// The person at each clinic who opens reports.
const STAFF: [&str; 2] = ["周敏", "吴建国"];
/// Letters and digits that are not taken for one another.
const READABLE: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Letters of a password: 80 bits.
const PASSWORD_CHARS: usize = 16;

/// A person at a clinic.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Staff {
    /// Name.
    pub name: String,
    /// PIN.
    pub pin: String,
}

fn password(rng: &mut dyn RngCore) -> String {
    let mut bytes = [0; PASSWORD_CHARS];
    rng.fill_bytes(&mut bytes);
    bytes.iter().map(|b| char::from(READABLE[usize::from(b % 32)])).collect()
}

fn pin(rng: &mut dyn RngCore) -> String {
    format!("{:06}", rng.next_u32() % 1_000_000)
}

/// The person who opens reports at clinic number `clinic`.
pub(super) fn staff(clinic: usize, rng: &mut dyn RngCore) -> Staff {
    Staff { name: STAFF[clinic % STAFF.len()].to_owned(), pin: pin(rng) }
}

/// A person of the county before there are secrets.
struct Person {
    login: &'static str,
    name: &'static str,
    roles: &'static [&'static str],
    kinds: &'static [&'static str],
    signs: bool,
}

const fn person(
    login: &'static str,
    name: &'static str,
    roles: &'static [&'static str],
    kinds: &'static [&'static str],
    signs: bool,
) -> Person {
    Person { login, name, roles, kinds, signs }
}

/// The county's people.
const PEOPLE: [Person; 8] = [
    person("zhao", "赵明", &["reader"], &["xray", "other", "consult"], true),
    person("qian", "钱慧", &["reader", "reviewer"], &["xray", "ecg", "other", "consult"], true),
    person("chen", "陈静", &["reader", "reviewer"], &["xray", "other", "consult"], true),
    person("sun", "孙立", &["reader"], &["ecg"], true),
    person("li", "李青", &["clinician"], &["ecg", "xray", "other", "consult"], true),
    person("monitor", "值班监控", &["monitor"], &[], false),
    person("admin", "系统管理员", &["administrator"], &[], false),
    person("auditor", "安全审计员", &["security_auditor"], &[], false),
];

/// The radiologist who writes.
pub(super) const RADIOLOGIST: &str = "zhao";
/// The radiologist who audits.
pub(super) const REVIEWER: &str = "qian";
/// The cardiologist.
pub(super) const CARDIOLOGIST: &str = "sun";

/// The county's people with fresh secrets; TOTP secrets are the county's to give.
pub(super) fn people(rng: &mut dyn RngCore) -> Vec<Login> {
    let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect();
    PEOPLE
        .iter()
        .map(|Person { login, name, roles, kinds, signs }| Login {
            login: (*login).to_owned(),
            name: (*name).to_owned(),
            roles: words(roles),
            kinds: words(kinds),
            password: password(rng),
            pin: signs.then(|| pin(rng)),
            totp_secret: None,
        })
        .collect()
}
