use super::*;
use relay_core::formats::dicom::admit;
use std::io::Cursor;

const NOON: UtcMs = UtcMs(1_793_000_000_000);

#[test]
fn the_same_arguments_give_the_same_bytes_and_another_seed_other_ones() {
    let make = |seed| film(&study(seed, 0, 0.1, NOON).films[0]).unwrap().file;
    assert_eq!(make(1), make(1));
    assert_ne!(make(1), make(2));
}

#[test]
fn films_of_a_study_share_patient_and_study_and_differ_in_the_rest() {
    let chest = study(1, 0, 0.1, NOON);
    let facts: Vec<_> =
        chest.films.iter().map(|f| admit(Cursor::new(film(f).unwrap().file)).unwrap()).collect();
    assert_eq!(facts.len(), 2);
    assert_eq!(facts[0].study_uid, facts[1].study_uid);
    assert_eq!(facts[0].patient_name.as_deref(), Some(chest.patient.name.as_str()));
    assert_eq!(facts[0].charset_raw.as_deref(), Some("GB18030"));
    assert_ne!(facts[0].series_uid, facts[1].series_uid);
    assert_ne!(facts[0].sop_instance_uid, facts[1].sop_instance_uid);
    assert_eq!(facts[0].exam_time().utc_ms, Some(UtcMs(NOON.0 / 1000 * 1000)));
    assert!(facts.iter().all(|f| f.notes.is_empty()), "{:?}", facts[0].notes);
    let hand = study(1, 1, 0.1, NOON);
    let hand = admit(Cursor::new(film(&hand.films[0]).unwrap().file)).unwrap();
    assert_eq!(hand.body_part.as_deref(), Some("HAND"));
    assert_ne!(hand.patient_id, facts[0].patient_id);
}

#[test]
fn the_range_is_used_and_the_shutter_is_black() {
    let image = pixels(View::ChestPa, "F", 3, 0.2, 12);
    assert_eq!(image.pixels.len(), image.rows * image.columns);
    assert_eq!(image.pixels[0], 0);
    let levels: std::collections::BTreeSet<u16> = image.pixels.iter().copied().collect();
    assert!(levels.len() > 3_000 && levels.last() <= Some(&4095), "{} levels", levels.len());
}

#[test]
fn noise_grows_less_with_frequency_and_with_exposure() {
    // Lung (much exposure) against abdomen (little): stored values are logarithmic, so noise is larger where quanta are few.
    let (lung, belly) = (spectrum::measure(5, 0.5, 0.2, 0.35), spectrum::measure(5, 0.5, 0.2, 0.75));
    assert!(belly.deviation > lung.deviation, "{belly:?} {lung:?}");
    assert!(lung.power[7] < 0.6 && lung.power[7] > 0.05, "{lung:?}");
}

#[test]
fn unlawful_sizes_are_refused_by_name() {
    let mut request = study(1, 0, 0.1, NOON).films.remove(0);
    request.bits = 16;
    assert!(matches!(film(&request), Err(PhantomError::Bits(16))));
    request.bits = 12;
    request.scale = f32::NAN;
    assert!(matches!(film(&request), Err(PhantomError::Scale(_))));
}
