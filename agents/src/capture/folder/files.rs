//! Files of a watched folder: how they look, what lies there, and how they are moved away.

use super::writers::Writers;
use super::{DONE, MAX_FILES, REJECTED};
use relay_core::codes::Refusal;
use relay_core::durable::{Disk as _, RealDisk, write_atomic};
use relay_core::ids::ObjectHash;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Folders inside folders that are looked into: patient / date / series is three.
const MAX_DEPTH: usize = 8;
/// Bytes of a file name (ext4, XFS, btrfs, tmpfs).
const MAX_NAME_BYTES: usize = 255;
/// Bytes that an atomic write puts around the name while it writes: `.` and `.new`.
const TEMP_BYTES: usize = 5;
/// Ends of names under which programs write before they rename.
const UNFINISHED: [&str; 4] = [".tmp", ".part", ".partial", ".crdownload"];
/// Stands beside a refused file.
const REASON: &str = ".reason.txt";

/// How a file looked when it was seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) size: u64,
    pub(super) modified_ns: u128,
}

impl Look {
    pub(super) fn of(metadata: &std::fs::Metadata) -> io::Result<Self> {
        let modified = metadata.modified()?.duration_since(std::time::UNIX_EPOCH);
        Ok(Self { size: metadata.len(), modified_ns: modified.map_or(0, |d| d.as_nanos()) })
    }

    /// Of a path; `None` when nothing is there any more.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let metadata = std::fs::symlink_metadata(path).ok()?;
        metadata.is_file().then(|| Self::of(&metadata).ok()).flatten()
    }
}

/// Fails when a folder that was there before is missing, or is as empty as the place where a share is mounted.
pub(super) fn still_there(root: &Path) -> io::Result<()> {
    let gone = |zh: &str| io::Error::new(io::ErrorKind::NotFound, format!("{}: {zh}", root.display()));
    let mut entries = std::fs::read_dir(root).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => gone(
            "原有目录不见了，网络共享可能未挂载 / it was there and is gone: a share that is not mounted?",
        ),
        kind => io::Error::new(kind, format!("{}: {error}", root.display())),
    })?;
    match entries.next() {
        Some(_) => Ok(()),
        None => Err(gone(
            "目录为空，连 done 子目录也没有，网络共享可能未挂载；若确为此目录，请在其中新建 done 子目录 / it is empty, without its done: a share that is not mounted? If it is the right one, make done in it",
        )),
    }
}

/// A file name as a person reads it: carts and consoles write theirs in GB18030.
pub(super) fn readable(name: &std::ffi::OsStr) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = name.as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            relay_core::formats::text::chinese(bytes).unwrap_or_else(|| name.to_string_lossy().into_owned())
        }
    }
}

/// What lies below a folder.
pub(super) struct Found {
    pub(super) files: Vec<(PathBuf, Look)>,
    pub(super) skipped: Skipped,
}

/// Sub-folders that are not looked into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) dirs: usize,
    /// The first of them.
    pub(super) first: String,
}

impl Skipped {
    fn add(&mut self, dir: &Path) {
        if self.dirs == 0 {
            self.first = dir.display().to_string();
        }
        self.dirs += 1;
    }
}

/// Makes `done` and `rejected` when they are missing, open to the same people as the folder itself.
pub(super) fn prepare(root: &Path) -> io::Result<()> {
    let named = |dir: &Path, e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", dir.display()));
    RealDisk.create_dir_all(root).map_err(|e| named(root, e))?;
    for dir in [root.join(DONE), root.join(REJECTED)] {
        if dir.is_dir() {
            continue;
        }
        RealDisk.create_dir_all(&dir).map_err(|e| named(&dir, e))?;
        if !dir.is_dir() {
            // Somebody's file has its name: what is taken stays where it is until that is gone.
            continue;
        }
        let mode = std::fs::metadata(root).map_err(|e| named(root, e))?.permissions().mode();
        // A share that keeps its own modes may refuse; then the directory is as the share makes it.
        if let Err(error) = std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode & 0o7777)) {
            tracing::debug!(dir = %dir.display(), %error, "the directory keeps the mode it was made with");
        }
    }
    Ok(())
}

/// Files below `root`, without `done`, `rejected`, hidden and half-written names. Every directory is watched for writers
/// before it is read.
pub(super) fn list(root: &Path, writers: &mut Writers) -> io::Result<Found> {
    for dir in [root.join(DONE), root.join(REJECTED)] {
        writers.watch(&dir);
    }
    let (mut found, mut skipped) = (Vec::new(), Skipped::default());
    let mut dirs = vec![(root.to_owned(), 0)];
    while let Some((dir, depth)) = dirs.pop() {
        writers.watch(&dir);
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(error),
            // A sub-folder that vanished or is closed to us does not stop the others.
            Err(error) => {
                tracing::debug!(folder = %root.display(), depth, %error, "a sub-folder was skipped");
                continue;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let unfinished = UNFINISHED.iter().any(|end| text.to_ascii_lowercase().ends_with(end));
            if text.starts_with(['.', '~'])
                || unfinished
                || (depth == 0 && (text == DONE || text == REJECTED))
            {
                continue;
            }
            // Links are not followed: a share must not lead us out of itself.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < MAX_DEPTH {
                dirs.push((entry.path(), depth + 1));
            } else if kind.is_dir() || (kind.is_symlink() && entry.path().is_dir()) {
                skipped.add(&entry.path());
            } else if kind.is_file()
                && let Ok(look) = entry.metadata().and_then(|m| Look::of(&m))
            {
                found.push((entry.path(), look));
                if found.len() >= MAX_FILES {
                    break;
                }
            }
        }
        if found.len() >= MAX_FILES {
            break;
        }
    }
    writers.hear();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Found { files: found, skipped })
}

