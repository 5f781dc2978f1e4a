//! Films from DICOM files: native samples, whatever the transfer syntax.

use anyhow::{Context as _, bail};
use dicom_pixeldata::PixelDecoder as _;
use relay_core::formats::dicom::{PixelForm, admit};
use relay_film::Layout;
use std::path::{Path, PathBuf};

/// The native pixels of a file.
#[derive(Debug)]
pub(super) struct Film {
    pub(super) name: String,
    pub(super) raw: Vec<u8>,
    pub(super) layout: Layout,
}

impl Film {
    /// Columns, rows, samples, bits of the highest value.
    pub(super) fn shape(&self) -> String {
        let Layout { rows, columns, samples, bits_allocated, .. } = self.layout;
        let colour = if samples > 1 { format!("x{samples}") } else { String::new() };
        format!("{columns}x{rows}{colour}, {bits_allocated} bit")
    }

    /// Samples, in order of grey where they are signed.
    pub(super) fn samples(&self) -> Vec<u16> {
        if self.layout.bits_allocated == 8 {
            return self.raw.iter().map(|byte| u16::from(*byte)).collect();
        }
        let turn = if self.layout.signed { 0x8000 } else { 0 };
        self.raw.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair) ^ turn).collect()
    }

    /// How many values occur.
    pub(super) fn levels(&self) -> usize {
        let mut seen = vec![false; 1 << 16];
        self.samples().iter().for_each(|sample| seen[usize::from(*sample)] = true);
        seen.iter().filter(|seen| **seen).count()
    }
}

/// Each folder is a group, single files are one, the radiographs of the corpus are the first.
pub(super) fn groups(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, Vec<PathBuf>)>> {
    let mut groups = Vec::new();
    if let Some(dir) = std::env::var_os("RELAY_CORPUS") {
        groups.push((
            "real radiographs of the corpus".to_owned(),
            radiographs(&PathBuf::from(dir).join("dicom"))?,
        ));
    }
    let (folders, files): (Vec<_>, Vec<_>) = paths.iter().cloned().partition(|path| path.is_dir());
    for folder in folders {
        let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        let mut inside: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("dcm")))
            .collect();
        inside.sort();
        groups.push((folder.file_name().unwrap_or_default().to_string_lossy().into_owned(), inside));
    }
    if !files.is_empty() {
        groups.push(("files".to_owned(), files));
    }
    if groups.is_empty() {
        bail!("no films: name files or folders, or set RELAY_CORPUS");
    }
    Ok(groups)
}

/// The real files of modality CR, DX and MG.
fn radiographs(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let list = dir.join("expected.json");
    let text = std::fs::read(&list).with_context(|| list.display().to_string())?;
    let expected: serde_json::Value =
        serde_json::from_slice(&text).with_context(|| list.display().to_string())?;
    let files = expected["files"].as_array().with_context(|| format!("{}: no files", list.display()))?;
    Ok(files
        .iter()
        .filter(|file| file["real"] == true)
        .filter(|file| ["CR", "DX", "MG"].iter().any(|modality| file["truth"]["modality"] == *modality))
        .filter_map(|file| file["file"].as_str())
        .map(|name| dir.join("files").join(name))
        .collect())
}

/// The film of a file: its native value as it is, or what its codec gives.
pub(super) fn film(path: &Path) -> anyhow::Result<Film> {
    let file = std::fs::read(path)?;
    let facts = admit(std::io::Cursor::new(&file))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().chars().take(30).collect();
    let mut layout = Layout {
        rows: facts.rows.context("no Rows")?,
        columns: facts.columns.context("no Columns")?,
        samples: facts.samples.unwrap_or(1),
        bits_allocated: facts.bits_allocated.context("no BitsAllocated")?,
        ..Layout::default()
    };
    let raw = match facts.pixels {
        PixelForm::None => bail!("no pixels"),
        PixelForm::Native { offset, length } => {
            let begin = usize::try_from(offset)?;
            file[begin..begin + usize::try_from(length)?].to_vec()
        }
        PixelForm::Encapsulated { .. } => {
            let object = dicom_object::from_reader(std::io::Cursor::new(&file))?;
            let decoded = object.decode_pixel_data()?;
            layout.bits_allocated = decoded.bits_allocated();
            layout.samples = decoded.samples_per_pixel();
            decoded.data().to_vec()
        }
    };
    // one frame: a trailing pad byte is no sample
    let frame = layout.rows as usize
        * layout.columns as usize
        * usize::from(layout.samples)
        * usize::from(layout.bits_allocated / 8);
    anyhow::ensure!(frame > 0 && raw.len() >= frame, "{} bytes for frames of {frame}", raw.len());
    let raw = raw[..frame].to_vec();
    layout.length = raw.len() as u64;
    Ok(Film { name, raw, layout })
}
