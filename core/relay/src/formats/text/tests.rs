use super::*;

fn name(charset: &str, hex_bytes: &str) -> Decoded {
    Charset::of(charset).decode(&hex::decode(hex_bytes).unwrap(), Field::Name)
}

#[test]
fn declared_chinese_sets_are_obeyed_even_with_ascii_second_bytes() {
    for set in ["GB18030", "GBK"] {
        for (bytes, text) in [
            ("b2e2cad45e313030", "测试^100"),
            ("b2e2845c5e855ccad4", "测刓^匼试"),
            ("b2e2845e5e855ecad4", "测刕^區试"),
            ("b2e2847c5e857ccad4", "测剕^厊试"),
            ("b2e2953290318139ee395ecad4", "测𠂇㐀^试"),
        ] {
            let decoded = name(set, bytes);
            assert_eq!(
                (decoded.text.as_str(), decoded.repaired, decoded.unreadable),
                (text, false, false),
                "{set}"
            );
        }
    }
}

#[test]
fn wrongly_labelled_chinese_is_repaired_and_marked() {
    for (set, bytes) in [
        ("", "b2e2cad45e313030"),
        ("ISO_IR 100", "b2e2cad45e313030"),
        ("ISO_IR 192", "b2e2cad45e313030"),
        ("ISO_IR 100", "e6b58be8af955e313030"),
        ("", "e6b58be8af955e313030"),
        ("GB18030", "e6b58be8af955e313030"),
    ] {
        let decoded = name(set, bytes);
        assert_eq!((decoded.text.as_str(), decoded.repaired), ("测试^100", true), "{set} {bytes}");
    }
    // 朱镕基: one character with an ASCII second byte between two of GB2312; 李玥, 陈喆 outside GB2312.
    for (bytes, text) in [("d6ece946bbf9", "朱镕基"), ("c0eeab68", "李玥"), ("b3c286b4", "陈喆")] {
        assert_eq!(name("ISO_IR 100", bytes).text, text);
    }
    let institution = Charset::of("").decode(&hex::decode("b5dad2bbd2bdd4ba4354cad2").unwrap(), Field::Line);
    assert_eq!(institution.text, "第一医院CT室");
}

#[test]
fn european_names_stay_european() {
    for (bytes, text) in [
        ("4dfc6c6c6572", "Müller"),
        ("4772f6df6d616e6e", "Größmann"),
        ("4d dc 4c 4c 45 52", "MÜLLER"),
        ("4a6f73e95e4d61", "José^Ma"),
        ("c96d696c65", "Émile"),
        ("4672616ee7ef6e", "Françïn"),
    ] {
        let bytes = bytes.replace(' ', "");
        assert_eq!(name("ISO_IR 100", &bytes).text, text);
        assert_eq!(name("", &bytes).text, text);
    }
}

#[test]
fn misspelt_terms_are_understood() {
    for (set, bytes) in [
        ("GB18030\\ISO_IR 192", "b2e2cad45e313030"),
        ("GB2312", "b2e2cad45e313030"),
        ("ISO_IR 58", "b2e2cad45e313030"),
        ("ISO_IR_192", "e6b58be8af955e313030"),
        ("UTF-8", "e6b58be8af955e313030"),
        ("gb18030", "b2e2cad45e313030"),
    ] {
        assert_eq!(name(set, bytes).text, "测试^100", "{set}");
    }
    assert_eq!(name("ISO-IR 100", "4dfc6c6c6572").text, "Müller");
}

