//! What is to be sent, by which clinic, and how.

use super::cast::CLINICS;
use super::exams::{Exam, Way};
use super::town::Town;
use crate::lab::clinic::{Clinic, NotTaken};
use crate::lab::wait::{Look, until};
use anyhow::{Context as _, bail};
use relay_core::codes::Code;
use relay_core::formats::dicom;
use relay_core::ids::{ClinicId, ObjectHash, Sha256, derived_study_uid};
use relay_core::study::Class;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Folders inside folders that are looked into.
const MAX_DEPTH: usize = 32;
/// Files of one `relay-agent send`: the command line has room for them.
const BATCH_FILES: usize = 200;
/// Bytes of one `relay-agent send`: it ends within a minute on a slow disk.
const BATCH_BYTES: u64 = 256 * 1024 * 1024;
/// A watched folder is empty again after this long.
const FOLDER_DEADLINE: Duration = Duration::from_secs(60);

/// One file of the plan.
#[derive(Debug, Clone)]
pub struct Item {
    /// Where it is.
    pub path: PathBuf,
    /// Number of the clinic that sends it.
    pub clinic: usize,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
    /// Bytes.
    pub length: u64,
    /// StudyInstanceUID, derived where the file has none: files of one study travel together.
    pub key: String,
    /// How it travels.
    pub way: Way,
}

/// Everything that is sent.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Files, those of one study together.
    pub items: Vec<Item>,
    /// What lay among them and cannot be read, such as a link to nowhere.
    pub unreadable: Vec<NotTaken>,
}

impl Plan {
    /// The built-in exams.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn built_in(exams: &[Exam]) -> anyhow::Result<Self> {
        let mut items = Vec::new();
        for exam in exams {
            for path in &exam.files {
                items.push(Item { clinic: exam.clinic, way: exam.way, ..item(path)? });
            }
        }
        Ok(Self { items, unreadable: Vec::new() })
    }

    /// Every file below these paths, shared out among the clinics by study.
    ///
    /// # Errors
    /// When a path cannot be read.
    pub fn of_files(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let (mut files, mut unreadable) = (Vec::new(), Vec::new());
        for path in paths {
            std::fs::metadata(path).with_context(|| path.display().to_string())?;
            walk(path, 0, &mut files, &mut unreadable);
        }
        if files.is_empty() {
            bail!(
                "--files: no file below {}",
                paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
            );
        }
        files.sort();
        let mut items = Vec::with_capacity(files.len());
        for path in &files {
            match item(path) {
                Ok(item) => items.push(item),
                Err(error) => unreadable.push(cannot_be_read(path, &format!("{error:#}"))),
            }
        }
        items.sort_by(|a, b| (a.clinic, &a.key).cmp(&(b.clinic, &b.key)));
        Ok(Self { items, unreadable })
    }

    /// Sends everything; gives what was not taken.
    ///
    /// # Errors
    /// When a program fails.
    pub async fn send(&self, town: &Town) -> anyhow::Result<Vec<NotTaken>> {
        let clinics = town.clinics.iter().enumerate().map(|(number, clinic)| self.send_from(number, clinic));
        let sent = futures::future::try_join_all(clinics).await?;
        Ok([self.unreadable.clone(), sent.concat()].concat())
    }

    async fn send_from(&self, number: usize, clinic: &Clinic) -> anyhow::Result<Vec<NotTaken>> {
        let here: Vec<&Item> = self.items.iter().filter(|item| item.clinic == number).collect();
        let mut by_command: BTreeMap<Class, Vec<&Item>> = BTreeMap::new();
        let mut by_machine: BTreeMap<(&str, &str), Vec<&Item>> = BTreeMap::new();
        let mut not_taken = Vec::new();
        for item in here {
            match item.way {
                Way::Send(class) => by_command.entry(class).or_default().push(item),
                Way::Store(calling) => by_machine.entry((calling, &item.key)).or_default().push(item),
                Way::Folder => into_folder(clinic, item).await?,
            }
        }
        for ((calling, _), items) in by_machine {
            not_taken.extend(store(clinic, calling, &items).await?);
        }
        for (class, items) in by_command {
            for batch in batches(&items) {
                let paths: Vec<&Path> = batch.iter().map(|item| item.path.as_path()).collect();
                not_taken.extend(clinic.send(&paths, class).await?);
            }
        }
        Ok(not_taken)
    }
}

