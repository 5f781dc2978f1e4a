//! Enrolment codes that a person can read over the telephone and type.
//!
//! `RELAY1-<clinic>-XXXX-XXXX-XXXX-XXXX-CCCC`: sixteen Crockford base-32 characters (80 random bits) and four of
//! checksum over clinic and secret, so that a slip of the finger is found before anything is sent. Lower case and the
//! look-alikes `O I L` are read as `0 1 1`.

use std::fmt;

use rand::CryptoRng;
use relay_core::ids::{ClinicId, Sha256};
use zeroize::Zeroizing;

/// First word of a code: its form and version.
const PREFIX: &str = "RELAY1";
/// Crockford's base 32: without I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Random bytes of the secret: 80 bits cannot be guessed against the attempt limits within the life of the county.
const SECRET_BYTES: usize = 10;
/// Characters of the secret.
const SECRET_CHARS: usize = 16;
/// Characters of the checksum: 20 bits let one slip in a million through.
const CHECK_CHARS: usize = 4;
/// Characters in a group.
const GROUP: usize = 4;
/// Most characters of an invitation that is read.
const MAX_CODE_CHARS: usize = 256;
/// Sign between code and CA fingerprint.
const FINGERPRINT_MARK: char = '@';

/// Why a text is not an enrolment code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// Not of the form.
    #[error("an enrolment code looks like {PREFIX}-<clinic>-XXXX-XXXX-XXXX-XXXX-XXXX: {0}")]
    Form(&'static str),
    /// The checksum does not fit: a typing error.
    #[error("the code has a typing error (its check characters do not fit)")]
    Checksum,
    /// The fingerprint is not 64 hexadecimal digits.
    #[error("the CA fingerprint after {FINGERPRINT_MARK} is not 64 hexadecimal digits")]
    Fingerprint,
}

impl CodeError {
    /// What a Chinese user is told.
    #[must_use]
    pub const fn zh(&self) -> &'static str {
        match self {
            Self::Form(_) => "注册码格式不正确，应为 RELAY1-机构-XXXX-XXXX-XXXX-XXXX-XXXX",
            Self::Checksum => "注册码输入有误（校验位不符），请核对",
            Self::Fingerprint => "CA指纹应为64位十六进制数字",
        }
    }
}

/// A one-time code for one clinic. Its text is shown once and never logged; its secret is wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentCode {
    clinic: ClinicId,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

impl fmt::Debug for EnrolmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolmentCode({}, hidden)", self.clinic)
    }
}

impl EnrolmentCode {
    /// A new code from the caller's randomness.
    #[must_use]
    pub fn generate(clinic: &ClinicId, rng: &mut dyn CryptoRng) -> Self {
        let mut secret = Zeroizing::new([0_u8; SECRET_BYTES]);
        rng.fill_bytes(secret.as_mut());
        Self { clinic: clinic.clone(), secret }
    }

    /// The clinic it enrols.
    #[must_use]
    pub const fn clinic(&self) -> &ClinicId {
        &self.clinic
    }

    /// What the ledger keeps: SHA-256 over purpose, clinic and secret. The secret has 80 random bits, so a plain hash
    /// cannot be searched.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        self.digest(b"relay enrolment code v1\0")
    }

    fn digest(&self, purpose: &[u8]) -> Sha256 {
        let mut bytes = Zeroizing::new(purpose.to_vec());
        bytes.extend_from_slice(self.clinic.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(self.secret.as_ref());
        Sha256::of(&bytes)
    }

    fn check(&self) -> String {
        let digest = self.digest(b"relay enrolment check v1\0");
        encode(&digest.0[..3]).chars().take(CHECK_CHARS).collect()
    }

    /// The text to print for the clinic. The only way the secret leaves.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(encode(self.secret.as_ref()) + &self.check());
        let mut out = format!("{PREFIX}-{}", self.clinic);
        for group in secret.as_bytes().chunks(GROUP) {
            out.push('-');
            out.extend(group.iter().map(|b| char::from(*b)));
        }
        Zeroizing::new(out)
    }

    /// Parses what was typed.
    ///
    /// # Errors
    /// [`CodeError`]; a checksum error means a typing error.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let text = text.trim();
        if text.len() > MAX_CODE_CHARS {
            return Err(CodeError::Form("too long"));
        }
        let words: Vec<&str> = text.split('-').collect();
        let groups = (SECRET_CHARS + CHECK_CHARS) / GROUP;
        if words.len() < groups + 2 {
            return Err(CodeError::Form("too few groups"));
        }
        if !words[0].eq_ignore_ascii_case(PREFIX) {
            return Err(CodeError::Form("wrong first word"));
        }
        let (front, secret) = words.split_at(words.len() - groups);
        if secret.iter().any(|g| g.chars().count() != GROUP) {
            return Err(CodeError::Form("a group does not have four characters"));
        }
        let clinic = front[1..].join("-").to_ascii_lowercase();
        let clinic = ClinicId::parse(&clinic).map_err(|_| CodeError::Form("the clinic id is unlawful"))?;
        let typed = Zeroizing::new(secret.concat());
        let values = typed.chars().map(value_of).collect::<Option<Vec<u8>>>();
        let values = Zeroizing::new(values.ok_or(CodeError::Form("a character is not of the alphabet"))?);
        let code = Self { clinic, secret: decode(&values[..SECRET_CHARS]) };
        let check: Vec<u8> = code.check().chars().filter_map(value_of).collect();
        if check == values[SECRET_CHARS..] { Ok(code) } else { Err(CodeError::Checksum) }
    }
}

