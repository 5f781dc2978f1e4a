//! What a study is: class, kind, context, manifest, revision.

pub(crate) mod class;
mod manifest;

pub(crate) use class::words;
pub use class::{Class, Kind};
pub use manifest::{
    CodedForm, Completeness, Encoding, Manifest, ManifestError, ManifestObject, ObjectKind, StudyContext,
    StudyRevision,
};
