//! The package in which a report version travels and is kept: seven parts, length-prefixed, in fixed order.
//!
//! Layout: `RELAYPK1`, then for each part `tag: u8, length: u32 big-endian, bytes`. Part tags are never reused.

use crate::limits;

const MAGIC: &[u8; 8] = b"RELAYPK1";
const TAG_MANIFEST: u8 = 1;
const TAG_JSON: u8 = 2;
const TAG_PDF: u8 = 3;
const TAG_AUTHOR_CMS: u8 = 4;
const TAG_REVIEW: u8 = 5;
const TAG_REVIEWER_CMS: u8 = 6;
const TAG_REVOCATIONS: u8 = 7;

/// A report version as it left the county: content, appearance and signatures. Nothing in it is trusted before
/// `relay_certs` has verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportPackage {
    /// Canonical bytes of the `SignedManifest`.
    pub manifest: Vec<u8>,
    /// `report.json`: the FHIR document in RFC 8785 form.
    pub json: Vec<u8>,
    /// `report.pdf`.
    pub pdf: Vec<u8>,
    /// `author.p7s`: detached CMS over `manifest`.
    pub author_cms: Vec<u8>,
    /// Canonical bytes of the `ReviewManifest` and `reviewer.p7s`, the detached CMS over it.
    pub review: Option<(Vec<u8>, Vec<u8>)>,
    /// `revocations.crl`: the county's revocation list as of signing (RFC 5280, DER, signed by the county CA), so that
    /// a clinic learns of a revocation with the next report, and the evidence stays with the report.
    pub revocations: Option<Vec<u8>>,
}

/// Why bytes are not a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// The first eight bytes are not the magic.
    #[error("not a report package")]
    Magic,
    /// The package ends in the middle of a part.
    #[error("the package ends in the middle of part {0}")]
    Truncated(u8),
    /// A part that this version does not know, or that comes twice or out of order.
    #[error("part {0} is unknown or out of order")]
    Part(u8),
    /// A part is missing.
    #[error("part {0} is missing")]
    Missing(u8),
    /// Longer than [`limits::MAX_LETTER_BYTES`].
    #[error("{0} bytes are more than a letter may have")]
    TooLarge(usize),
}

impl ReportPackage {
    /// The bytes that travel and are stored.
    ///
    /// # Errors
    /// [`PackageError::TooLarge`] when the parts exceed [`limits::MAX_LETTER_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, PackageError> {
        let mut parts: Vec<(u8, &[u8])> = vec![
            (TAG_MANIFEST, &self.manifest),
            (TAG_JSON, &self.json),
            (TAG_PDF, &self.pdf),
            (TAG_AUTHOR_CMS, &self.author_cms),
        ];
        if let Some((review, cms)) = &self.review {
            parts.push((TAG_REVIEW, review));
            parts.push((TAG_REVIEWER_CMS, cms));
        }
        if let Some(list) = &self.revocations {
            parts.push((TAG_REVOCATIONS, list));
        }
        let total: usize = MAGIC.len() + parts.iter().map(|(_, bytes)| 5 + bytes.len()).sum::<usize>();
        if total as u64 > limits::MAX_LETTER_BYTES {
            return Err(PackageError::TooLarge(total));
        }
        let mut out = Vec::with_capacity(total);
        out.extend_from_slice(MAGIC);
        for (tag, bytes) in parts {
            out.push(tag);
            let length = u32::try_from(bytes.len()).expect("invariant: below MAX_LETTER_BYTES");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
        }
        Ok(out)
    }

    /// Parses what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`PackageError`] naming the part.
    pub fn decode(bytes: &[u8]) -> Result<Self, PackageError> {
        if bytes.len() as u64 > limits::MAX_LETTER_BYTES {
            return Err(PackageError::TooLarge(bytes.len()));
        }
        let mut rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or(PackageError::Magic)?;
        let mut parts: [Option<Vec<u8>>; 7] = Default::default();
        let mut last = 0;
        while let Some((&tag, after)) = rest.split_first() {
            if tag <= last || tag > TAG_REVOCATIONS {
                return Err(PackageError::Part(tag));
            }
            let (length, after) = after.split_first_chunk::<4>().ok_or(PackageError::Truncated(tag))?;
            let length = u32::from_be_bytes(*length) as usize;
            if after.len() < length {
                return Err(PackageError::Truncated(tag));
            }
            let (part, after) = after.split_at(length);
            parts[usize::from(tag) - 1] = Some(part.to_vec());
            (last, rest) = (tag, after);
        }
        let [manifest, json, pdf, author_cms, review, reviewer_cms, revocations] = parts;
        let review = match (review, reviewer_cms) {
            (Some(review), Some(cms)) => Some((review, cms)),
            (None, None) => None,
            (None, Some(_)) => return Err(PackageError::Missing(TAG_REVIEW)),
            (Some(_), None) => return Err(PackageError::Missing(TAG_REVIEWER_CMS)),
        };
        Ok(Self {
            manifest: manifest.ok_or(PackageError::Missing(TAG_MANIFEST))?,
            json: json.ok_or(PackageError::Missing(TAG_JSON))?,
            pdf: pdf.ok_or(PackageError::Missing(TAG_PDF))?,
            author_cms: author_cms.ok_or(PackageError::Missing(TAG_AUTHOR_CMS))?,
            review,
            revocations,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(review: bool) -> ReportPackage {
        ReportPackage {
            manifest: b"m".to_vec(),
            json: b"{}".to_vec(),
            pdf: b"%PDF".to_vec(),
            author_cms: vec![0x30],
            review: review.then(|| (b"r".to_vec(), vec![0x30, 0])),
            revocations: review.then(|| vec![0x30, 1]),
        }
    }

    #[test]
    fn a_package_round_trips_with_and_without_review() {
        for review in [false, true] {
            let bytes = package(review).encode().unwrap();
            assert_eq!(ReportPackage::decode(&bytes), Ok(package(review)));
        }
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = package(true).encode().unwrap();
        // Two cuts leave a lawful package: before the review, and before the revocation list.
        let lawful = [package(false).encode().unwrap().len(), bytes.len() - 7];
        for cut in (0..bytes.len()).filter(|cut| !lawful.contains(cut)) {
            assert!(ReportPackage::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
