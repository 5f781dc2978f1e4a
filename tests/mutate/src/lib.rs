//! Drives the fuzz targets of `tests/fuzz` on stable Rust: the same `fuzz_target!`, seeds from files, mutations that break
//! binary formats (flipped bits, extreme numbers, cuts, repeats, splices), a fixed time. `cargo fuzz run TARGET` builds the same
//! targets with the real library.
//!
//! `TARGET SECONDS SEED-FILE-OR-DIR…`: exit 0 when nothing panicked; else the input is kept and named.
//!
//! Built with `-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3
//! -Cllvm-args=-sanitizer-coverage-inline-8bit-counters`, the loop keeps each input that reaches code no input before it
//! reached, and mutates it further (coverage feedback); without these flags it only mutates the seeds.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Longest input: parsers see their limits, and the loop stays fast.
const MAX_INPUT_BYTES: usize = 256 * 1024;
/// Most seeds kept in memory.
const MAX_SEEDS: usize = 400;
/// Mutations laid over each other, at most.
const MAX_LAYERS: u64 = 8;
/// Numbers that break length arithmetic, as their low bytes.
const EXTREMES: [u64; 8] = [0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF];
/// An input that takes longer is a fault.
const SLOWEST: Duration = Duration::from_secs(10);
/// Longest input kept for reaching new code: short ones run often.
const MAX_KEPT_BYTES: usize = 64 * 1024;
/// Most inputs kept for reaching new code.
const MAX_KEPT: usize = 20_000;

/// Start and end of each module's counters, as the instrumented modules announce them before `main`.
static COUNTERS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Called by each instrumented module before `main`.
#[unsafe(no_mangle)]
pub extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, end: *mut u8) {
    if let Ok(mut all) = COUNTERS.lock() {
        let range = (start as usize, end as usize);
        if !all.contains(&range) {
            all.push(range);
        }
    }
}

/// What the counters have shown so far: one byte a counter, a bit for each order of magnitude seen.
struct Coverage {
    ranges: Vec<(usize, usize)>,
    seen: Vec<u8>,
}

impl Coverage {
    fn new() -> Self {
        let ranges = COUNTERS.lock().map(|all| all.clone()).unwrap_or_default();
        let places = ranges.iter().map(|(start, end)| end - start).sum();
        Self { ranges, seen: vec![0; places] }
    }

    fn clear(&self) {
        for (start, end) in &self.ranges {
            // SAFETY: the range is a module's own counter array, alive for the whole run; nothing else runs now.
            unsafe { std::ptr::write_bytes(*start as *mut u8, 0, end - start) };
        }
    }

    /// Takes the counters in; whether they show something new.
    fn take(&mut self) -> bool {
        let (mut at, mut fresh) = (0, false);
        for (start, end) in &self.ranges {
            // SAFETY: as above.
            let counters = unsafe { std::slice::from_raw_parts(*start as *const u8, end - start) };
            for (counter, seen) in counters.iter().zip(&mut self.seen[at..]) {
                let bit = match counter {
                    0 => continue,
                    1 => 1,
                    2 => 2,
                    3 => 4,
                    4..8 => 8,
                    8..16 => 16,
                    16..32 => 32,
                    32..128 => 64,
                    _ => 128,
                };
                fresh |= *seen & bit == 0;
                *seen |= bit;
            }
            at += end - start;
        }
        fresh
    }

    fn reached(&self) -> usize {
        self.seen.iter().filter(|s| **s != 0).count()
    }
}

/// SplitMix64: no more is needed to choose places.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }
}

