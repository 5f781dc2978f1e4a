//! Fonts for paper: the Simplified Chinese faces of Noto Sans CJK, read sparingly.
//!
//! A Debian `.ttc` holds 65,535 outlines in about 15 MB, of which a report uses a few hundred. A [`Face`] keeps
//! the file open and in memory only what layout needs (character map, widths, outline *index*, about 2 MB); for
//! each document it reads those outlines that occur and builds a small font from them. A file replaced
//! by an upgrade stays readable through the open handle.

mod cff;
mod sfnt;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::FontError;
use cff::CffOutlines;
use sfnt::{CharMap, Directory, SfntBuilder, Widths};

/// Where Debian's `fonts-noto-cjk` puts the files.
pub const DEFAULT_FONT_DIR: &str = "/usr/share/fonts/opentype/noto";
const REGULAR_FILE: &str = "NotoSansCJK-Regular.ttc";
const BOLD_FILE: &str = "NotoSansCJK-Bold.ttc";
/// Glyph 0, drawn by nobody: missing characters are shown as [`Face::fallback`].
pub(crate) const NOTDEF: u16 = 0;
/// Largest table read whole; the outlines of a TrueType CJK font are about 12 MB.
const MAX_TABLE_BYTES: u32 = 32 << 20;
/// Tables that go into the document's font beside the outlines.
const COPIED_TABLES: [&str; 11] =
    ["OS/2", "cvt ", "fpgm", "glyf", "head", "hhea", "loca", "maxp", "name", "post", "prep"];

/// Reads parts of one font file and names it in errors.
#[derive(Debug)]
pub(crate) struct FontFile {
    file: File,
    path: PathBuf,
}

impl FontFile {
    fn open(path: &Path) -> Result<Self, FontError> {
        let path = path.to_owned();
        match File::open(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Err(FontError::NotFound { path }),
            Err(source) => Err(FontError::Io { path, source }),
        }
    }

    /// Reads `length` bytes at `offset`.
    fn read(&self, table: &'static str, offset: u64, length: u32) -> Result<Vec<u8>, FontError> {
        if length > MAX_TABLE_BYTES {
            return Err(self.malformed(table, "larger than 32 MiB"));
        }
        let mut bytes = vec![0; length as usize];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|source| FontError::Io { path: self.path.clone(), source })?;
        Ok(bytes)
    }

    fn malformed(&self, table: &'static str, reason: &'static str) -> FontError {
        FontError::Malformed { path: self.path.clone(), table, reason }
    }
}

/// One weight.
#[derive(Debug)]
pub(crate) struct Face {
    file: FontFile,
    chars: CharMap,
    widths: Widths,
    units_per_em: u16,
    glyphs: u16,
    /// Small tables copied as they are, sorted by tag.
    copied: Vec<(&'static str, Vec<u8>)>,
    /// `hmtx` as read.
    hmtx: Vec<u8>,
    /// `None` for a TrueType font, whose `glyf` is among the copied tables.
    cff: Option<CffOutlines>,
    fallback: u16,
}

impl Face {
    fn load(path: &Path) -> Result<Self, FontError> {
        let file = FontFile::open(path)?;
        let directory = Directory::simplified_chinese(&file)?;
        let head = directory.table(&file, "head")?;
        let units_per_em = sfnt::u16_at(&head, 18)
            .filter(|u| (16..=16_384).contains(u))
            .ok_or_else(|| file.malformed("head", "units per em out of range"))?;
        let maxp = directory.table(&file, "maxp")?;
        let glyphs = sfnt::u16_at(&maxp, 4).ok_or_else(|| file.malformed("maxp", "too short"))?;
        let hhea = directory.table(&file, "hhea")?;
        let hmtx = directory.table(&file, "hmtx")?;
        let widths =
            Widths::new(&hhea, &hmtx).ok_or_else(|| file.malformed("hmtx", "shorter than hhea says"))?;
        let chars = CharMap::new(directory.table(&file, "cmap")?)
            .ok_or_else(|| file.malformed("cmap", "no format 12 subtable"))?;
        let cff = match directory.location("CFF ") {
            Some((offset, length)) => Some(CffOutlines::load(&file, offset, length)?),
            None => None,
        };
        let mut copied = Vec::new();
        for tag in COPIED_TABLES {
            if directory.location(tag).is_some() {
                copied.push((tag, directory.table(&file, tag)?));
            }
        }
        if cff.is_none() && directory.location("glyf").is_none() {
            return Err(file.malformed("CFF ", "no outlines"));
        }
        let fallback = ['□', '〓', '?'].iter().find_map(|c| chars.glyph(*c)).unwrap_or(NOTDEF);
        Ok(Self { file, chars, widths, units_per_em, glyphs, copied, hmtx, cff, fallback })
    }