/// Shares a list out into commands, studies kept whole where they fit.
fn batches<'a>(items: &[&'a Item]) -> Vec<Vec<&'a Item>> {
    let mut all: Vec<Vec<&Item>> = Vec::new();
    let mut bytes = 0;
    for study in items.chunk_by(|a, b| a.key == b.key) {
        let more: u64 = study.iter().map(|item| item.length).sum();
        match all.last_mut() {
            Some(last) if last.len() + study.len() <= BATCH_FILES && bytes + more <= BATCH_BYTES => {
                last.extend(study);
                bytes += more;
            }
            _ => {
                all.push(study.to_vec());
                bytes = more;
            }
        }
    }
    all
}

async fn store(clinic: &Clinic, calling: &str, items: &[&Item]) -> anyhow::Result<Vec<NotTaken>> {
    let mut files = Vec::with_capacity(items.len());
    for item in items {
        files.push(read(&item.path)?);
    }
    let answers = clinic.store(calling, files).await?;
    let refused = items.iter().zip(answers).filter(|(_, answer)| answer.status != 0);
    Ok(refused
        .map(|(item, answer)| NotTaken {
            file: item.path.clone(),
            code: format!("DIMSE_{:04X}", answer.status),
            field: String::new(),
            reason: answer.comment,
        })
        .collect())
}

async fn into_folder(clinic: &Clinic, item: &Item) -> anyhow::Result<()> {
    let name = item.path.file_name().context("a file without a name")?.to_string_lossy().into_owned();
    clinic.drop_into_folder(&name, &read(&item.path)?)?;
    let path = clinic.folder().join(&name);
    until("the agent to take a file from its folder", FOLDER_DEADLINE, async || {
        Ok(if path.exists() { Look::NotYet(format!("{} is there", path.display())) } else { Look::There(()) })
    })
    .await
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}

fn item(path: &Path) -> anyhow::Result<Item> {
    let bytes = read(path)?;
    let content = ObjectHash::of(&bytes);
    // What cannot be read as DICOM is for the agent to judge.
    let named = dicom::admit(std::io::Cursor::new(&bytes)).ok().map(|facts| facts.study_uid.to_string());
    let clinic = clinic_of(&named.clone().unwrap_or_else(|| content.to_hex()));
    let key = match named {
        Some(uid) => uid,
        // The agent gives a file without a study of its own the same UID.
        None => derived_study_uid(&ClinicId::parse(CLINICS[clinic].0)?, &content).to_string(),
    };
    Ok(Item {
        path: path.to_owned(),
        clinic,
        sha256: Sha256::of(&bytes),
        length: bytes.len() as u64,
        key,
        way: Way::Send(Class::Routine),
    })
}

/// The clinic that has a study: the same one every time.
fn clinic_of(text: &str) -> usize {
    usize::from(ObjectHash::of(text.as_bytes()).0[0]) % CLINICS.len()
}

fn cannot_be_read(file: &Path, reason: &str) -> NotTaken {
    NotTaken {
        file: file.to_owned(),
        code: Code::StorageFailed.name().to_owned(),
        field: "file".to_owned(),
        reason: reason.to_owned(),
    }
}

/// What cannot be looked at stops nothing else.
fn walk(path: &Path, depth: usize, found: &mut Vec<PathBuf>, unreadable: &mut Vec<NotTaken>) {
    let entries = match std::fs::metadata(path) {
        Ok(kind) if kind.is_file() => return found.push(path.to_owned()),
        Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => std::fs::read_dir(path),
        Ok(_) => return,
        Err(error) => return unreadable.push(cannot_be_read(path, &error.to_string())),
    };
    let entries = match entries {
        Ok(entries) => entries,
        Err(error) => return unreadable.push(cannot_be_read(path, &error.to_string())),
    };
    for entry in entries {
        match entry {
            Ok(entry) => walk(&entry.path(), depth + 1, found, unreadable),
            Err(error) => unreadable.push(cannot_be_read(path, &error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nowhere_is_told_and_the_others_are_planned() {
        let dir = tempfile::tempdir().unwrap();
        crate::lab::put(&dir.path().join("a.dcm"), b"not read here").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("b.dcm")).unwrap();
        let plan = Plan::of_files(&[dir.path().to_owned()]).unwrap();
        assert_eq!((plan.items.len(), plan.unreadable.len()), (1, 1));
        assert!(plan.unreadable[0].file.ends_with("b.dcm"));
        assert!(Plan::of_files(&[dir.path().join("absent")]).is_err(), "what was named must be there");
    }
}
