//! What is to be sent, by which clinic, and how.

use super::cast::CLINICS;
use super::exams::{Exam, Way};
use super::town::Town;
use crate::lab::clinic::{Clinic, NotTaken};
use crate::lab::wait::{Look, until};
use anyhow::{Context as _, bail};
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
        Ok(Self { items })
    }

    /// Every file below these paths, shared out among the clinics by study.
    ///
    /// # Errors
    /// When a path cannot be read.
    pub fn of_files(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            walk(path, 0, &mut files)?;
        }
        if files.is_empty() {
            bail!(
                "--files: no file below {}",
                paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
            );
        }
        files.sort();
        let mut items = files.iter().map(|path| item(path)).collect::<anyhow::Result<Vec<_>>>()?;
        items.sort_by(|a, b| (a.clinic, &a.key).cmp(&(b.clinic, &b.key)));
        Ok(Self { items })
    }

    /// Sends everything; gives what was not taken.
    ///
    /// # Errors
    /// When a program fails.
    pub async fn send(&self, town: &Town) -> anyhow::Result<Vec<NotTaken>> {
        let clinics = town.clinics.iter().enumerate().map(|(number, clinic)| self.send_from(number, clinic));
        Ok(futures::future::try_join_all(clinics).await?.concat())
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

fn walk(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let shown = || path.display().to_string();
    let kind = std::fs::metadata(path).with_context(shown)?;
    if kind.is_file() {
        found.push(path.to_owned());
    } else if kind.is_dir() && depth < MAX_DEPTH {
        for entry in std::fs::read_dir(path).with_context(shown)? {
            walk(&entry.with_context(shown)?.path(), depth + 1, found)?;
        }
    }
    Ok(())
}