    /// Glyph of `c`, if the face has one.
    pub(crate) fn glyph(&self, c: char) -> Option<u16> {
        self.chars.glyph(c).filter(|g| *g < self.glyphs)
    }

    /// Glyph that stands for a missing character.
    pub(crate) fn fallback(&self) -> u16 {
        self.fallback
    }

    /// Width of a glyph in ems.
    pub(crate) fn advance(&self, glyph: u16) -> f32 {
        f32::from(self.widths.advance(&self.hmtx, glyph)) / f32::from(self.units_per_em)
    }

    /// An OpenType font whose glyph numbers are those of this face and which has the outlines of `glyphs` only.
    pub(crate) fn document_font(&self, glyphs: &BTreeSet<u16>) -> Result<Vec<u8>, FontError> {
        let outlines = match &self.cff {
            Some(cff) => Some(cff.with_outlines(&self.file, glyphs)?),
            None => None,
        };
        let mut builder = SfntBuilder::new(outlines.is_some());
        if let Some(outlines) = &outlines {
            builder.table("CFF ", outlines);
        }
        builder.table("hmtx", &self.hmtx);
        for (tag, bytes) in &self.copied {
            builder.table(tag, bytes);
        }
        Ok(builder.finish())
    }
}

/// Regular and bold, ready for layout. Share one instance; it is about 4 MB and never grows.
#[derive(Debug)]
pub struct Fonts {
    pub(crate) regular: Face,
    pub(crate) bold: Face,
}

impl Fonts {
    /// Opens the fonts.
    ///
    /// `path` is a directory holding `NotoSansCJK-Regular.ttc` and `NotoSansCJK-Bold.ttc`, or one OpenType file
    /// for both weights; `None` is [`DEFAULT_FONT_DIR`].
    ///
    /// # Errors
    /// The file, and the package to install when it is not there.
    pub fn load(path: Option<&Path>) -> Result<Self, FontError> {
        let path = path.unwrap_or(Path::new(DEFAULT_FONT_DIR));
        if path.is_file() {
            return Ok(Self { regular: Face::load(path)?, bold: Face::load(path)? });
        }
        Ok(Self { regular: Face::load(&path.join(REGULAR_FILE))?, bold: Face::load(&path.join(BOLD_FILE))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_font_names_the_package() {
        let message = Fonts::load(Some(Path::new("/nonexistent"))).unwrap_err().to_string();
        assert!(
            message.contains("fonts-noto-cjk") && message.contains("NotoSansCJK-Regular.ttc"),
            "{message}"
        );
    }

    #[test]
    fn a_file_that_is_no_font_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ttc");
        #[expect(clippy::disallowed_methods, reason = "a test fixture needs no durability")]
        std::fs::write(&path, [0_u8; 4096]).unwrap();
        assert!(matches!(Fonts::load(Some(&path)), Err(FontError::Malformed { .. })));
    }

    #[test]
    fn the_chinese_face_is_chosen_and_its_document_font_is_small() {
        let fonts = Fonts::load(None).unwrap();
        let glyphs: BTreeSet<u16> = "胸部X线".chars().map(|c| fonts.regular.glyph(c).unwrap()).collect();
        assert_eq!(glyphs.len(), 4);
        assert!(fonts.regular.glyph('\u{2cb16}').is_none() || fonts.regular.glyph('\u{10ffff}').is_none());
        assert!((fonts.regular.advance(fonts.regular.glyph('肺').unwrap()) - 1.0).abs() < 1e-6);
        let font = fonts.regular.document_font(&glyphs).unwrap();
        assert!(font.len() < 3 << 20, "{} bytes", font.len());
    }
}
