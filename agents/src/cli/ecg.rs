//! `ecg`: what a file holds, drawn and handed on, before it is sent.

use super::files::Found;
use super::{eprint_line, out_line};
use crate::ecg::{self, Loaded};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use relay_core::durable::{RealDisk, write_atomic};
use relay_ecg::checks::{self, Finding};
use relay_ecg::draw::{self, DisplayFilters, Options};
use relay_ecg::measure::{self, Measured};
use relay_ecg::{LeadId, ReadError, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Files written here hold personal data: the owner's only.
const MODE: u32 = 0o600;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Layout {
    #[value(name = "3x4+1")]
    ThreeByFourPlus1,
    #[value(name = "3x4+3")]
    ThreeByFourPlus3,
    #[value(name = "6x2")]
    SixByTwo,
    #[value(name = "12x1")]
    TwelveByOne,
}

/// How it is drawn.
#[derive(Debug, Args)]
struct Drawing {
    /// mm/s.
    #[arg(long, default_value_t = 25.0, value_parser = among(&[12.5, 25.0, 50.0]), value_name = "12.5|25|50")]
    speed: f64,
    /// mm/mV.
    #[arg(long, default_value_t = 10.0, value_parser = among(&[2.5, 5.0, 10.0, 20.0]), value_name = "2.5|5|10|20")]
    gain: f64,
    /// Which leads stand where.
    #[arg(long, value_enum, default_value = "3x4+1")]
    layout: Layout,
    /// Limb leads as aVL, I, -aVR, II, aVF, III.
    #[arg(long)]
    cabrera: bool,
    /// Lead of the rhythm row of 3x4+1.
    #[arg(long, default_value = "II", value_parser = lead)]
    rhythm: LeadId,
    /// First second drawn.
    #[arg(long, default_value_t = 0.0, value_parser = seconds, allow_negative_numbers = true)]
    start: f64,
    /// Seconds of a full row.
    #[arg(long, default_value_t = 10.0, value_parser = seconds, allow_negative_numbers = true)]
    seconds: f64,
    /// Zero-phase high-pass of the drawing, Hz.
    #[arg(long, value_parser = among(&[0.05, 0.5]), value_name = "0.05|0.5")]
    high_pass: Option<f64>,
    /// Low-pass of the drawing, Hz.
    #[arg(long, value_parser = among(&[40.0, 100.0, 150.0]), value_name = "40|100|150")]
    low_pass: Option<f64>,
    /// Mains notch of the drawing, Hz.
    #[arg(long, value_parser = among(&[50.0, 60.0]), value_name = "50|60")]
    notch: Option<f64>,
}

fn among(allowed: &'static [f64]) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let value = text.parse::<f64>().ok().filter(|v| allowed.contains(v));
        value.ok_or_else(|| format!("one of {allowed:?}"))
    }
}

fn lead(text: &str) -> Result<LeadId, String> {
    Some(LeadId::parse(text)).filter(|id| *id != LeadId::Other).ok_or_else(|| "not the name of a lead".into())
}

fn seconds(text: &str) -> Result<f64, String> {
    /// Two weeks: the longest Holter.
    const MOST: f64 = 14.0 * 86_400.0;
    let value = text.parse::<f64>().ok().filter(|v| (0.0..=MOST).contains(v));
    value.ok_or_else(|| format!("a number of seconds, 0 to {MOST}"))
}

