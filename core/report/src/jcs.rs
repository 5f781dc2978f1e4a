//! JSON Canonicalization Scheme (RFC 8785): one byte string for one JSON value.
//!
//! Object members sorted by the UTF-16 code units of their names, no white space, strings with the shortest
//! escapes of ECMAScript `JSON.stringify`, numbers as ECMAScript prints a double.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Writes `value` in canonical form.
///
/// Integers beyond ±2⁵³ are printed as the nearest double, as RFC 8785 §3.2.2.3 asks. Fractions that serde_json
/// parsed may be off by their last bit (its `float_roundtrip` feature is off); report documents hold integers only.
pub fn to_vec(value: &Value) -> Vec<u8> {
    let mut out = String::new();
    write_value(&mut out, value);
    out.into_bytes()
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(n) => write_number(out, n),
        Value::String(s) => write_string(out, s),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut members: Vec<(&String, &Value)> = map.iter().collect();
            members.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
            out.push('{');
            for (i, (name, item)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(out, name);
                out.push(':');
                write_value(out, item);
            }
            out.push('}');
        }
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if (c as u32) < 0x20 => {
                write!(out, "\\u{:04x}", c as u32).expect("invariant: writing to a string does not fail");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn write_number(out: &mut String, number: &Number) {
    /// Integers up to here are exact doubles.
    const EXACT: u64 = 1 << 53;
    match (number.as_i64(), number.as_f64()) {
        (Some(i), _) if i.unsigned_abs() <= EXACT => out.push_str(&i.to_string()),
        (_, Some(f)) => out.push_str(&ecmascript(f)),
        // Not reachable without serde_json's arbitrary_precision feature.
        (_, None) => out.push_str("null"),
    }
}

/// ECMA-262 Number::toString for a finite double (RFC 8785 §3.2.2.3 and appendix B).
fn ecmascript(f: f64) -> String {
    if f == 0.0 {
        return "0".to_owned();
    }
    // `{:e}` gives the shortest digits that read back as the same double: "-1.2345e-7".
    let text = format!("{:e}", f.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mut digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    if let Some(even) = even_of_a_tie(f.abs(), digits.len()) {
        digits = even;
    }
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    // In ECMA-262's words: value = digits × 10^(n − k), k = number of digits.
    let n = exponent + 1;
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let sign = if f < 0.0 { "-" } else { "" };
    let split = |at: i32| digits.split_at(usize::try_from(at).unwrap_or(0));
    let body = if count <= n && n <= 21 {
        format!("{digits}{}", zeros(n - count))
    } else if 0 < n && n <= 21 {
        let (whole, fraction) = split(n);
        format!("{whole}.{fraction}")
    } else if -6 < n && n <= 0 {
        format!("0.{}{digits}", zeros(-n))
    } else {
        let (first, rest) = split(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let e = n - 1;
        format!("{first}{dot}{rest}e{}{}", if e < 0 { '-' } else { '+' }, e.abs())
    };
    format!("{sign}{body}")
}

/// Where two shortest decimals are equally near, ECMA-262 takes the even one; Rust rounds up.
fn even_of_a_tie(f: f64, count: usize) -> Option<String> {
    /// No double has more significant decimal digits.
    const ALL_DIGITS: usize = 780;
    let text = format!("{f:.ALL_DIGITS$e}");
    let (mantissa, exponent) = text.split_once('e')?;
    let exact: String = mantissa.chars().filter(|c| *c != '.').collect();
    let (floor, rest) = exact.split_at_checked(count)?;
    let tie = rest.starts_with('5') && rest[1..].bytes().all(|b| b == b'0');
    let even = floor.bytes().last().is_some_and(|b| b % 2 == 0);
    let (first, more) = floor.split_at_checked(1)?;
    let reads_back = || format!("{first}.{more}e{exponent}").parse() == Ok(f);
    (tie && even && reads_back()).then(|| floor.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_follow_appendix_b_of_the_rfc() {
        let samples: [(u64, &str); 24] = [
            (0x0000000000000000, "0"),
            (0x8000000000000000, "0"),
            (0x0000000000000001, "5e-324"),
            (0x8000000000000001, "-5e-324"),
            (0x7fefffffffffffff, "1.7976931348623157e+308"),
            (0xffefffffffffffff, "-1.7976931348623157e+308"),
            (0x4340000000000000, "9007199254740992"),
            (0xc340000000000000, "-9007199254740992"),
            (0x4430000000000000, "295147905179352830000"),
            (0x44b52d02c7e14af5, "9.999999999999997e+22"),
            (0x44b52d02c7e14af6, "1e+23"),
            (0x44b52d02c7e14af7, "1.0000000000000001e+23"),
            (0x444b1ae4d6e2ef4e, "999999999999999700000"),
            (0x444b1ae4d6e2ef4f, "999999999999999900000"),
            (0x444b1ae4d6e2ef50, "1e+21"),
            (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
            (0x3eb0c6f7a0b5ed8d, "0.000001"),
            (0x41b3de4355555553, "333333333.3333332"),
            (0x41b3de4355555554, "333333333.33333325"),
            (0x41b3de4355555555, "333333333.3333333"),
            (0x41b3de4355555556, "333333333.3333334"),
            (0x41b3de4355555557, "333333333.33333343"),
            (0xbecbf647612f3696, "-0.0000033333333333333333"),
            (0x43143ff3c1cb0959, "1424953923781206.2"),
        ];
        for (bits, expected) in samples {
            assert_eq!(ecmascript(f64::from_bits(bits)), expected, "{bits:016x}");
        }
    }

    #[test]
    fn the_example_of_section_3_2_2_is_reproduced() {
        let value = json!({
            "numbers": [f64::from_bits(0x41b3_de43_5555_5555), 1E30, 4.50, 2e-3, 0.000_000_000_000_000_000_000_000_001],
            "string": "\u{20ac}$\u{f}\nA'\u{42}\u{22}\u{5c}\\\"/",
            "literals": [null, true, false]
        });
        let expected = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
        assert_eq!(String::from_utf8(to_vec(&value)).unwrap(), expected);
    }

    #[test]
    fn members_are_sorted_by_utf16_code_units_as_in_section_3_2_3() {
        let value = json!({
            "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control",
            "\u{f6}": "Latin Small Letter O With Diaeresis"
        });
        let text = String::from_utf8(to_vec(&value)).unwrap();
        let order = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"];
        let found: Vec<usize> = order.iter().map(|w| text.find(w).unwrap()).collect();
        assert!(found.is_sorted(), "{text}");
    }

    #[test]
    fn large_integers_are_printed_as_doubles() {
        assert_eq!(to_vec(&json!(9_007_199_254_740_993_i64)), b"9007199254740992");
        assert_eq!(to_vec(&json!(u64::MAX)), b"18446744073709552000");
        assert_eq!(to_vec(&json!(-42)), b"-42");
    }

    proptest! {
        #[test]
        fn every_finite_double_reads_back(bits in any::<u64>()) {
            let f = f64::from_bits(bits);
            prop_assume!(f.is_finite());
            prop_assert_eq!(ecmascript(f).parse::<f64>().unwrap(), f);
        }

        #[test]
        fn every_string_reads_back(text in any::<String>()) {
            let bytes = to_vec(&Value::String(text.clone()));
            prop_assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), text);
        }
    }
}
