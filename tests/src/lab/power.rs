//! A disk that loses power: rebuilt from the record of one process's writes, syncs and renames.
//!
//! The model is harder than any real file system. Only a sync makes a file's content durable, only a sync of the
//! directory makes names durable; everything else may be there, be missing, or be there in part, sector by sector. The
//! operations on the names of one directory keep their order, as every journal does.

use super::make_dir;
use anyhow::{Context as _, bail, ensure};
use rand::Rng;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// First word of every record.
const MAGIC: u32 = 0x5245_4C59;
/// Bytes of a record's head.
const HEAD_BYTES: usize = 40;
/// What a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

/// One recorded operation.
#[derive(Debug, Clone)]
enum Op {
    Write { inode: u64, offset: usize, data: Vec<u8> },
    Sync { inode: u64 },
    SyncDir { path: PathBuf },
    Create { inode: u64, path: PathBuf },
    Truncate { inode: u64, length: usize },
    Rename { from: PathBuf, to: PathBuf },
    Unlink { path: PathBuf },
    MakeDir { path: PathBuf },
    Link { from: PathBuf, to: PathBuf },
}

/// A record: every operation with the place in the log where it ended.
#[derive(Debug, Default)]
pub struct Record {
    ops: Vec<(u64, Op)>,
}

impl Record {
    /// Reads a log; a record that was cut off by the end of the process is left out.
    ///
    /// # Errors
    /// When the log is no log.
    pub fn read(log: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(log).with_context(|| log.display().to_string())?;
        let (mut ops, mut at) = (Vec::new(), 0);
        while let Some(head) = bytes.get(at..at + HEAD_BYTES) {
            let word = |from: usize| {
                u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]])
            };
            let long = |from: usize| (u64::from(word(from + 4)) << 32) | u64::from(word(from));
            ensure!(word(0) == MAGIC, "{}: no record at byte {at}", log.display());
            let (path, second) = (word(24) as usize, word(28) as usize);
            let data = usize::try_from(long(32))?;
            let body = at + HEAD_BYTES;
            let Some(rest) = bytes.get(body..body + path + second + data) else { break };
            let name = |part: &[u8]| PathBuf::from(String::from_utf8_lossy(part).into_owned());
            let (path, rest) = (name(&rest[..path]), &rest[path..]);
            let (other, content) = (name(&rest[..second]), &rest[second..]);
            at = body + head_lengths(head);
            ops.push((at as u64, op(word(4), long(8), usize::try_from(long(16))?, path, other, content)?));
        }
        Ok(Self { ops })
    }

    /// Numbers of the operations that are syncs: the boundaries.
    #[must_use]
    pub fn boundaries(&self) -> Vec<usize> {
        let syncs = self
            .ops
            .iter()
            .enumerate()
            .filter(|(_, (_, op))| matches!(op, Op::Sync { .. } | Op::SyncDir { .. }));
        syncs.map(|(number, _)| number).collect()
    }

    /// Where in the log operation `number` ended.
    #[must_use]
    pub fn end_of(&self, number: usize) -> u64 {
        self.ops[number].0
    }
}

fn head_lengths(head: &[u8]) -> usize {
    let word = |from: usize| {
        u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]) as usize
    };
    word(24) + word(28) + word(32)
}

fn op(kind: u32, inode: u64, number: usize, path: PathBuf, to: PathBuf, data: &[u8]) -> anyhow::Result<Op> {
    Ok(match kind {
        1 => Op::Write { inode, offset: number, data: data.to_vec() },
        2 => Op::Sync { inode },
        3 => Op::SyncDir { path },
        4 => Op::Create { inode, path },
        5 => Op::Truncate { inode, length: number },
        6 => Op::Rename { from: path, to },
        7 => Op::Unlink { path },
        8 => Op::MakeDir { path },
        9 => Op::Link { from: path, to },
        other => bail!("unknown operation {other} in a record"),
    })
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Dir,
    File(usize),
}

/// A change of content that no sync has made durable yet.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Truncate { length: usize },
}