impl Drawing {
    fn options(&self) -> Options {
        let format = match self.layout {
            Layout::ThreeByFourPlus1 => draw::Format::ThreeByFourPlus1,
            Layout::ThreeByFourPlus3 => draw::Format::ThreeByFourPlus3,
            Layout::SixByTwo => draw::Format::SixByTwo,
            Layout::TwelveByOne => draw::Format::TwelveByOne,
        };
        Options {
            speed_mm_s: self.speed,
            gain_mm_mv: self.gain,
            format,
            rhythm: self.rhythm,
            cabrera: self.cabrera,
            filters: DisplayFilters {
                high_pass_hz: self.high_pass,
                low_pass_hz: self.low_pass,
                notch_hz: self.notch,
            },
            start_s: self.start,
            seconds: self.seconds,
            columns_per_mm: None,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Ecg {
    /// ECG files or folders of them; `-` is standard input. Of a WFDB record, its header (.hea).
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Draws it as SVG in millimetres. OUT is a file, `-` for standard output, or a folder when there are many files.
    #[arg(long, value_name = "OUT")]
    svg: Option<PathBuf>,
    /// Draws it as a PDF page; of a PDF, hands out the page.
    #[arg(long, value_name = "OUT")]
    pdf: Option<PathBuf>,
    /// Writes it as a standard DICOM ECG.
    #[arg(long, value_name = "OUT")]
    dicom: Option<PathBuf>,
    /// Writes it as SCP-ECG.
    #[arg(long, value_name = "OUT")]
    scp: Option<PathBuf>,
    /// Writes samples, facts, measurements and checks as JSON.
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    #[command(flatten)]
    drawing: Drawing,
}

/// What can be written of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Svg,
    Pdf,
    Dicom,
    Scp,
    Json,
}

impl Kind {
    fn extension(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Pdf => "pdf",
            Self::Dicom => "dcm",
            Self::Scp => "scp",
            Self::Json => "json",
        }
    }
}

/// A file with what was found in it.
struct Seen {
    loaded: Loaded,
    measured: Measured,
    found: Vec<Finding>,
}

/// Why a file is not dealt with: `FIELD@OFFSET: reason`, on one line.
struct Refused(String);

impl From<ReadError> for Refused {
    fn from(error: ReadError) -> Self {
        Self(error.to_string())
    }
}

impl Refused {
    fn at(field: &str, reason: impl std::fmt::Display) -> Self {
        Self(format!("{field}@0: {reason}"))
    }

    fn tell(&self, file: &Path) {
        eprint_line(&ecg::plain(&format!("{}: {}", file.display(), self.0)));
    }
}

fn see(path: &Path) -> Result<Seen, Refused> {
    let loaded = ecg::load(path)?;
    let measured = measure::measure(&loaded.ecg);
    let found = checks::check(&loaded.ecg, &measured);
    Ok(Seen { loaded, measured, found })
}

impl Ecg {
    pub(super) fn carry_out(&self) -> anyhow::Result<ExitCode> {
        let single = self.paths.len() == 1 && !self.paths[0].is_dir();
        let streams = self.outputs().into_iter().filter(|(_, out)| *out == Path::new("-")).count();
        if streams > 1 {
            anyhow::bail!("只能有一个 OUT 为 - / only one OUT can be standard output");
        }
        if single { self.one(&self.paths[0]) } else { self.many() }
    }

    fn outputs(&self) -> Vec<(Kind, &Path)> {
        let all = [
            (Kind::Svg, &self.svg),
            (Kind::Pdf, &self.pdf),
            (Kind::Dicom, &self.dicom),
            (Kind::Scp, &self.scp),
            (Kind::Json, &self.json),
        ];
        all.into_iter().filter_map(|(kind, out)| Some((kind, out.as_deref()?))).collect()
    }

    /// A day-long record is looked at as a stream, unless all of it is asked for.
    fn long(&self, path: &Path) -> Option<anyhow::Result<ExitCode>> {
        if self.dicom.is_some() || self.scp.is_some() || self.json.is_some() || !ecg::is_long(path) {
            return None;
        }
        let told = ecg::scan(path, self.drawing.start, self.drawing.seconds).map_err(Refused::from).and_then(
            |(summary, cut)| {
                let measured = measure::measure(&cut);
                let found = checks::check(&cut, &measured);
                let mut only_document = false;
                // the excerpt begins where the drawing begins
                let options = Options { start_s: 0.0, ..self.drawing.options() };
                for (kind, out) in self.outputs() {
                    only_document |= out == Path::new("-");
                    let paper = paper(&cut, &options)?;
                    let bytes = if kind == Kind::Svg { draw::svg(&paper).into_bytes() } else { pdf(&paper) };
                    put(out, &bytes).map_err(|e| Refused::at("OUT", format!("{}: {e}", out.display())))?;
                }
                let mut words = ecg::summary_words(&summary);
                words.push_str(&ecg::words(&path.display().to_string(), &cut, &measured, &found));
                Ok((!only_document).then_some(words))
            },
        );
        Some(match told {
            Ok(words) => std::io::stdout()
                .lock()
                .write_all(words.unwrap_or_default().as_bytes())
                .map(|()| ExitCode::SUCCESS)
                .map_err(anyhow::Error::from),
            Err(refused) => {
                refused.tell(path);
                Ok(ExitCode::FAILURE)
            }
        })
    }