#[test]
fn escapes_switch_sets_and_delimiters_reset_them() {
    let chinese = "43657368695e45723d1b242941b2e2cad45e1b242941b6fe";
    let decoded = name("\\ISO 2022 IR 58", chinese);
    assert_eq!((decoded.text.as_str(), decoded.repaired), ("Ceshi^Er=测试^二", false));
    let no_reset = name("\\ISO 2022 IR 58", "43657368695e45723d1b242941b2e2cad45eb6fe");
    assert_eq!((no_reset.text.as_str(), no_reset.repaired), ("Ceshi^Er=测试^二", true));
    let korean = "486f6e675e47696c646f6e673d1b242943fbf35e1b242943d1ced4d73d1b242943c8ab5e1b242943b1e6b5bf";
    assert_eq!(name("\\ISO 2022 IR 149", korean).text, "Hong^Gildong=洪^吉洞=홍^길동");
    let japanese = "d4cfc0de5ec0dbb33d1b24423b3345441b284a5e1b244242404f3a1b284a";
    assert_eq!(name("ISO 2022 IR 13\\ISO 2022 IR 87", japanese).text, "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎");
    // JIS X 0212 (IR 159): 丄 is row 16 cell 2.
    assert_eq!(name("\\ISO 2022 IR 159", "1b24284430221b2842").text, "丄");
}

#[test]
fn single_byte_sets_of_the_standard_decode() {
    for (set, bytes, text) in [
        ("ISO_IR 127", "e2c8c7e6ea5ee4e6d2c7d1", "قباني^لنزار"),
        ("ISO_IR 126", "c4e9efedf5f3e9eff2", "Διονυσιος"),
        ("ISO_IR 138", "f9f8e5ef5ee3e1e5f8e4", "שרון^דבורה"),
        ("ISO_IR 144", "bbeeda6365dcd17970d3", "Люкceмбypг"),
        ("ISO_IR 101", "a3f364bc", "Łódź"),
        ("ISO_IR 109", "a6", "Ĥ"),
        ("ISO_IR 110", "d1", "Ņ"),
        ("ISO_IR 148", "dd7374616e62756c", "İstanbul"),
        ("ISO_IR 166", "a1a2", "กข"),
        ("ISO_IR 13", "d4cfc0de", "ﾔﾏﾀﾞ"),
    ] {
        let bytes = if set == "ISO_IR 110" { "d1".to_owned() } else { bytes.to_owned() };
        assert_eq!(name(set, &bytes).text, text, "{set}");
    }
}

#[test]
fn half_a_character_is_marked_unreadable_not_lost() {
    let decoded = name("GB18030", "b2e2ca");
    assert!(decoded.text.starts_with('测') && decoded.text.ends_with('\u{FFFD}') && decoded.unreadable);
}

#[test]
fn any_bytes_under_any_term_decode_without_panic() {
    let terms = [
        "",
        "GB18030",
        "ISO_IR 192",
        "\\ISO 2022 IR 87",
        "ISO 2022 IR 13\\ISO 2022 IR 159",
        "ISO_IR 100",
        "x\\y",
    ];
    for seed in 0..4_000u32 {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let bytes: Vec<u8> = (0..seed % 23)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if state >> 30 == 0 { 0x1B } else { (state >> 16) as u8 }
            })
            .collect();
        for term in terms {
            for field in [Field::Name, Field::Line, Field::Paragraph] {
                let _ = written_name(&Charset::of(term).decode(&bytes, field).text);
            }
        }
    }
}

#[test]
fn names_are_shown_without_forging_the_line() {
    assert_eq!(written_name("Ceshi^Yi=测试^一=ㄘㄜˋ"), "测试一");
    assert_eq!(written_name("Smith^John"), "Smith John");
    assert_eq!(visible("张\u{202E}三\r\nX: 1"), "张三\u{2423}\u{2423}X: 1");
}

#[test]
fn a_name_is_written_as_people_write_it() {
    for (stored, written) in [
        ("陈^志明", "陈志明"),
        ("Zhang^San=张^三", "张三"),
        ("Zhang^San=^", "Zhang San"),
        ("ZHANG^SAN^^^", "ZHANG SAN"),
        ("Müller^Anna", "Müller Anna"),
        ("Zhang^San= ^", "Zhang San"),
        ("Zhang^San=\u{FFFD}\u{FFFD}", "Zhang San"),
        ("\u{FFFD}\u{FFFD}", "\u{FFFD}\u{FFFD}"),
        ("==ㄓㄤ^ㄙㄢ", "ㄓㄤ ㄙㄢ"),
        ("王小东", "王小东"),
        ("", ""),
    ] {
        assert_eq!(super::written_name(stored), written, "{stored}");
    }
}
