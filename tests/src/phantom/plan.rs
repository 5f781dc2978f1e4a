//! Who is on the next film: patients, studies and identifiers from a seed.

use super::dice::Dice;
use super::{FilmRequest, Patient, TextCoding, View};
use relay_core::clock::{DAY_MS, MINUTE_MS, UtcMs};

const SURNAMES: [&str; 16] =
    ["张", "王", "李", "赵", "刘", "陈", "杨", "黄", "周", "吴", "徐", "孙", "马", "朱", "胡", "欧阳"];
const GIVEN_M: [&str; 10] = ["伟", "强", "建国", "志明", "俊杰", "永福", "海涛", "德胜", "文斌", "镕"];
const GIVEN_F: [&str; 10] = ["芳", "秀英", "丽", "桂兰", "雪梅", "玉珍", "晓燕", "淑华", "婷", "喆"];
/// Days from one birthday to the next, near enough for an invented age.
const YEAR_DAYS: i64 = 365;

/// One study: its films share patient, study UID and accession number; each view is a series.
#[derive(Debug, Clone)]
pub struct Study {
    /// (0020,000D).
    pub uid: String,
    /// The patient.
    pub patient: Patient,
    /// The films in the order they were taken.
    pub films: Vec<FilmRequest>,
}

/// Plans study number `index` of `seed`, taken at `exam_at`: even ones are chests in two views, odd ones hands.
#[must_use]
pub fn study(seed: u64, index: u64, scale: f32, exam_at: UtcMs) -> Study {
    let mut dice = Dice::new(seed, 0x0005_70D7 + index);
    let patient = patient(&mut dice, index, exam_at);
    let views: Vec<View> = if index.is_multiple_of(2) {
        vec![View::ChestPa, View::ChestLateral]
    } else {
        vec![View::Hand { left: dice.next().is_multiple_of(2) }]
    };
    let uid = |what: &str| uid(&format!("{seed}/{index}/{what}"));
    let study_uid = uid("study");
    let films = views
        .into_iter()
        .enumerate()
        .map(|(n, view)| FilmRequest {
            view,
            patient: patient.clone(),
            // Both views show the same body.
            seed: seed.wrapping_mul(1_000_003).wrapping_add(index),
            scale,
            bits: if index % 4 == 2 { 14 } else { 12 },
            study_uid: study_uid.clone(),
            series_uid: uid(&format!("series{n}")),
            instance_uid: uid(&format!("instance{n}")),
            series_number: n as u32 + 1,
            exam_at: exam_at.plus_ms(n as i64 * MINUTE_MS),
            accession: format!("XR{seed:04}{index:05}"),
            institution: "示范乡镇卫生院".to_owned(),
            station: "DR01".to_owned(),
            coding: TextCoding::Gb18030,
        })
        .collect();
    Study { uid: study_uid, patient, films }
}

fn patient(dice: &mut Dice, index: u64, exam_at: UtcMs) -> Patient {
    let male = dice.next().is_multiple_of(2);
    let surname = dice.pick(&SURNAMES);
    let given = dice.pick(if male { &GIVEN_M } else { &GIVEN_F });
    let days = dice.within(19.0, 86.0) as i64 * YEAR_DAYS + dice.within(0.0, 364.0) as i64;
    let date = |at: UtcMs| at.to_rfc3339().chars().take(10).filter(char::is_ascii_digit).collect::<String>();
    let (born, today) = (date(exam_at.plus_ms(-days * DAY_MS)), date(exam_at));
    let number = |date: &str| date.parse::<u32>().unwrap_or_default();
    Patient {
        name: format!("{surname}^{given}"),
        id: format!("P{:06}", index + 1),
        sex: if male { "M" } else { "F" }.to_owned(),
        age: format!("{:03}Y", (number(&today) - number(&born)) / 10_000),
        birth_date: born,
    }
}

/// A UID under 2.25 (PS3.5 §B.2) from the BLAKE3 of a text.
fn uid(text: &str) -> String {
    let hash = blake3::hash(format!("relay phantom {text}").as_bytes());
    let mut half = [0u8; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    format!("2.25.{}", u128::from_be_bytes(half))
}
