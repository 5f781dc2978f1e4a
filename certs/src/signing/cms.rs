//! The one form of CMS that is written and accepted (RFC 5652, EN 319 122-1 CAdES-BES): detached, one signer,
//! certificates {doctor, CA}, signed attributes {contentType, messageDigest, signingTime, signingCertificateV2}.

use std::time::Duration;

use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
    UnsignedAttributes,
};
use der::asn1::{ObjectIdentifier, OctetString, SetOfVec, UtcTime};
use der::{Any, Decode as _, Encode, Sequence};
use relay_core::clock::UtcMs;
use relay_core::ids::Sha256;
use rustls_pki_types::CertificateDer;
use spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;
use x509_cert::attr::{Attribute, Attributes};
use x509_cert::time::Time;

use super::SignatureSuite;

const ID_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ID_SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

/// Most bytes of a CMS that is read: ours have about 2 kB, time stamps may add some.
const MAX_CMS_BYTES: usize = 64 * 1024;
/// Last second that a UTCTime can name (2049-12-31T23:59:59Z); later ones are GeneralizedTime (RFC 5652 §11.3).
const LAST_UTC_TIME_SECOND: u64 = 2_524_607_999;

/// RFC 5035 with the default hash, SHA-256, and without issuerSerial.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct EssCertIdV2 {
    cert_hash: OctetString,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct SigningCertificateV2 {
    certs: Vec<EssCertIdV2>,
}

/// What a CMS is made of.
#[derive(Debug, Clone)]
pub(super) struct CmsParts {
    pub(super) suite: SignatureSuite,
    pub(super) leaf: CertificateDer<'static>,
    pub(super) ca: CertificateDer<'static>,
    pub(super) content_sha256: Sha256,
    /// Whole seconds: the precision of the attribute.
    pub(super) signing_time: UtcMs,
}

/// Why bytes are not a CMS of our form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CmsFault {
    /// Not DER, or another structure.
    Form(String),
    /// Algorithms that this version does not know.
    Suite(String),
}

impl From<der::Error> for CmsFault {
    fn from(error: der::Error) -> Self {
        Self::Form(error.to_string())
    }
}

fn form(reason: &str) -> CmsFault {
    CmsFault::Form(reason.to_owned())
}

impl CmsParts {
    /// The DER SET OF signed attributes: exactly these bytes are signed (RFC 5652 §5.4).
    pub(super) fn to_be_signed(&self) -> Result<Vec<u8>, CmsFault> {
        Ok(self.attributes()?.to_der()?)
    }

    fn attributes(&self) -> Result<Attributes, CmsFault> {
        let ess = SigningCertificateV2 {
            certs: vec![EssCertIdV2 { cert_hash: OctetString::new(Sha256::of(self.leaf.as_ref()).0)? }],
        };
        Ok(SetOfVec::try_from(vec![
            attribute(CONTENT_TYPE, &ID_DATA)?,
            attribute(MESSAGE_DIGEST, &OctetString::new(self.content_sha256.0)?)?,
            attribute(SIGNING_TIME, &time_of(self.signing_time)?)?,
            attribute(SIGNING_CERTIFICATE_V2, &ess)?,
        ])?)
    }

    /// The whole CMS around a signature.
    pub(super) fn assemble(
        &self,
        signature: &[u8],
        unsigned_attrs: Option<UnsignedAttributes>,
    ) -> Result<Vec<u8>, CmsFault> {
        let leaf = Certificate::from_der(self.leaf.as_ref())?;
        let digest_alg = algorithm(self.suite.digest_oid());
        let signer = SignerInfo {
            version: CmsVersion::V1,
            sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
                issuer: leaf.tbs_certificate.issuer.clone(),
                serial_number: leaf.tbs_certificate.serial_number.clone(),
            }),
            digest_alg: digest_alg.clone(),
            signed_attrs: Some(self.attributes()?),
            signature_algorithm: algorithm(self.suite.signature_oid()),
            signature: OctetString::new(signature)?,
            unsigned_attrs,
        };
        let certificates = vec![
            CertificateChoices::Certificate(leaf),
            CertificateChoices::Certificate(Certificate::from_der(self.ca.as_ref())?),
        ];
        let signed = SignedData {
            version: CmsVersion::V1,
            digest_algorithms: SetOfVec::try_from(vec![digest_alg])?,
            encap_content_info: EncapsulatedContentInfo { econtent_type: ID_DATA, econtent: None },
            certificates: Some(CertificateSet(SetOfVec::try_from(certificates)?)),
            crls: None,
            signer_infos: SignerInfos(SetOfVec::try_from(vec![signer])?),
        };
        let info = ContentInfo { content_type: ID_SIGNED_DATA, content: Any::encode_from(&signed)? };
        Ok(info.to_der()?)
    }
}

/// A CMS taken apart: well formed and in the one form, nothing verified yet.
pub(super) struct ParsedCms {
    pub(super) parts: CmsParts,
    pub(super) signature: Vec<u8>,
}

