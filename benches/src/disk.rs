//! The physical limit: the same bytes written to the same disk by nothing but the kernel.

use anyhow::Context as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// How long it takes one thread to write every file anew and sync it: what a store that makes one object durable after the
/// other could reach at best.
///
/// # Errors
/// Of the disk, naming the path.
pub fn write_synced(files: &[PathBuf], dir: &Path) -> anyhow::Result<Duration> {
    let contents = files
        .iter()
        .map(|path| std::fs::read(path).with_context(|| path.display().to_string()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let begin = Instant::now();
    for (number, bytes) in contents.iter().enumerate() {
        let path = dir.join(format!("limit-{number}"));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        file.write_all(bytes)?;
        file.sync_data()?;
    }
    let took = begin.elapsed();
    for number in 0..contents.len() {
        std::fs::remove_file(dir.join(format!("limit-{number}")))?;
    }
    Ok(took)
}
