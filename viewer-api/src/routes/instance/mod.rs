//! One object of a study: its file, header, frames, preview, samples.

pub(super) mod file;
pub(super) mod frame;
pub(super) mod metadata;
pub(super) mod preview;
pub(super) mod waveform;

use super::study::study_key;
use crate::desk::Reader;
use crate::problem::Problem;
use crate::state::Viewer;
use relay_core::codes::Code;
use relay_core::ids::{ObjectHash, StudyKey};
use std::path::PathBuf;

/// Where an instance is, after parsing.
struct Address {
    study: StudyKey,
    object: ObjectHash,
}

fn address(clinic: &str, uid: &str, hash: &str) -> Result<Address, Problem> {
    let object =
        ObjectHash::from_hex(hash).map_err(|_| Problem::new(Code::NotFound, "hash", "no such object"))?;
    Ok(Address { study: study_key(clinic, uid)?, object })
}

impl Address {
    /// The file, after the desk's scope check.
    async fn path(&self, state: &Viewer, reader: &Reader) -> Result<PathBuf, Problem> {
        Ok(state.desk.object_path(reader, &self.study, &self.object, state.clock.now()).await?)
    }
}