/// Plain files directly in a directory.
pub(super) fn plain_files(dir: &Path) -> io::Result<impl Iterator<Item = PathBuf>> {
    Ok(std::fs::read_dir(dir)?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path()))
}

/// BLAKE3 of a file; `None` when it cannot be read: then it is somebody else's.
pub(super) fn hash_of(path: &Path) -> Option<ObjectHash> {
    let mut hasher = blake3::Hasher::new();
    let mut file = std::fs::File::open(path).ok()?;
    io::copy(&mut file, &mut hasher).ok()?;
    Some(ObjectHash(*hasher.finalize().as_bytes()))
}

/// True when room was reserved for bytes that nobody has written yet: a copy that is not finished.
pub(super) fn has_hole(file: &mut std::fs::File, size: u64) -> io::Result<bool> {
    use rustix::fs::{SeekFrom, seek};
    // A file system that knows no holes says the end, or nothing.
    let hole = seek(&*file, SeekFrom::Hole(0)).is_ok_and(|at| at < size);
    io::Seek::rewind(file)?;
    Ok(hole)
}

/// What stands in `.reason.txt`.
pub(super) fn reason_text(refusal: &Refusal) -> String {
    let (code, field) = (refusal.code, if refusal.field.is_empty() { "-" } else { refusal.field.as_str() });
    format!(
        "此文件未被接收：{}\n代码：{}\n字段：{field}\n原因：{}\n处理：请在设备上重新导出 DICOM 或心电原始文件，再放入监视目录；仍被拒收时请联系管理员并提供本说明。\n\n\
         This file was not taken: {}\ncode: {}\nfield: {field}\nreason: {}\n\
         what to do: export the original DICOM or ECG file again and put it into the watched folder; if it is refused again, show this text to the administrator.\n",
        code.zh(),
        code.name(),
        refusal.reason,
        code.en(),
        code.name(),
        refusal.reason
    )
}

/// One of our own text files.
pub(super) fn is_reason(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(REASON))
}

/// The text file beside a refused one.
pub(super) fn reason_path(file: &Path) -> PathBuf {
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    file.with_file_name(format!("{}{REASON}", cut(&name, REASON.len() + TEMP_BYTES)))
}

/// Writes the text beside a refused file, readable to whom the directory is.
pub(super) fn write_reason(file: &Path, reason: &str) -> io::Result<()> {
    let dir = file.parent().ok_or_else(|| io::Error::other("no directory"))?;
    let mode = std::fs::metadata(dir)?.permissions().mode() & 0o666;
    write_atomic(&RealDisk, &reason_path(file), reason.as_bytes(), mode | 0o600)
}

/// Moves a file into `dir` under a free name, with its reason; gives where it is.
pub(super) fn move_away(from: &Path, root: &Path, into: &str, reason: Option<&str>) -> io::Result<PathBuf> {
    // Somebody may have tidied the directory away.
    prepare(root)?;
    let dir = root.join(into);
    let name = readable(from.file_name().ok_or_else(|| io::Error::other("no file name"))?);
    let mut target = dir.join(cut(&name, 0));
    let mut number = 1_u32;
    while target.symlink_metadata().is_ok() {
        let prefix = format!("{number}-");
        target = dir.join(format!("{prefix}{}", cut(&name, prefix.len())));
        number += 1;
    }
    if let Some(reason) = reason {
        write_reason(&target, reason)?;
    }
    if let Err(error) = RealDisk.rename(from, &target) {
        if reason.is_some() {
            // A reason without its file would only confuse; left behind it does no other harm.
            let _ = RealDisk.remove(&reason_path(&target));
        }
        return Err(error);
    }
    RealDisk.sync_dir(&dir)?;
    if let Some(parent) = from.parent() {
        RealDisk.sync_dir(parent)?;
    }
    Ok(target)
}

/// The name with room for `more` bytes: its end is kept, which says what sort of file it is.
fn cut(name: &str, more: usize) -> String {
    let most = MAX_NAME_BYTES.saturating_sub(more);
    if name.len() <= most {
        return name.to_owned();
    }
    let mut start = name.len() - most;
    while !name.is_char_boundary(start) {
        start += 1;
    }
    name[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_at_the_limit_keeps_its_end_and_makes_room() {
        let long = format!("{}.dcm", "片".repeat(83));
        assert_eq!(long.len(), 253);
        assert_eq!(cut(&long, 0), long);
        let shorter = cut(&long, 16);
        assert!(shorter.len() <= 239 && shorter.ends_with("片.dcm"), "{}", shorter.len());
    }
}
