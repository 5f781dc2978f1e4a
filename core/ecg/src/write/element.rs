//! DICOM elements, explicit little endian (PS3.5 7.1): sorted by tag, even lengths, sequences of defined length.

/// A data set or item being built.
#[derive(Debug, Default, Clone)]
pub(super) struct Item {
    elements: Vec<(u32, [u8; 2], Vec<u8>)>,
}

impl Item {
    pub(super) fn raw(&mut self, tag: u32, vr: &[u8; 2], value: Vec<u8>) -> &mut Self {
        self.elements.push((tag, *vr, value));
        self
    }

    /// Text of any string representation, cut to what it may hold (PS3.5 6.2); UI is padded with NUL, all others with a blank.
    pub(super) fn text(&mut self, tag: u32, vr: &[u8; 2], value: &str) -> &mut Self {
        let most = match vr {
            b"SH" | b"CS" => 16,
            b"LO" => 64,
            b"ST" => 1024,
            _ => usize::MAX,
        };
        // a backslash would begin a second value; control characters are unlawful outside of paragraphs
        let lawful = |c: char| if (c.is_control() || c == '\\') && vr != b"ST" { ' ' } else { c };
        let cut: String = value.chars().take(most).map(lawful).collect();
        let mut bytes = cut.into_bytes();
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == b"UI" { 0 } else { b' ' });
        }
        self.raw(tag, vr, bytes)
    }

    pub(super) fn u16s(&mut self, tag: u32, values: &[u16]) -> &mut Self {
        self.raw(tag, b"US", values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    pub(super) fn u32(&mut self, tag: u32, value: u32) -> &mut Self {
        self.raw(tag, b"UL", value.to_le_bytes().to_vec())
    }

    pub(super) fn sequence(&mut self, tag: u32, items: Vec<Self>) -> &mut Self {
        let mut value = Vec::new();
        for item in items {
            let body = item.encode();
            value.extend([0xFE, 0xFF, 0x00, 0xE0]);
            value.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
            value.extend(body);
        }
        self.raw(tag, b"SQ", value)
    }

    /// A coded entry: value, scheme, meaning.
    pub(super) fn code(value: &str, scheme: &str, meaning: &str) -> Self {
        let mut item = Self::default();
        item.text(0x0008_0100, b"SH", value).text(0x0008_0102, b"SH", scheme).text(
            0x0008_0104,
            b"LO",
            meaning,
        );
        item
    }

    pub(super) fn encode(mut self) -> Vec<u8> {
        self.elements.sort_by_key(|(tag, ..)| *tag);
        let mut out = Vec::new();
        for (tag, vr, mut value) in self.elements {
            if value.len() % 2 == 1 {
                value.push(0);
            }
            out.extend(((tag >> 16) as u16).to_le_bytes());
            out.extend((tag as u16).to_le_bytes());
            out.extend(vr);
            let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
            if matches!(&vr, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT" | b"UC") {
                out.extend([0, 0]);
                out.extend(len.to_le_bytes());
            } else {
                out.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
            }
            out.extend(value);
        }
        out
    }
}

/// A decimal string of at most 16 characters.
pub(super) fn decimal(value: f64) -> String {
    let plain = format!("{value}");
    if plain.len() <= 16 {
        return plain;
    }
    (0..=12)
        .rev()
        .map(|digits| format!("{value:.digits$e}"))
        .find(|t| t.len() <= 16)
        .unwrap_or_else(|| "0".into())
}