/// Takes a CMS apart; `ca` is the county CA that it must embed.
pub(super) fn parse(bytes: &[u8], ca: &CertificateDer<'_>) -> Result<ParsedCms, CmsFault> {
    if bytes.len() > MAX_CMS_BYTES {
        return Err(CmsFault::Form(format!("{} bytes, at most {MAX_CMS_BYTES} are read", bytes.len())));
    }
    let info = ContentInfo::from_der(bytes)?;
    if info.content_type != ID_SIGNED_DATA {
        return Err(form("not signed data"));
    }
    let signed: SignedData = info.content.decode_as()?;
    let [signer] = signed.signer_infos.0.as_slice() else { return Err(form("not exactly one signer")) };
    let suite = SignatureSuite::from_oids(signer.digest_alg.oid, signer.signature_algorithm.oid);
    let suite = suite.ok_or_else(|| {
        CmsFault::Suite(format!("{} with {}", signer.signature_algorithm.oid, signer.digest_alg.oid))
    })?;
    let leaf = leaf_of(&signed, signer, ca)?;
    let attributes = signer.signed_attrs.as_ref().ok_or_else(|| form("no signed attributes"))?;
    let digest: OctetString = single(attributes, MESSAGE_DIGEST)?.decode_as()?;
    let content_sha256 =
        Sha256::from_slice(digest.as_bytes()).ok_or_else(|| form("messageDigest has not 32 bytes"))?;
    let time = Time::from_der(&single(attributes, SIGNING_TIME)?.to_der()?)?;
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).map_err(|_| form("signingTime"))?;
    let parts = CmsParts {
        suite,
        leaf,
        ca: ca.clone().into_owned(),
        content_sha256,
        signing_time: UtcMs(seconds.saturating_mul(1_000)),
    };
    let signature = signer.signature.as_bytes().to_vec();
    // Everything that is not a part is fixed by the form: building it again finds every other change.
    if parts.assemble(&signature, signer.unsigned_attrs.clone())? != bytes {
        return Err(form("not in the form that the county writes"));
    }
    Ok(ParsedCms { parts, signature })
}

fn leaf_of(
    signed: &SignedData,
    signer: &SignerInfo,
    ca: &CertificateDer<'_>,
) -> Result<CertificateDer<'static>, CmsFault> {
    let certificates = signed.certificates.as_ref().ok_or_else(|| form("no certificates"))?;
    let SignerIdentifier::IssuerAndSerialNumber(sid) = &signer.sid else {
        return Err(form("the signer is not named by issuer and serial number"));
    };
    for choice in certificates.0.iter() {
        if let CertificateChoices::Certificate(certificate) = choice {
            let tbs = &certificate.tbs_certificate;
            if tbs.serial_number == sid.serial_number && tbs.issuer == sid.issuer {
                let der = CertificateDer::from(certificate.to_der()?);
                if der.as_ref() != ca.as_ref() {
                    return Ok(der);
                }
            }
        }
    }
    Err(form("the signer's certificate is missing"))
}

fn single(attributes: &Attributes, oid: ObjectIdentifier) -> Result<&Any, CmsFault> {
    let mut found = attributes.iter().filter(|a| a.oid == oid);
    match (found.next(), found.next()) {
        (Some(attribute), None) if attribute.values.len() == 1 => {
            attribute.values.get(0).ok_or_else(|| form("empty attribute"))
        }
        _ => Err(CmsFault::Form(format!("not exactly one attribute {oid}"))),
    }
}

fn attribute<T: Encode>(oid: ObjectIdentifier, value: &T) -> Result<Attribute, CmsFault> {
    Ok(Attribute { oid, values: SetOfVec::try_from(vec![Any::from_der(&value.to_der()?)?])? })
}

fn time_of(at: UtcMs) -> Result<Time, CmsFault> {
    let seconds = u64::try_from(at.0.div_euclid(1_000)).map_err(|_| form("signing time before 1970"))?;
    let since = Duration::from_secs(seconds);
    Ok(if seconds <= LAST_UTC_TIME_SECOND {
        Time::UtcTime(UtcTime::from_unix_duration(since)?)
    } else {
        Time::GeneralTime(der::asn1::GeneralizedTime::from_unix_duration(since)?)
    })
}

const fn algorithm(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid, parameters: None }
}

/// The self-issued certificates inside a CMS: candidates for the CA it was made under. Nothing is trusted by this.
pub(super) fn embedded_cas(bytes: &[u8]) -> Vec<CertificateDer<'static>> {
    if bytes.len() > MAX_CMS_BYTES {
        return Vec::new();
    }
    let signed = ContentInfo::from_der(bytes).and_then(|info| info.content.decode_as::<SignedData>());
    let Ok(SignedData { certificates: Some(certificates), .. }) = signed else { return Vec::new() };
    certificates
        .0
        .iter()
        .filter_map(|choice| match choice {
            CertificateChoices::Certificate(c) if c.tbs_certificate.issuer == c.tbs_certificate.subject => {
                c.to_der().ok().map(CertificateDer::from)
            }
            _ => None,
        })
        .collect()
}