#[derive(Debug, Clone, Default)]
struct Content {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// A change of names in one directory, or of one name in each of two.
#[derive(Debug, Clone)]
struct Naming {
    dir: PathBuf,
    changes: Vec<(PathBuf, Option<Entry>)>,
}

/// The disk as it develops.
#[derive(Debug, Clone)]
pub struct Disk {
    root: PathBuf,
    files: Vec<Content>,
    /// Real inode number to file, for the file that has it now.
    inodes: HashMap<u64, usize>,
    names: BTreeMap<PathBuf, Entry>,
    durable_names: BTreeMap<PathBuf, Entry>,
    pending: Vec<Naming>,
}

fn change(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, data } => {
            if content.len() < offset + data.len() {
                content.resize(offset + data.len(), 0);
            }
            content[*offset..offset + data.len()].copy_from_slice(data);
        }
        Change::Truncate { length } => content.resize(*length, 0),
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

impl Disk {
    /// The disk as it is now, all of it durable.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn snapshot(root: &Path) -> anyhow::Result<Self> {
        let mut disk = Self {
            root: root.to_owned(),
            files: Vec::new(),
            inodes: HashMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
        };
        let mut open = vec![root.to_owned()];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
                let path = entry?.path();
                let facts = std::fs::metadata(&path).with_context(|| path.display().to_string())?;
                if facts.is_dir() {
                    disk.names.insert(path.clone(), Entry::Dir);
                    open.push(path);
                } else {
                    let durable = std::fs::read(&path).with_context(|| path.display().to_string())?;
                    disk.inodes.insert(facts.ino(), disk.files.len());
                    disk.names.insert(path, Entry::File(disk.files.len()));
                    disk.files.push(Content { durable, pending: Vec::new() });
                }
            }
        }
        disk.durable_names.clone_from(&disk.names);
        Ok(disk)
    }

    fn name(&mut self, changes: Vec<(PathBuf, Option<Entry>)>) {
        for (path, entry) in &changes {
            match entry {
                Some(entry) => drop(self.names.insert(path.clone(), *entry)),
                None => drop(self.names.remove(path)),
            }
        }
        // What concerns two directories becomes durable with each of them apart.
        let mut by_dir: BTreeMap<PathBuf, Vec<(PathBuf, Option<Entry>)>> = BTreeMap::new();
        for one in changes {
            by_dir.entry(parent(&one.0)).or_default().push(one);
        }
        self.pending.extend(by_dir.into_iter().map(|(dir, changes)| Naming { dir, changes }));
    }

    fn file(&self, inode: u64) -> Option<usize> {
        self.inodes.get(&inode).copied()
    }

    /// Carries out the operations from `from` up to and with `to`.
    pub fn play(&mut self, record: &Record, from: usize, to: usize) {
        for (_, op) in &record.ops[from..=to] {
            self.step(op);
        }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Write { inode, offset, data } => {
                if let Some(file) = self.file(*inode) {
                    self.files[file].pending.push(Change::Write { offset: *offset, data: data.clone() });
                }
            }
            Op::Truncate { inode, length } => {
                if let Some(file) = self.file(*inode) {
                    self.files[file].pending.push(Change::Truncate { length: *length });
                }
            }
            Op::Sync { inode } => {
                if let Some(file) = self.file(*inode) {
                    let content = &mut self.files[file];
                    for one in std::mem::take(&mut content.pending) {
                        change(&mut content.durable, &one);
                    }
                }
            }
            Op::SyncDir { path } => {
                let (now, later) =
                    std::mem::take(&mut self.pending).into_iter().partition(|n: &Naming| n.dir == *path);
                self.pending = later;
                for naming in now {
                    rename(&mut self.durable_names, &naming);
                }
            }
            Op::Create { inode, path } => {
                let known =
                    self.names.get(path).is_some_and(|e| self.file(*inode).map(Entry::File) == Some(*e));
                if !known {
                    self.inodes.insert(*inode, self.files.len());
                    let entry = Entry::File(self.files.len());
                    self.files.push(Content::default());
                    self.name(vec![(path.clone(), Some(entry))]);
                }
            }
            Op::Rename { from, to } => {
                let moved = self.names.get(from).copied();
                if let Some(entry) = moved {
                    self.name(vec![(from.clone(), None), (to.clone(), Some(entry))]);
                }
            }
            Op::Link { from, to } => {
                if let Some(entry) = self.names.get(from).copied() {
                    self.name(vec![(to.clone(), Some(entry))]);
                }
            }
            Op::Unlink { path } => self.name(vec![(path.clone(), None)]),
            Op::MakeDir { path } => self.name(vec![(path.clone(), Some(Entry::Dir))]),
        }
    }

    /// What is on the disk after the power came back, written below `target` as it was below the root: for every file
    /// and directory chance decides whether what was not synced is missing, there, or there in part.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn after_power_cut(&self, target: &Path, rng: &mut impl Rng) -> anyhow::Result<()> {
        let mut names = self.durable_names.clone();
        let mut keeps: BTreeMap<&Path, bool> = BTreeMap::new();
        for naming in &self.pending {
            // Once one change of a directory is lost, so are all later ones.
            let keep = keeps.entry(&naming.dir).or_insert_with(|| rng.random_bool(0.5));
            *keep = *keep && rng.random_bool(0.8);
            if *keep {
                rename(&mut names, naming);
            }
        }
        make_dir(target)?;
        for (path, entry) in &names {
            let place = target.join(path.strip_prefix(&self.root).context("a name outside the root")?);
            // A name whose directory was lost is lost with it.
            if !parent(&place).is_dir() {
                continue;
            }
            match entry {
                Entry::Dir => make_dir(&place)?,
                Entry::File(number) => write(&place, &self.files[*number].cut(rng))?,
            }
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a disk image for a test: it need not survive anything")]
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, bytes).with_context(|| path.display().to_string())?;
    // Keys are refused when others may read them.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| path.display().to_string())
}

