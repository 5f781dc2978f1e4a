//! Frames, pictures, ranges and headers of small files made here.

use crate::common::{OWN, Site, request};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use http::{HeaderValue, Method, StatusCode};
use viewer_api::desk::Role;
use viewer_api::testing::phantom;

type Element = DataElement<dicom_object::InMemDicomObject>;

fn text(tag: dicom_core::Tag, vr: VR, value: &str) -> Element {
    DataElement::new(tag, vr, PrimitiveValue::from(value))
}

async fn with(more: Vec<Element>) -> (Site, String, String) {
    let site = Site::new();
    let hash = site.put_study(7, OWN, "1.2.7", &phantom(more));
    let token = site.session("li", &[Role::Reader]).await;
    (site, token, format!("/studies/{OWN}/1.2.7/instances/{hash}"))
}

async fn grey(more: Vec<Element>, query: &str) -> Vec<u8> {
    let (site, token, base) = with(more).await;
    let answer = site.get(&token, &format!("{base}/frames/1/rendered{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    let picture = image::load_from_memory(&answer.body).unwrap().into_luma8();
    assert_eq!(picture.dimensions(), (6, 4));
    picture.into_raw()
}

#[tokio::test]
async fn raw_samples_and_their_facts_agree() {
    let (site, token, base) = with(vec![
        text(tags::IMAGER_PIXEL_SPACING, VR::DS, "0.15\\0.15"),
        text(tags::PIXEL_SPACING, VR::DS, "0\\0"),
        text(tags::WINDOW_CENTER, VR::DS, "1000\\1200"),
        text(tags::WINDOW_WIDTH, VR::DS, "2000\\800"),
    ])
    .await;
    let facts = site.get(&token, &format!("{base}/frames/1")).await.json();
    assert_eq!(
        (facts["rows"].as_i64(), facts["columns"].as_i64(), facts["signed"].as_bool()),
        (Some(4), Some(6), Some(false))
    );
    assert_eq!(facts["spacing"]["basis"], "detector");
    assert_eq!(facts["windows"][1]["width"], 800.0);
    let raw = site.get(&token, &format!("{base}/frames/1/raw")).await.body;
    let values: Vec<u16> = raw.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    assert_eq!(values, (0..24).map(|v| v * 100).collect::<Vec<u16>>());
    assert_eq!(site.get(&token, &format!("{base}/frames/2/raw")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn window_of_the_request_of_the_file_and_of_the_samples() {
    let asked = grey(Vec::new(), "?window_center=1150&window_width=2300&function=linear_exact").await;
    assert_eq!((asked[0], asked[23]), (0, 255));
    assert!(asked.windows(2).all(|pair| pair[0] < pair[1]));
    let file = vec![text(tags::WINDOW_CENTER, VR::DS, "500"), text(tags::WINDOW_WIDTH, VR::DS, "1")];
    assert_eq!(grey(file, "").await, [vec![0_u8; 5], vec![255; 19]].concat());
    let samples = grey(Vec::new(), "").await;
    assert_eq!((samples[0], samples[23]), (0, 255));
}

#[tokio::test]
async fn monochrome1_is_inverted_and_padding_is_black() {
    let inverted = vec![
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1"),
        DataElement::new(tags::PIXEL_PADDING_VALUE, VR::US, PrimitiveValue::from(0_u16)),
    ];
    let picture = grey(inverted, "?window_center=1150&window_width=2300&function=linear_exact").await;
    assert_eq!((picture[0], picture[23]), (0, 0));
    assert!(picture[1] > picture[22]);
}

#[tokio::test]
async fn signed_values_and_rescale_are_honoured() {
    let values: Vec<u16> = (0..24_i16).map(|v| ((v - 12) * 10) as u16).collect();
    let signed = vec![
        DataElement::new(tags::PIXEL_REPRESENTATION, VR::US, PrimitiveValue::from(1_u16)),
        DataElement::new(tags::BITS_STORED, VR::US, PrimitiveValue::from(16_u16)),
        DataElement::new(tags::HIGH_BIT, VR::US, PrimitiveValue::from(15_u16)),
        text(tags::RESCALE_SLOPE, VR::DS, "2"),
        text(tags::RESCALE_INTERCEPT, VR::DS, "1000"),
        DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(values.into())),
    ];
    let picture = grey(signed, "?window_center=1000&window_width=480&function=linear_exact").await;
    assert_eq!((picture[0], picture[12]), (0, 128));
}

#[tokio::test]
async fn a_voi_lut_is_used_when_there_is_no_window() {
    let mut item = dicom_object::InMemDicomObject::new_empty();
    item.put(DataElement::new(
        tags::LUT_DESCRIPTOR,
        VR::US,
        PrimitiveValue::U16([2, 1000, 8].into_iter().collect()),
    ));
    item.put(DataElement::new(tags::LUT_DATA, VR::OW, PrimitiveValue::U16([10, 200].into_iter().collect())));
    let sequence = dicom_core::value::DataSetSequence::from(vec![item]);
    let picture = grey(vec![DataElement::new(tags::VOILUT_SEQUENCE, VR::SQ, sequence)], "").await;
    assert_eq!((picture[10], picture[11]), (10, 200));
}

#[tokio::test]
async fn a_preview_is_a_jpeg_and_a_small_one_is_shrunk_to_the_asked_side() {
    let (site, token, base) = with(Vec::new()).await;
    let preview = site.get(&token, &format!("{base}/preview")).await;
    assert_eq!(preview.headers["content-type"], "image/jpeg");
    assert_eq!(image::guess_format(&preview.body).unwrap(), image::ImageFormat::Jpeg);
    let small = site.get(&token, &format!("{base}/frames/1/rendered?max_side=3")).await;
    let small = image::load_from_memory(&small.body).unwrap();
    assert_eq!((small.width(), small.height()), (3, 2));
}

#[tokio::test]
async fn pixels_that_contradict_the_header_are_a_named_refusal() {
    let rows = DataElement::new(tags::ROWS, VR::US, PrimitiveValue::from(400_u16));
    let (site, token, base) = with(vec![rows]).await;
    let answer = site.get(&token, &format!("{base}/frames/1/rendered")).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, "UNDECODABLE_IMAGE")
    );
    let huge = |tag| DataElement::new(tag, VR::US, PrimitiveValue::from(60_000_u16));
    let (site, token, base) = with(vec![huge(tags::ROWS), huge(tags::COLUMNS)]).await;
    let answer = site.get(&token, &format!("{base}/frames/1/raw")).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, "UNDECODABLE_IMAGE")
    );
}

