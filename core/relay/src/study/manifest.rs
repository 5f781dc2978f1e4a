//! The manifest: what one end says a study consists of. It always goes before the bytes.

use super::{Class, Kind};
use crate::clock::UtcMs;
use crate::ids::{InstanceUid, ObjectHash, SeriesUid, StudyUid};
use crate::limits;
use std::collections::BTreeSet;

use super::words;

words! {
    /// Whether more objects are to be expected.
    Completeness {
        /// More may come: association open, or within the quiet time.
        Partial = 0, "partial", "未完整";
        /// The clinic says this is all (sent by hand, exam finished, or quiet time over).
        Complete = 1, "complete", "完整";
    }
}

words! {
    /// What an object is.
    ObjectKind {
        /// A DICOM file (PS3.10), image or waveform.
        Dicom = 0, "dicom", "DICOM";
        /// An ECG file of another format.
        Ecg = 1, "ecg", "心电文件";
        /// A PDF or picture that a person looks at.
        Document = 2, "document", "文档";
    }
}

words! {
    /// How the bytes are coded in transit; the receiver always restores the plaintext exactly.
    Encoding {
        /// As they are.
        Identity = 0, "identity", "原样";
        /// Zstandard (RFC 8878), one frame, window at most 8 MiB.
        Zstd = 1, "zstd", "zstd";
        /// The Relay's lossless film coder.
        Film = 2, "film", "film";
    }
}

/// The form in which an object travels. Byte ranges on the link are ranges of this form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CodedForm {
    /// How it is coded.
    pub encoding: Encoding,
    /// Length of the coded form in bytes.
    pub length: u64,
    /// BLAKE3 of the coded form; equal to the object hash for [`Encoding::Identity`].
    pub hash: ObjectHash,
}

/// One object of a study.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ManifestObject {
    /// BLAKE3 of the plaintext: the object's address.
    pub hash: ObjectHash,
    /// Plaintext length in bytes.
    pub length: u64,
    /// What it is.
    pub kind: ObjectKind,
    /// SOPInstanceUID where it has one.
    pub instance: Option<InstanceUid>,
    /// SeriesInstanceUID where it has one.
    pub series: Option<SeriesUid>,
    /// How it travels.
    pub coded: CodedForm,
}

/// What the clinic knows about the exam besides the bytes. Every field may come before, during or after transfer.
/// Personal data: stored only in the table `person`, never in events, logs or metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct StudyContext {
    /// Chief complaint 主诉.
    pub complaint: Option<String>,
    /// Telephone to call back.
    pub phone: Option<String>,
    /// Requesting doctor.
    pub doctor: Option<String>,
    /// Patient name as corrected or given by the clinic, when the file has none.
    pub patient_name: Option<String>,
    /// Patient id in the clinic, when the file has none.
    pub patient_id: Option<String>,
    /// Sex as `M`, `F`, `O` (PS3.3 C.7.1.1), when the file has none.
    pub patient_sex: Option<String>,
    /// Birth date `YYYYMMDD`, when the file has none.
    pub patient_birth_date: Option<String>,
    /// Answer to a retake request: the retaken study refers to this one.
    pub retake_of: Option<StudyUid>,
}

impl StudyContext {
    /// Every text field with its name, for limits and encoding.
    #[must_use]
    pub fn texts(&self) -> [(&'static str, Option<&str>); 7] {
        [
            ("complaint", self.complaint.as_deref()),
            ("phone", self.phone.as_deref()),
            ("doctor", self.doctor.as_deref()),
            ("patient_name", self.patient_name.as_deref()),
            ("patient_id", self.patient_id.as_deref()),
            ("patient_sex", self.patient_sex.as_deref()),
            ("patient_birth_date", self.patient_birth_date.as_deref()),
        ]
    }
}

/// Everything the clinic says of one study. Sent whole each time something changes, with a higher generation;
/// the receiver keeps the highest. A raise of class, a mark, *exam finished* and a late object are all new generations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The StudyInstanceUID; the clinic comes from the certificate.
    pub study: StudyUid,
    /// Counts up at the agent with every change of this study.
    pub generation: u64,
    /// Urgency.
    pub class: Class,
    /// ECG, X-ray or other.
    pub kind: Kind,
    /// Whether more is to come.
    pub completeness: Completeness,
    /// When the first object was safe at the agent (agent's clock).
    pub first_object_at: UtcMs,
    /// Exam completed, agent's reading of the file's own times or of *exam finished*; `None` = unknown.
    pub exam_completed_at: Option<UtcMs>,
    /// True when the exam time is implausible or was assumed (zone missing, clock doubt).
    pub time_suspect: bool,
    /// AE title or folder it came from.
    pub source: String,
    /// What the clinic adds.
    pub context: StudyContext,
    /// The objects, each hash once.
    pub objects: Vec<ManifestObject>,
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// No object at all.
    #[error("the manifest names no object")]
    Empty,
    /// More objects than [`limits::MAX_OBJECTS_PER_STUDY`].
    #[error("{count} objects, at most {max} are lawful")]
    TooManyObjects {
        /// Objects named.
        count: usize,
        /// Objects allowed.
        max: usize,
    },
    /// One hash twice.
    #[error("object {0} is named twice")]
    Twice(ObjectHash),
    /// An object longer than [`limits::MAX_OBJECT_BYTES`].
    #[error("object {hash} claims {length} bytes, at most {max} are lawful")]
    ObjectTooLarge {
        /// Which object.
        hash: ObjectHash,
        /// Claimed bytes.
        length: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// The coded form contradicts the plain one.
    #[error("object {hash}: the coded form contradicts the plain one: {reason}")]
    CodedForm {
        /// Which object.
        hash: ObjectHash,
        /// What contradicts.
        reason: &'static str,
    },
    /// A text field is longer than [`limits::MAX_CONTEXT_CHARS`].
    #[error("{field} has {chars} characters, at most {max} are lawful")]
    TextTooLong {
        /// Which field.
        field: &'static str,
        /// Characters found.
        chars: usize,
        /// Characters allowed.
        max: usize,
    },
}

impl Manifest {
    /// Checks what can be checked without the bytes.
    ///
    /// # Errors
    /// [`ManifestError`] naming the first contradiction.
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.objects.is_empty() {
            return Err(ManifestError::Empty);
        }
        if self.objects.len() > limits::MAX_OBJECTS_PER_STUDY {
            let (count, max) = (self.objects.len(), limits::MAX_OBJECTS_PER_STUDY);
            return Err(ManifestError::TooManyObjects { count, max });
        }
        let mut seen = BTreeSet::new();
        for object in &self.objects {
            if !seen.insert(object.hash) {
                return Err(ManifestError::Twice(object.hash));
            }
            object.check()?;
        }
        let texts = self.context.texts();
        for (field, text) in texts.iter().copied().chain([("source", Some(self.source.as_str()))]) {
            let chars = text.map_or(0, |t| t.chars().count());
            if chars > limits::MAX_CONTEXT_CHARS {
                return Err(ManifestError::TextTooLong { field, chars, max: limits::MAX_CONTEXT_CHARS });
            }
        }
        Ok(())
    }