fn rename(names: &mut BTreeMap<PathBuf, Entry>, naming: &Naming) {
    for (path, entry) in &naming.changes {
        match entry {
            Some(entry) => drop(names.insert(path.clone(), *entry)),
            None => drop(names.remove(path)),
        }
    }
}

impl Content {
    fn cut(&self, rng: &mut impl Rng) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        match rng.random_range(0..3) {
            0 => {}
            1 => self.pending.iter().for_each(|one| change(&mut bytes, one)),
            _ => self.pending.iter().for_each(|one| torn(&mut bytes, one, rng)),
        }
        bytes
    }
}

/// Some sectors of a write, and not others; a change of length wholly or not at all.
fn torn(bytes: &mut Vec<u8>, one: &Change, rng: &mut impl Rng) {
    match one {
        Change::Write { offset, data } => {
            let mut at = 0;
            while at < data.len() {
                let end = ((offset + at) / SECTOR_BYTES + 1) * SECTOR_BYTES - offset;
                let end = end.min(data.len());
                if rng.random_bool(0.5) {
                    change(bytes, &Change::Write { offset: offset + at, data: data[at..end].to_vec() });
                }
                at = end;
            }
        }
        Change::Truncate { .. } => {
            if rng.random_bool(0.5) {
                change(bytes, one);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    fn disk() -> (tempfile::TempDir, Disk) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::snapshot(dir.path()).unwrap();
        (dir, disk)
    }

    fn play(disk: &mut Disk, ops: Vec<Op>) {
        let record = Record { ops: ops.into_iter().map(|op| (0, op)).collect() };
        let last = record.ops.len() - 1;
        disk.play(&record, 0, last);
    }

    fn images(disk: &Disk, name: &str) -> Vec<Option<Vec<u8>>> {
        let look = |seed| {
            let target = tempfile::tempdir().unwrap();
            disk.after_power_cut(target.path(), &mut StdRng::seed_from_u64(seed)).unwrap();
            std::fs::read(target.path().join(name)).ok()
        };
        (0..64).map(look).collect()
    }

    #[test]
    fn content_without_sync_may_be_missing_and_a_name_without_its_directorys_sync_too() {
        let (dir, mut disk) = disk();
        let path = dir.path().join("a");
        play(
            &mut disk,
            vec![
                Op::Create { inode: 7, path },
                Op::Write { inode: 7, offset: 0, data: vec![1; 2048] },
                Op::Sync { inode: 7 },
            ],
        );
        let seen = images(&disk, "a");
        assert!(seen.contains(&None) && seen.contains(&Some(vec![1; 2048])));
        play(
            &mut disk,
            vec![
                Op::SyncDir { path: dir.path().to_owned() },
                Op::Write { inode: 7, offset: 0, data: vec![2; 2048] },
            ],
        );
        let seen = images(&disk, "a");
        assert!(seen.iter().all(Option::is_some), "the name is durable");
        assert!(seen.contains(&Some(vec![1; 2048])) && seen.contains(&Some(vec![2; 2048])));
        let torn = |bytes: &Option<Vec<u8>>| bytes.as_ref().is_some_and(|b| b.contains(&1) && b.contains(&2));
        assert!(seen.iter().any(torn), "some sectors of a write, and not others");
    }

    #[test]
    fn a_rename_in_one_directory_is_old_or_new_and_never_neither() {
        let (dir, mut disk) = disk();
        let (old, new) = (dir.path().join("x"), dir.path().join("y"));
        play(
            &mut disk,
            vec![
                Op::Create { inode: 1, path: new.clone() },
                Op::Write { inode: 1, offset: 0, data: vec![1] },
                Op::Sync { inode: 1 },
                Op::Create { inode: 2, path: old.clone() },
                Op::Write { inode: 2, offset: 0, data: vec![2] },
                Op::Sync { inode: 2 },
                Op::SyncDir { path: dir.path().to_owned() },
                Op::Rename { from: old, to: new },
            ],
        );
        let seen = images(&disk, "y");
        assert!(seen.iter().all(|y| matches!(y.as_deref(), Some([1] | [2]))));
        assert!(seen.contains(&Some(vec![1])) && seen.contains(&Some(vec![2])));
    }

    #[test]
    fn an_inode_number_that_is_used_again_is_another_file() {
        let (dir, mut disk) = disk();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        play(
            &mut disk,
            vec![
                Op::Create { inode: 5, path: first.clone() },
                Op::Unlink { path: first },
                Op::Create { inode: 5, path: second },
                Op::Write { inode: 5, offset: 0, data: vec![9] },
                Op::Sync { inode: 5 },
                Op::SyncDir { path: dir.path().to_owned() },
            ],
        );
        assert!(images(&disk, "second").iter().all(|b| b.as_deref() == Some(&[9][..])));
        assert!(images(&disk, "first").iter().all(Option::is_none));
    }
}