fn collect(path: &Path, seeds: &mut Vec<Vec<u8>>) {
    if seeds.len() >= MAX_SEEDS {
        return;
    }
    if let Ok(entries) = std::fs::read_dir(path) {
        let mut below: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        below.sort();
        below.iter().for_each(|path| collect(path, seeds));
    } else if let Ok(mut bytes) = std::fs::read(path) {
        bytes.truncate(MAX_INPUT_BYTES);
        seeds.push(bytes);
    }
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(input.len());
    match chance.next() % 8 {
        0 if !input.is_empty() => input[at] ^= 1 << chance.below(8),
        1 if !input.is_empty() => input[at] = chance.next() as u8,
        2 | 3 => {
            let number = EXTREMES[chance.below(EXTREMES.len())];
            let width = [1, 2, 4][chance.below(3)];
            let bytes = if chance.next() % 2 == 0 {
                number.to_le_bytes()[..width].to_vec()
            } else {
                number.to_be_bytes()[8 - width..].to_vec()
            };
            let end = (at + width).min(input.len());
            input[at..end].copy_from_slice(&bytes[..end - at]);
        }
        4 => input.truncate(at),
        5 => {
            let end = (at + chance.below(64)).min(input.len());
            let part = input[at..end].to_vec();
            input.splice(at..at, part);
        }
        6 => drop(input.drain(at..(at + chance.below(64)).min(input.len()))),
        _ => {
            let other = &seeds[chance.below(seeds.len())];
            let from = chance.below(other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
    input.truncate(MAX_INPUT_BYTES);
}

/// Runs the target until the time is over; the exit code.
pub fn drive(target: impl Fn(&[u8])) -> i32 {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().and_then(|s| s.parse().ok()).unwrap_or(20);
    let mut seeds = vec![Vec::new()];
    args.for_each(|path| collect(Path::new(&path), &mut seeds));
    let (begin, mut chance, mut runs) = (Instant::now(), Chance(seconds), 0_u64);
    let (given, mut coverage) = (seeds.len(), Coverage::new());
    let mut one = |input: &[u8]| {
        let started = Instant::now();
        coverage.clear();
        let broke = catch_unwind(AssertUnwindSafe(|| target(input))).is_err();
        let fresh = coverage.take();
        let slow = started.elapsed() > SLOWEST;
        runs += 1;
        if broke || slow {
            let path = std::env::temp_dir().join(format!("fuzz-{}-{runs}", std::process::id()));
            let kept = std::fs::File::create(&path).and_then(|mut file| file.write_all(input));
            eprintln!(
                "{} on {} bytes, kept as {}: {kept:?}",
                if broke { "panic" } else { "too slow" },
                input.len(),
                path.display()
            );
            return None;
        }
        Some(fresh)
    };
    if !seeds.iter().all(|seed| one(seed).is_some()) {
        return 1;
    }
    while begin.elapsed() < Duration::from_secs(seconds) {
        // the newest finds are the most worth going on with
        let recent = seeds.len() > given && chance.next() % 2 == 0;
        let from = if recent {
            seeds.len() - 1 - chance.below((seeds.len() - given).min(64))
        } else {
            chance.below(seeds.len())
        };
        let mut input = seeds[from].clone();
        for _ in 0..=chance.next() % MAX_LAYERS {
            mutate(&mut input, &seeds, &mut chance);
        }
        match one(&input) {
            None => return 1,
            Some(true) if input.len() <= MAX_KEPT_BYTES && seeds.len() < MAX_KEPT => seeds.push(input),
            Some(_) => {}
        }
    }
    let (reached, of) = (coverage.reached(), coverage.seen.len());
    eprintln!(
        "{given} seeds, {runs} inputs, {} s, {reached} of {of} places reached, {} inputs kept: no fault",
        begin.elapsed().as_secs(),
        seeds.len() - given
    );
    0
}

/// As the macro of libfuzzer-sys, for targets over bytes.
#[macro_export]
macro_rules! fuzz_target {
    (|$bytes:ident: &[u8]| $body:expr) => {
        #[unsafe(no_mangle)]
        extern "C" fn main(_: i32, _: *const *const u8) -> i32 {
            $crate::drive(|$bytes: &[u8]| $body)
        }
    };
    (|$bytes:ident| $body:expr) => {
        $crate::fuzz_target!(|$bytes: &[u8]| $body);
    };
}