    /// The revision of the study that this manifest describes.
    #[must_use]
    pub fn revision(&self) -> StudyRevision {
        StudyRevision::of(self.objects.iter().map(|o| o.hash))
    }
}

impl ManifestObject {
    fn check(&self) -> Result<(), ManifestError> {
        let (hash, max) = (self.hash, limits::MAX_OBJECT_BYTES);
        for length in [self.length, self.coded.length] {
            if length > max {
                return Err(ManifestError::ObjectTooLarge { hash, length, max });
            }
        }
        if self.length == 0 {
            return Err(ManifestError::CodedForm { hash, reason: "the object is empty" });
        }
        if self.coded.length == 0 {
            return Err(ManifestError::CodedForm { hash, reason: "the coded form is empty" });
        }
        if self.coded.encoding == Encoding::Identity
            && (self.coded.length != self.length || self.coded.hash != self.hash)
        {
            return Err(ManifestError::CodedForm { hash, reason: "identity with another length or hash" });
        }
        Ok(())
    }
}

/// Which set of objects a report has read: BLAKE3 of the sorted object hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct StudyRevision(pub ObjectHash);

impl StudyRevision {
    /// The revision of a set of objects; order and repetition do not matter.
    pub fn of(hashes: impl IntoIterator<Item = ObjectHash>) -> Self {
        let sorted: BTreeSet<ObjectHash> = hashes.into_iter().collect();
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"relay study revision v1\0");
        for hash in &sorted {
            hasher.update(&hash.0);
        }
        Self(ObjectHash(*hasher.finalize().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(content: &[u8]) -> ManifestObject {
        let (hash, length) = (ObjectHash::of(content), content.len() as u64);
        ManifestObject {
            hash,
            length,
            kind: ObjectKind::Dicom,
            instance: None,
            series: None,
            coded: CodedForm { encoding: Encoding::Identity, length, hash },
        }
    }

    fn manifest(objects: Vec<ManifestObject>) -> Manifest {
        Manifest {
            study: StudyUid::parse("1.2.3").unwrap(),
            generation: 1,
            class: Class::Routine,
            kind: Kind::Xray,
            completeness: Completeness::Partial,
            first_object_at: UtcMs(0),
            exam_completed_at: None,
            time_suspect: false,
            source: "DR1".into(),
            context: StudyContext::default(),
            objects,
        }
    }

    #[test]
    fn the_revision_does_not_depend_on_order() {
        let (a, b) = (ObjectHash::of(b"a"), ObjectHash::of(b"b"));
        assert_eq!(StudyRevision::of([a, b]), StudyRevision::of([b, a, a]));
        assert_ne!(StudyRevision::of([a, b]), StudyRevision::of([a]));
    }

    #[test]
    fn a_manifest_that_names_one_object_twice_is_refused() {
        let one = object(b"film");
        assert_eq!(manifest(vec![one.clone(), one.clone()]).check(), Err(ManifestError::Twice(one.hash)));
        assert_eq!(manifest(vec![]).check(), Err(ManifestError::Empty));
        assert_eq!(manifest(vec![one]).check(), Ok(()));
    }

    #[test]
    fn a_lying_length_or_identity_is_refused() {
        let mut big = object(b"film");
        big.length = limits::MAX_OBJECT_BYTES + 1;
        assert!(matches!(manifest(vec![big]).check(), Err(ManifestError::ObjectTooLarge { .. })));
        let mut lying = object(b"film");
        lying.coded.length = 3;
        assert!(matches!(manifest(vec![lying]).check(), Err(ManifestError::CodedForm { .. })));
    }

    #[test]
    fn an_overlong_complaint_names_the_field() {
        let mut long = manifest(vec![object(b"x")]);
        long.context.complaint = Some("痛".repeat(limits::MAX_CONTEXT_CHARS + 1));
        assert!(long.check().unwrap_err().to_string().starts_with("complaint has"));
    }
}