/// A code together with the fingerprint of the county CA: all that a clinic needs to enrol safely.
/// Written `<code>@<64 hexadecimal digits>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The one-time code.
    pub code: EnrolmentCode,
    /// SHA-256 of the CA certificate, which the agent pins before it has the CA.
    pub ca_fingerprint: Sha256,
}

impl Invitation {
    /// One line to copy and paste.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let code = self.code.reveal();
        Zeroizing::new(format!("{}{FINGERPRINT_MARK}{}", code.as_str(), self.ca_fingerprint))
    }

    /// The fingerprint in groups of four, for reading aloud.
    #[must_use]
    pub fn spoken_fingerprint(&self) -> String {
        let hex = self.ca_fingerprint.to_hex();
        let groups: Vec<String> =
            hex.as_bytes().chunks(GROUP).map(|g| String::from_utf8_lossy(g).into()).collect();
        groups.join(" ")
    }

    /// Parses what was pasted; spaces and colons inside the fingerprint do not count.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        if text.len() > MAX_CODE_CHARS {
            return Err(CodeError::Form("too long"));
        }
        let (code, fingerprint) = text.trim().split_once(FINGERPRINT_MARK).ok_or(CodeError::Fingerprint)?;
        let hex: String = fingerprint.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
        let ca_fingerprint =
            Sha256::from_hex(&hex.to_ascii_lowercase()).map_err(|_| CodeError::Fingerprint)?;
        Ok(Self { code: EnrolmentCode::parse(code)?, ca_fingerprint })
    }
}

fn encode(bytes: &[u8]) -> String {
    let (mut out, mut buffer, mut bits) = (String::new(), 0_u32, 0_u32);
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[(buffer >> bits) as usize & 31]));
            buffer &= (1 << bits) - 1;
        }
    }
    if bits > 0 {
        out.push(char::from(ALPHABET[(buffer << (5 - bits)) as usize & 31]));
    }
    out
}

fn decode(values: &[u8]) -> Zeroizing<[u8; SECRET_BYTES]> {
    let mut out = Zeroizing::new([0_u8; SECRET_BYTES]);
    let (mut buffer, mut bits, mut at) = (0_u32, 0_u32, 0_usize);
    for value in values {
        buffer = (buffer << 5) | u32::from(*value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            if let Some(slot) = out.get_mut(at) {
                *slot = u8::try_from((buffer >> bits) & 0xff).unwrap_or(0);
            }
            at += 1;
            buffer &= (1 << bits) - 1;
        }
    }
    out
}

fn value_of(c: char) -> Option<u8> {
    let c = match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        c => c,
    };
    ALPHABET.iter().position(|a| char::from(*a) == c).and_then(|at| u8::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    fn code(clinic: &str, seed: u64) -> EnrolmentCode {
        EnrolmentCode::generate(&ClinicId::parse(clinic).unwrap(), &mut StdRng::seed_from_u64(seed))
    }

    #[test]
    fn a_code_round_trips_also_typed_badly_but_readably() {
        for (seed, clinic) in [(1, "shilipu"), (2, "a-b_c-01"), (3, "x")] {
            let code = code(clinic, seed);
            let text = code.reveal();
            assert_eq!(EnrolmentCode::parse(&text).unwrap(), code);
            let sloppy = format!("  {} ", text.to_lowercase().replace('0', "o").replace('1', "l"));
            if !clinic.contains(['0', '1']) {
                assert_eq!(EnrolmentCode::parse(&sloppy.replace("relayl", "relay1")).unwrap(), code);
            }
        }
    }

    #[test]
    fn every_single_slip_of_the_finger_is_found() {
        let text = code("shilipu", 9).reveal();
        let start = text.len() - 24;
        for at in start..text.len() {
            let mut typed = text.as_bytes().to_vec();
            if typed[at] == b'-' {
                continue;
            }
            typed[at] = if typed[at] == b'7' { b'8' } else { b'7' };
            let typed = String::from_utf8(typed).unwrap();
            if typed != *text {
                assert_eq!(EnrolmentCode::parse(&typed), Err(CodeError::Checksum), "{typed}");
            }
        }
        assert_eq!(EnrolmentCode::parse(&text.replace("shilipu", "shilipo")), Err(CodeError::Checksum));
    }

    #[test]
    fn nonsense_is_refused_and_never_panics() {
        for text in [
            "",
            "-",
            "RELAY1",
            "RELAY1-x",
            "RELAY2-x-0000-0000-0000-0000-0000",
            "RELAY1--0000-0000-0000-0000-0000",
            "RELAY1-x-000-0000-0000-0000-0000",
            "RELAY1-x-UUUU-0000-0000-0000-0000",
            "RELAY1-卫-卫卫卫卫-0000-0000-0000-0000",
        ] {
            assert!(EnrolmentCode::parse(text).is_err(), "{text}");
        }
        assert!(EnrolmentCode::parse(&"-".repeat(10_000)).is_err());
    }

    #[test]
    fn the_secret_is_not_printed_by_debug() {
        let code = code("shilipu", 4);
        assert_eq!(format!("{code:?}"), "EnrolmentCode(shilipu, hidden)");
    }

    #[test]
    fn an_invitation_carries_code_and_fingerprint() {
        let invitation = Invitation { code: code("shilipu", 5), ca_fingerprint: Sha256::of(b"ca") };
        assert_eq!(Invitation::parse(&invitation.reveal()).unwrap(), invitation);
        let spoken = format!("{}@{}", invitation.code.reveal().as_str(), invitation.spoken_fingerprint());
        assert_eq!(Invitation::parse(&spoken).unwrap(), invitation);
        assert_eq!(Invitation::parse(&invitation.code.reveal()), Err(CodeError::Fingerprint));
    }
}
