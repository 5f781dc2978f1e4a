//! What a person tries first: one infarct in three formats, eighteen leads, exchanged arm electrodes, a machine that claims things.

mod specimens;

use relay_ecg::checks::{Severity, check};
use relay_ecg::draw::{Format as Layout, Options, layout, svg};
use relay_ecg::hints::{Policy, hints};
use relay_ecg::measure::measure;
use relay_ecg::synth::{self, Spec};
use relay_ecg::{Ecg, Format, Hints, Samples, json, read};
use specimens::make;

fn through(format: Format, ecg: &Ecg) -> Ecg {
    let file = make(format, ecg);
    read(&file.bytes, &Hints { name: Some(file.name), ..Hints::default() })
        .unwrap_or_else(|e| panic!("{format}: {e}"))
}

const LAYOUTS: [Layout; 4] =
    [Layout::ThreeByFourPlus1, Layout::ThreeByFourPlus3, Layout::SixByTwo, Layout::TwelveByOne];

#[test]
fn an_inferior_infarct_as_scp_aecg_and_dicom_gives_three_identical_drawings() {
    let ecg = synth::ecg(&Spec::inferior_stemi(8));
    let copies = [Format::Scp, Format::Aecg, Format::Dicom].map(|f| through(f, &ecg));
    for format in LAYOUTS {
        let drawn = copies.each_ref().map(|c| layout(c, &Options { format, ..Options::default() }));
        for other in &drawn[1..] {
            assert_eq!(drawn[0].traces, other.traces, "{format:?}");
            assert_eq!(drawn[0].pulses, other.pulses, "{format:?}");
        }
    }
    let st = copies.each_ref().map(|c| measure(c).st_uv);
    assert!(st[0] == st[1] && st[1] == st[2], "the same numbers of the same samples");
}

#[test]
fn eighteen_leads_keep_their_names_through_three_formats() {
    let ecg = synth::ecg(&Spec::inferior_stemi(8).with_eighteen_leads());
    for file in [Format::Scp, Format::Aecg, Format::Dicom] {
        let back = through(file, &ecg);
        for format in LAYOUTS {
            let paper = layout(&back, &Options { format, ..Options::default() });
            for name in ["V7", "V8", "V9", "V3R", "V4R", "V5R"] {
                let own = ecg.rhythm.iter().find(|l| l.name() == name).unwrap();
                let read = back
                    .rhythm
                    .iter()
                    .find(|l| l.name() == name)
                    .unwrap_or_else(|| panic!("{file}: no {name}"));
                assert!(own.uv_iter().eq(read.uv_iter()), "{file} {name}");
                assert!(paper.traces.iter().any(|t| t.lead == name), "{file} {name} {format:?}");
                assert!(
                    svg(&paper).contains(&format!(">{name}<")),
                    "{file} {name} is not written on the paper"
                );
            }
            // what is drawn as V1 to V6 is V1 to V6
            for name in ["V1", "V2", "V3", "V4", "V5", "V6"] {
                let own = ecg.rhythm.iter().find(|l| l.name() == name).unwrap();
                let trace = paper.traces.iter().find(|t| t.lead == name).unwrap();
                let first = (trace.start_s * 500.0).round() as usize;
                let height = (trace.y - trace.runs[0][0][1]) * 100.0;
                assert!(
                    (height - (own.uv(first).unwrap() - trace.baseline_uv)).abs() < 1e-6,
                    "{file} {name} {format:?}"
                );
            }
        }
    }
}

/// LA/RA: I turns over, II and III change places, aVR and aVL change places.
fn exchanged(ecg: &Ecg) -> Ecg {
    let (mut out, old) = (ecg.clone(), ecg.rhythm.clone());
    out.rhythm[0].samples = Samples::narrowest(old[0].samples.iter().map(|v| -v).collect());
    (out.rhythm[1].samples, out.rhythm[2].samples) = (old[2].samples.clone(), old[1].samples.clone());
    (out.rhythm[3].samples, out.rhythm[4].samples) = (old[4].samples.clone(), old[3].samples.clone());
    out
}

#[test]
fn exchanged_arm_electrodes_are_serious_in_every_format_and_right_ones_are_not_suspected() {
    let ecg = synth::ecg(&Spec::normal(8));
    for format in [Format::Scp, Format::Aecg, Format::Dicom, Format::Muse, Format::Contec] {
        let suspected = |e: &Ecg| {
            let e = through(format, e);
            check(&e, &measure(&e))
                .iter()
                .any(|f| f.code == "LIMB_REVERSAL" && f.severity == Severity::Serious)
        };
        assert!(suspected(&exchanged(&ecg)), "{format}");
        assert!(!suspected(&ecg), "{format}");
    }
}

#[test]
fn the_machines_words_are_unconfirmed_and_apart_from_what_is_measured() {
    let mut ecg = synth::ecg(&Spec::inferior_stemi(8));
    ecg.device.statements.push("*** ACUTE MI ***".into());
    ecg.device.measured("rate_bpm", "machine", Some(211.0), "/min");
    for format in [Format::Dicom, Format::Scp] {
        let back = through(format, &ecg);
        let measured = measure(&back);
        let found = check(&back, &measured);
        let document = json::document(&back, &measured, &found);
        assert_eq!(document["device"]["confirmed"], false);
        assert_eq!(document["device"]["note"], "machine, unconfirmed");
        assert_eq!(document["measured"]["status"], "estimate");
        assert!(
            document["device"]["statements"].to_string().contains("ACUTE MI"),
            "{format}: {}",
            document["device"]
        );
        assert_eq!(document["device"]["measurements"]["rate_bpm"], 211.0, "{format}");
        assert!((document["measured"]["rate_bpm"].as_f64().unwrap() - 64.0).abs() < 1.0, "{format}");
        assert!(found.iter().any(|f| f.code == "RATE_DIFFERS"), "{format}");
    }
}

#[test]
fn no_hint_is_given_unless_policy_asks_and_then_it_names_its_rule_and_numbers() {
    let measured = measure(&synth::ecg(&Spec::inferior_stemi(8)));
    assert_eq!(hints(&measured, Policy::default()), []);
    let given = hints(&measured, Policy { enabled: true });
    assert!(given.iter().any(|h| h.rule.len() > 10 && h.because.contains("III")), "{given:?}");
}

#[test]
fn sixty_a_minute_reads_sixty() {
    let ecg = synth::ecg(&Spec { rate_bpm: 60.0, ..Spec::normal(2) });
    let rate = measure(&ecg).rate_bpm.unwrap();
    assert_eq!(rate.round(), 60.0, "{rate}");
}