#[tokio::test]
async fn the_original_comes_back_byte_for_byte_whole_and_in_ranges() {
    let original = phantom(Vec::new());
    let (site, token, base) = with(Vec::new()).await;
    let whole = site.get(&token, &format!("{base}/file")).await;
    assert_eq!((whole.status, whole.body == original), (StatusCode::OK, true));
    assert_eq!(whole.headers["content-type"], "application/dicom");
    let mut part = request(Method::GET, Some(&token), &format!("{base}/file"), "");
    part.headers_mut().insert("range", HeaderValue::from_static("bytes=128-131"));
    let part = site.send(part).await;
    assert_eq!((part.status, part.body.as_slice()), (StatusCode::PARTIAL_CONTENT, b"DICM".as_slice()));
    assert_eq!(part.headers["content-range"], format!("bytes 128-131/{}", original.len()));
    let mut beyond = request(Method::GET, Some(&token), &format!("{base}/file"), "");
    beyond.headers_mut().insert("range", HeaderValue::from_static("bytes=99999999-"));
    assert_eq!(site.send(beyond).await.status, StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn a_name_in_a_mislabelled_character_set_is_utf8_in_the_header() {
    // GB18030 bytes of 王晓东 under ISO_IR 100.
    let name = PrimitiveValue::from("\u{CD}\u{F5}^\u{CF}\u{FE}\u{B6}\u{AB}");
    let mislabelled = vec![
        text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100"),
        DataElement::new(tags::PATIENT_NAME, VR::PN, name),
    ];
    for (more, charset) in [(mislabelled, "mislabelled"), (Vec::new(), "utf-8")] {
        let (site, token, base) = with(more).await;
        let header = site.get(&token, &format!("{base}/metadata")).await;
        assert_eq!(header.headers["content-type"], "application/dicom+json");
        let header = header.json();
        assert_eq!(header[0]["00100010"]["Value"][0]["Alphabetic"], "王^晓东", "{charset}");
        assert_eq!(header[0]["00080005"]["Value"][0], "ISO_IR 192");
        assert!(header[0].get("7FE00010").is_none());
    }
}

/// A file with `depth` sequences in one another.
fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = phantom(Vec::new());
    let at = bytes.windows(4).position(|tag| tag == [0xE0, 0x7F, 0x10, 0x00]).unwrap();
    let pixels = bytes.split_off(at);
    for _ in 0..depth {
        // (0040,0555) SQ of undefined length, an item of undefined length.
        bytes.extend([
            0x40, 0, 0x55, 5, b'S', b'Q', 0, 0, 255, 255, 255, 255, 0xFE, 0xFF, 0, 0xE0, 255, 255, 255, 255,
        ]);
    }
    for _ in 0..depth {
        bytes.extend([0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    }
    bytes.extend(pixels);
    bytes
}

#[tokio::test]
async fn sequences_nested_without_end_are_refused_and_overflow_no_stack() {
    let site = Site::new();
    let token = site.session("li", &[Role::Reader]).await;
    for (depth, status) in [(60, StatusCode::OK), (100_000, StatusCode::UNPROCESSABLE_ENTITY)] {
        let hash = site.put_study(7, OWN, "1.2.7", &nested(depth));
        for route in ["metadata", "frames/1/raw", "preview"] {
            let answer = site.get(&token, &format!("/studies/{OWN}/1.2.7/instances/{hash}/{route}")).await;
            assert_eq!(answer.status, status, "{depth} {route}");
        }
    }
}

/// A file with these bytes in front of its pixel data.
fn with_bytes(more: &[u8]) -> Vec<u8> {
    let mut bytes = phantom(Vec::new());
    let at = bytes.windows(4).position(|tag| tag == [0xE0, 0x7F, 0x10, 0x00]).unwrap();
    let pixels = bytes.split_off(at);
    [bytes, more.to_vec(), pixels].concat()
}

#[tokio::test]
async fn a_length_that_the_library_would_allocate_is_refused_before_it_does() {
    let site = Site::new();
    let token = site.session("li", &[Role::Reader]).await;
    // (0011,1001), an unknown representation: eight bytes for admission, 4,294,967,294 for the library.
    let unknown = [0x11, 0, 1, 0x10, b'Z', b'Z', 8, 0, 0xFE, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
    let hash = site.put_study(7, OWN, "1.2.7", &with_bytes(&unknown));
    for route in ["metadata", "frames/1/raw", "preview"] {
        let answer = site.get(&token, &format!("/studies/{OWN}/1.2.7/instances/{hash}/{route}")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::PAYLOAD_TOO_LARGE, "REFUSED_TOO_LARGE"),
            "{route}"
        );
    }
}

#[tokio::test]
async fn a_header_of_countless_empty_elements_is_refused() {
    let site = Site::new();
    let token = site.session("li", &[Role::Reader]).await;
    // (0011,xxxx) UT without value, 12 bytes each.
    let empty = |n: u32| {
        let n = u16::try_from(n % 0xE000 + 0x1001).unwrap().to_le_bytes();
        [0x11, 0, n[0], n[1], b'U', b'T', 0, 0, 0, 0, 0, 0]
    };
    let hash =
        site.put_study(7, OWN, "1.2.7", &with_bytes(&(0..70_000).flat_map(empty).collect::<Vec<u8>>()));
    let answer = site.get(&token, &format!("/studies/{OWN}/1.2.7/instances/{hash}/metadata")).await;
    assert_eq!(answer.code(), "REFUSED_TOO_LARGE");
}
