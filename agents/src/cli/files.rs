//! The files that a person means by a list of paths.

use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};

/// Folders inside folders that are looked into.
const MAX_DEPTH: usize = 32;
/// Files of one command: a year of a clinic's films. More are sent in parts.
const MAX_FILES: usize = 100_000;

/// What stands below the paths.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Files, in a fixed order.
    pub(super) files: Vec<PathBuf>,
    /// Pipes, sockets, devices, and links that a person did not name: reading them may never end.
    pub(super) odd: Vec<PathBuf>,
}

/// Files below the paths, in a fixed order. Links are followed where they are named, not where they are found.
///
/// # Errors
/// A path that does not exist or cannot be listed, or no file at all.
pub(super) fn below(paths: &[PathBuf]) -> anyhow::Result<Found> {
    let mut all = Found::default();
    for path in paths {
        let kind = std::fs::metadata(path).with_context(|| {
            format!(
                "{}：文件或目录不存在或无法读取，未发送任何文件 / cannot be read; nothing was sent",
                path.display()
            )
        })?;
        let mut found = Found::default();
        found.add(path, kind.file_type(), 0)?;
        found.files.sort();
        all.files.append(&mut found.files);
        all.odd.append(&mut found.odd);
    }
    if all.files.is_empty() && all.odd.is_empty() {
        bail!("所给目录中没有文件，请检查路径 / no file in the given folders: check the paths");
    }
    Ok(all)
}

impl Found {
    fn add(&mut self, path: &Path, kind: std::fs::FileType, depth: usize) -> anyhow::Result<()> {
        let shown = || path.display().to_string();
        if kind.is_file() {
            if self.files.len() >= MAX_FILES {
                bail!(
                    "{}：一次最多发送 {MAX_FILES} 个文件，请分批发送 / more than {MAX_FILES} files: send them in parts",
                    shown()
                );
            }
            self.files.push(path.to_owned());
        } else if !kind.is_dir() || depth >= MAX_DEPTH {
            self.odd.push(path.to_owned());
        } else {
            for entry in std::fs::read_dir(path).with_context(shown)? {
                let entry = entry.with_context(shown)?;
                self.add(&entry.path(), entry.file_type().with_context(shown)?, depth + 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_folder_of_mixed_junk_gives_its_files_and_names_what_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        testing::write(dir.path(), "b.dcm", b"b");
        testing::write(dir.path(), "a.dcm", b"a");
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        let found = below(&[dir.path().to_owned()]).unwrap();
        assert_eq!(found.files, [dir.path().join("a.dcm"), dir.path().join("b.dcm")]);
        assert_eq!(found.odd.len(), 2);
    }

    #[test]
    fn an_absent_path_and_an_empty_folder_are_said_before_anything_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        assert!(below(&[dir.path().join("nowhere")]).unwrap_err().to_string().contains("nowhere"));
        assert!(below(&[dir.path().to_owned()]).is_err());
    }
}
