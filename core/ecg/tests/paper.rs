//! The printed page, measured in pixels: the PDF is rendered by poppler at 254 dpi, so that ten pixels are one millimetre.
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use relay_ecg::draw::{Format, Options, Paper, layout, pdf};
use relay_ecg::lead::STANDARD_12;
use relay_ecg::{Ecg, Lead, Samples};

/// Pixels a millimetre.
const PX: f64 = 10.0;

struct Picture {
    width: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// Ink of traces and words, not of the grid.
    fn dark(&self, x: usize, y: usize) -> bool {
        let at = (y * self.width + x) * 3;
        self.rgb[at..at + 3].iter().all(|c| *c < 110)
    }

    /// First and last dark row of a column between two heights, in pixels.
    fn column(&self, x: usize, from: usize, to: usize) -> Option<(usize, usize)> {
        let rows: Vec<usize> = (from..to).filter(|y| self.dark(x, *y)).collect();
        Some((*rows.first()?, *rows.last()?))
    }
}

/// `None` without poppler.
fn rendered(paper: &Paper) -> Option<Picture> {
    let mut child = Command::new("pdftoppm")
        .args(["-r", "254", "-", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|_| println!("skipped: pdftoppm is not installed"))
        .ok()?;
    let bytes = pdf(paper, &|_| None);
    let mut input = child.stdin.take().expect("the test can work");
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().expect("the test can work");
    writer.join().expect("the test can work").expect("the test can work");
    // P6, width height, 255
    let mut ends = output.stdout.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i);
    let (a, b, c) = (ends.next()?, ends.next()?, ends.next()?);
    assert_eq!(&output.stdout[..a], b"P6");
    let size = String::from_utf8_lossy(&output.stdout[a + 1..b]).into_owned();
    let width = size.split(' ').next()?.parse().ok()?;
    Some(Picture { width, rgb: output.stdout[c + 1..].to_vec() })
}

/// Every lead: 1 mV from 1 s to 2 s, and 1 mV spikes of one sample at 4 s and 5 s.
fn steps() -> Ecg {
    let mut ecg = Ecg::new(relay_ecg::Format::Dicom);
    for id in STANDARD_12 {
        let high = |i: usize| (500..1000).contains(&i) || i == 2000 || i == 2500;
        let values: Vec<i16> = (0..5000).map(|i| if high(i) { 1000 } else { 0 }).collect();
        ecg.rhythm.push(Lead::new(id.name(), 500.0, Samples::from(values), 1.0));
    }
    ecg
}

#[test]
fn a_millivolt_is_ten_and_a_second_twenty_five_millimetres_on_the_rendered_page() {
    for (speed, gain) in [(25.0, 10.0), (50.0, 10.0), (25.0, 5.0), (12.5, 20.0)] {
        let seconds = if speed > 25.0 { 5.0 } else { 10.0 };
        let options = Options {
            speed_mm_s: speed,
            gain_mm_mv: gain,
            format: Format::ThreeByFourPlus1,
            seconds,
            ..Options::default()
        };
        let paper = layout(&steps(), &options);
        let Some(picture) = rendered(&paper) else { return };
        assert!((picture.width as f64 - paper.width * PX).abs() <= 1.0, "page width {}", picture.width);
        // the rhythm strip is the last trace: whole seconds in one row
        let strip = paper.traces.last().unwrap();
        let (top, bottom) = (((strip.y - gain - 3.0) * PX) as usize, ((strip.y + 3.0) * PX) as usize);
        let x = |t: f64| ((strip.x + t * speed) * PX).round() as usize;
        let (high, low) =
            (picture.column(x(1.5), top, bottom).unwrap(), picture.column(x(0.5), top, bottom).unwrap());
        let height = (low.0 + low.1) as f64 / 2.0 - (high.0 + high.1) as f64 / 2.0;
        assert!((height - gain * PX).abs() <= 1.0, "1 mV is {height} px at {gain} mm/mV");
        // the two spikes: columns whose ink reaches half the height
        let half = ((strip.y - gain / 2.0) * PX) as usize;
        let spikes: Vec<usize> =
            (x(3.5)..x(4.99_f64.min(seconds))).filter(|x| picture.dark(*x, half)).collect();
        let first = spikes.iter().copied().filter(|s| *s < x(4.5)).collect::<Vec<_>>();
        let centre = (first[0] + first[first.len() - 1]) as f64 / 2.0;
        let rise: Vec<usize> = (x(0.8)..x(1.2)).filter(|x| picture.dark(*x, half)).collect();
        let edge = (rise[0] + rise[rise.len() - 1]) as f64 / 2.0;
        let apart = centre - edge;
        // from the middle of the rising edge (one sample before 1 s) to the spike at 4 s
        let expected = (3.0 + 0.001) * speed * PX;
        assert!((apart - expected).abs() <= 2.0, "3 s are {apart} px at {speed} mm/s, not {expected}");
    }
}

#[test]
fn the_calibration_pulse_is_one_millivolt_and_a_fifth_of_a_second_on_the_rendered_page() {
    let paper = layout(&steps(), &Options::default());
    let Some(picture) = rendered(&paper) else { return };
    for pulse in &paper.pulses {
        let [left, top] = pulse[2];
        let (base, right) = (pulse[0][1], pulse[3][0]);
        let middle = ((left + right) / 2.0 * PX).round() as usize;
        let (first, last) =
            picture.column(middle, ((base - 12.0) * PX) as usize, ((base + 1.0) * PX) as usize).unwrap();
        assert!(((first + last) as f64 / 2.0 - top * PX).abs() <= 1.0, "the top lies at {first}..{last}");
        let row = ((base + top) / 2.0 * PX) as usize;
        let ink: Vec<usize> = (((left - 1.0) * PX) as usize..((right + 1.0) * PX) as usize)
            .filter(|x| picture.dark(*x, row))
            .collect();
        let wide = (ink[ink.len() - 1] - ink[0]) as f64;
        assert!((wide - 5.0 * PX).abs() <= 4.0, "the pulse is {wide} px wide");
    }
}

#[test]
fn the_grid_has_a_line_each_millimetre_and_a_bold_one_each_five() {
    let mut paper = layout(&steps(), &Options::default());
    paper.traces.clear();
    paper.pulses.clear();
    let Some(picture) = rendered(&paper) else { return };
    let [x, y, ..] = paper.grid;
    let row = ((y + 2.5) * PX) as usize;
    let ink = |mm: f64| {
        let centre = ((x + mm) * PX).round() as usize;
        (centre - 1..=centre + 1)
            .map(|c| 255 - u32::from(picture.rgb[(row * picture.width + c) * 3 + 1]))
            .sum::<u32>()
    };
    for mm in [1.0, 2.0, 3.0, 7.0, 121.0] {
        assert!(ink(mm) > 2 * ink(mm + 0.5), "no line at {mm} mm: {} against {}", ink(mm), ink(mm + 0.5));
    }
    for mm in [5.0, 10.0, 125.0] {
        assert!(
            ink(mm) > 2 * ink(mm + 1.0),
            "no bold line at {mm} mm: {} against {}",
            ink(mm),
            ink(mm + 1.0)
        );
    }
}