    fn one(&self, path: &Path) -> anyhow::Result<ExitCode> {
        if let Some(done) = self.long(path) {
            return done;
        }
        let told = see(path).and_then(|seen| {
            let mut only_document = false;
            for (kind, out) in self.outputs() {
                only_document |= out == Path::new("-");
                self.write(kind, &seen, out)?;
            }
            Ok((seen, only_document))
        });
        match told {
            Ok((_, true)) => Ok(ExitCode::SUCCESS),
            Ok((seen, false)) => {
                let file = path.display().to_string();
                let words = ecg::words(&file, &seen.loaded.ecg, &seen.measured, &seen.found);
                std::io::stdout().lock().write_all(words.as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
            Err(refused) => {
                refused.tell(path);
                Ok(ExitCode::FAILURE)
            }
        }
    }

    /// Every file below the paths; what one of them cannot give does not stop the others.
    fn many(&self) -> anyhow::Result<ExitCode> {
        let (mut files, mut refused) = (Vec::new(), 0);
        for path in &self.paths {
            let below = super::files::below(std::slice::from_ref(path)).unwrap_or_else(|error| {
                refused += 1;
                Refused::at("file", format!("{error:#}")).tell(path);
                Found::default()
            });
            files.extend(below.files);
            refused += below.odd.len();
            below.odd.iter().for_each(|odd| Refused::at("file", "no plain file").tell(odd));
        }
        let parts = ecg::parts(&files);
        let files: Vec<&PathBuf> = files.iter().filter(|f| !parts.contains(*f)).collect();
        let progress = ProgressBar::new(files.len() as u64).with_style(
            ProgressStyle::with_template("{spinner} 心电 / ECG {pos}/{len} {wide_bar} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        let mut quiet = false;
        for file in &files {
            progress
                .set_message(file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default());
            let result = see(file).and_then(|seen| {
                for (kind, out) in self.outputs() {
                    if out == Path::new("-") {
                        quiet = true;
                        self.stream(kind, &seen)?;
                    } else {
                        self.write(kind, &seen, &self.place(file, out, kind)?)?;
                    }
                }
                Ok(seen)
            });
            progress.inc(1);
            match result {
                Ok(seen) if !quiet => {
                    let line =
                        ecg::line(&file.display().to_string(), &seen.loaded.ecg, &seen.measured, &seen.found);
                    progress.suspend(|| out_line(&line))?;
                }
                Ok(_) => {}
                Err(error) => {
                    refused += 1;
                    progress.suspend(|| error.tell(file));
                }
            }
        }
        progress.finish_and_clear();
        eprint_line(&format!(
            "{} 个文件，{refused} 个被拒 / {} files, {refused} refused",
            files.len(),
            files.len()
        ));
        Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Several documents on standard output: JSON, one a line; the others have no end mark of their own.
    fn stream(&self, kind: Kind, seen: &Seen) -> Result<(), Refused> {
        if kind != Kind::Json {
            return Err(Refused::at("OUT", "of many files only --json can go to standard output"));
        }
        self.write(kind, seen, Path::new("-"))
    }

    /// `OUT/path/below/the/given/folder/NAME.EXT`: the whole name stays, so that `a.dcm` and `a.scp` do not meet.
    fn place(&self, file: &Path, out: &Path, kind: Kind) -> Result<PathBuf, Refused> {
        let below =
            self.paths.iter().find_map(|p| file.strip_prefix(p).ok()).filter(|b| !b.as_os_str().is_empty());
        let below = below.or_else(|| file.file_name().map(Path::new)).unwrap_or(file);
        let mut name = below.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", kind.extension()));
        let place = out.join(below).with_file_name(name);
        let folder = place.parent().unwrap_or(out);
        std::fs::create_dir_all(folder)
            .map_err(|e| Refused::at("OUT", format!("{}: {e}", folder.display())))?;
        Ok(place)
    }

    fn write(&self, kind: Kind, seen: &Seen, out: &Path) -> Result<(), Refused> {
        let (loaded, ecg) = (&seen.loaded, &seen.loaded.ecg);
        let standard = |e: relay_ecg::write::WriteError| Refused::at(&e.field, e.reason);
        if kind == Kind::Json && out == Path::new("-") {
            let mut sink = std::io::BufWriter::new(std::io::stdout().lock());
            let done = json::write(ecg, &seen.measured, &seen.found, &mut sink);
            return done
                .and_then(|()| sink.write_all(b"\n"))
                .and_then(|()| sink.flush())
                .map_err(|e| Refused::at("OUT", e));
        }
        let bytes = match kind {
            Kind::Json => {
                let mut text = Vec::new();
                json::write(ecg, &seen.measured, &seen.found, &mut text)
                    .map_err(|e| Refused::at("OUT", e))?;
                text.push(b'\n');
                text
            }
            Kind::Pdf if ecg.is_view_only() => page(ecg)?,
            Kind::Svg | Kind::Pdf => {
                let paper = paper(ecg, &self.drawing.options())?;
                if kind == Kind::Svg { draw::svg(&paper).into_bytes() } else { pdf(&paper) }
            }
            Kind::Dicom => ecg::dicom(loaded).map_err(standard)?,
            Kind::Scp => ecg::scp(loaded).map_err(standard)?,
        };
        if matches!(kind, Kind::Dicom | Kind::Scp) && !ecg::has_time(ecg) {
            eprint_line(
                "采集时间未注明：以 1900-01-01 代替，请核对 / the file states no time of acquisition: 1900-01-01 stands for unknown",
            );
        }
        put(out, &bytes).map_err(|e| Refused::at("OUT", format!("{}: {e}", out.display())))
    }
}

fn pdf(paper: &draw::Paper) -> Vec<u8> {
    static GLYPHS: ecg::Glyphs = ecg::Glyphs::of_the_system();
    draw::pdf(paper, &|c| GLYPHS.glyph(c))
}

fn paper(ecg: &relay_ecg::Ecg, options: &Options) -> Result<draw::Paper, Refused> {
    if ecg.is_view_only() {
        return Err(Refused::at("document", "a page to look at: it holds no samples to draw"));
    }
    if options.start_s >= ecg.duration_s() {
        let reason = format!("--start {} lies behind the end at {:.1} s", options.start_s, ecg.duration_s());
        return Err(Refused::at("start", reason));
    }
    let mut paper = draw::layout(ecg, options);
    ecg::heading(ecg, &mut paper);
    Ok(paper)
}

/// The page itself, where the file is a PDF.
fn page(ecg: &relay_ecg::Ecg) -> Result<Vec<u8>, Refused> {
    match &ecg.document {
        Some(page) if page.media_type == "application/pdf" => Ok(page.bytes.clone()),
        Some(page) => {
            Err(Refused::at("document", format!("{} cannot be handed out as PDF", page.media_type)))
        }
        None => Err(Refused::at("document", "holds neither samples nor a page")),
    }
}

/// Standard output, a device or pipe as it is, or a file that is whole or not there.
fn put(out: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if out == Path::new("-") {
        let mut sink = std::io::stdout().lock();
        return sink.write_all(bytes).and_then(|()| sink.flush());
    }
    match std::fs::metadata(out) {
        Ok(kind) if kind.is_dir() => {
            Err(std::io::Error::new(std::io::ErrorKind::IsADirectory, "is a folder"))
        }
        Ok(kind) if !kind.is_file() => std::fs::OpenOptions::new().write(true).open(out)?.write_all(bytes),
        _ => {
            let here = out.parent().is_none_or(|p| p.as_os_str().is_empty());
            let out = if here { Path::new(".").join(out) } else { out.to_owned() };
            write_atomic(&RealDisk, &out, bytes, MODE)
        }
    }
}
