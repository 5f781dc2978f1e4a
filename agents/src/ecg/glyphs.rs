//! Shapes of Chinese letters for the drawn ECG, from a font that the machine has.

use relay_ecg::draw::{Glyph, Step};
use skrifa::instance::{LocationRef, Size};
use skrifa::outline::{DrawSettings, OutlinePen};
use skrifa::raw::FileRef;
use skrifa::string::StringId;
use skrifa::{FontRef, MetadataProvider as _};
use std::path::Path;

/// Where systems keep a font with Chinese letters: Debian (Noto, WenQuanYi, Droid), Fedora, Windows. The first that is there is used.
const PLACES: [&str; 8] = [
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-sans-cjk-vf-fonts/NotoSansCJK-VF.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "C:\\Windows\\Fonts\\msyh.ttc",
    "C:\\Windows\\Fonts\\simsun.ttc",
    "C:\\Windows\\Fonts\\simhei.ttf",
];
/// Largest font file read, bytes: all weights of a CJK family in one file are about 110 MB.
const MAX_FONT_BYTES: u64 = 128 * 1024 * 1024;

/// A font file, read when its first letter is asked for.
#[derive(Debug)]
pub struct Glyphs {
    bytes: std::sync::OnceLock<Vec<u8>>,
}

impl Glyphs {
    /// The first font of this system that has Chinese letters; without one every letter is absent.
    pub const fn of_the_system() -> Self {
        Self { bytes: std::sync::OnceLock::new() }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get_or_init(|| {
            let fits = |path: &&&str| std::fs::metadata(path).is_ok_and(|m| m.len() <= MAX_FONT_BYTES);
            let found = PLACES.iter().filter(fits).find_map(|path| std::fs::read(Path::new(path)).ok());
            found.unwrap_or_default()
        })
    }

    /// The face for simplified Chinese; the first one of a file that does not name it.
    fn font(&self) -> Option<FontRef<'_>> {
        match FileRef::new(self.bytes()).ok()? {
            FileRef::Font(font) => Some(font),
            FileRef::Collection(all) => {
                let simplified = |font: &FontRef<'_>| {
                    let mut names = font.localized_strings(StringId::FAMILY_NAME);
                    names.any(|name| name.to_string().contains("CJK SC"))
                };
                all.iter().flatten().find(simplified).or_else(|| all.get(0).ok())
            }
        }
    }

    /// Shape and width of `c`.
    pub fn glyph(&self, c: char) -> Option<Glyph> {
        let font = self.font()?;
        let id = font.charmap().map(c)?;
        let size = Size::new(1000.0);
        let mut pen = Pen::default();
        // of a variable font its regular weight, not its lightest
        let regular = font.axes().location([("wght", 400.0)]);
        let place = LocationRef::from(&regular);
        let settings = DrawSettings::unhinted(size, place);
        font.outline_glyphs().get(id)?.draw(settings, &mut pen).ok()?;
        let advance = font.glyph_metrics(size, place).advance_width(id)?;
        Some(Glyph { advance: f64::from(advance), outline: pen.outline })
    }
}

#[derive(Default)]
struct Pen {
    outline: Vec<Step>,
    at: [f64; 2],
}

impl Pen {
    fn put(&mut self, step: Step, at: [f64; 2]) {
        self.outline.push(step);
        self.at = at;
    }
}

fn point(x: f32, y: f32) -> [f64; 2] {
    [f64::from(x), f64::from(y)]
}

impl OutlinePen for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.put(Step::Move(point(x, y)), point(x, y));
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.put(Step::Line(point(x, y)), point(x, y));
    }

    fn quad_to(&mut self, cx: f32, cy: f32, x: f32, y: f32) {
        // the same curve with two control points
        let (control, end) = (point(cx, cy), point(x, y));
        let toward = |from: [f64; 2]| [0, 1].map(|k| from[k] + 2.0 / 3.0 * (control[k] - from[k]));
        self.put(Step::Curve(toward(self.at), toward(end), end), end);
    }

    fn curve_to(&mut self, ax: f32, ay: f32, bx: f32, by: f32, x: f32, y: f32) {
        self.put(Step::Curve(point(ax, ay), point(bx, by), point(x, y)), point(x, y));
    }

    fn close(&mut self) {
        self.outline.push(Step::Close);
    }
}
