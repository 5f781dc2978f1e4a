//! The size that a compressed frame says of itself, read before a codec believes it: a few bytes may claim a picture of
//! sixteen gigabytes.

/// Sizes of a codestream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Columns.
    pub(super) width: u64,
    /// Rows.
    pub(super) height: u64,
    /// Components.
    pub(super) components: u64,
}

impl Size {
    /// Samples, which cannot overflow: each factor has at most 32, 32 and 16 bits.
    #[must_use]
    pub(super) fn samples(&self) -> u128 {
        u128::from(self.width) * u128::from(self.height) * u128::from(self.components)
    }
}

/// The size that these first bytes of a codestream claim; `None` when they are of no codestream known here.
#[must_use]
pub(super) fn size(bytes: &[u8]) -> Option<Size> {
    match bytes {
        [0xff, 0xd8, ..] => jpeg(bytes),
        [0xff, 0x4f, 0xff, 0x51, ..] => jpeg_2000(bytes),
        // The JP2 box format: the codestream stands further in (ISO/IEC 15444-1 Annex I).
        [0, 0, 0, 12, b'j', b'P', ..] => {
            let at = bytes.windows(4).position(|w| w == [0xff, 0x4f, 0xff, 0x51])?;
            jpeg_2000(&bytes[at..])
        }
        [0xff, 0x0a, rest @ ..] => jpeg_xl(rest),
        [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => {
            let at = bytes.windows(6).position(|w| w == *b"jxlc\xff\x0a" || w == *b"jxlp\0\0")?;
            let begin = bytes[at..].windows(2).position(|w| w == [0xff, 0x0a])?;
            jpeg_xl(&bytes[at + begin + 2..])
        }
        _ => None,
    }
}

fn short(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 2).map(|b| u64::from(u16::from_be_bytes([b[0], b[1]])))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 4).map(|b| u64::from(u32::from_be_bytes([b[0], b[1], b[2], b[3]])))
}

/// JPEG and JPEG-LS: the frame header (ISO/IEC 10918-1 B.2.2, ISO/IEC 14495-1 C.2.2) behind other segments.
fn jpeg(bytes: &[u8]) -> Option<Size> {
    let mut at = 2;
    loop {
        let (&mark, &code) = (bytes.get(at)?, bytes.get(at + 1)?);
        match (mark, code) {
            (0xff, 0xff) => at += 1,
            (0xff, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | 0xf7) => {
                let (height, width) = (short(bytes, at + 5)?, short(bytes, at + 7)?);
                return Some(Size { width, height, components: u64::from(*bytes.get(at + 9)?) });
            }
            (0xff, 0xd9 | 0xda) => return None,
            (0xff, 0x01 | 0xd0..=0xd8) => at += 2,
            (0xff, _) => at += 2 + usize::try_from(short(bytes, at + 2)?).ok()?,
            _ => return None,
        }
    }
}

/// JPEG 2000 and HTJ2K: image and tile size (ISO/IEC 15444-1 A.5.1).
fn jpeg_2000(bytes: &[u8]) -> Option<Size> {
    let (right, bottom, left, top) = (long(bytes, 8)?, long(bytes, 12)?, long(bytes, 16)?, long(bytes, 20)?);
    let components = short(bytes, 40)?;
    Some(Size { width: right.saturating_sub(left), height: bottom.saturating_sub(top), components })
}

/// JPEG XL: the size header (ISO/IEC 18181-1 D.2), bits from the lowest of each byte. Components are not told here; four
/// at most count.
fn jpeg_xl(bytes: &[u8]) -> Option<Size> {
    let mut bits = Bits { bytes, at: 0 };
    let small = bits.take(1)? == 1;
    let height = bits.side(small)?;
    let ratio = bits.take(3)?;
    let width = match ratio {
        0 => bits.side(small)?,
        1 => height,
        2 => height * 12 / 10,
        3 => height * 4 / 3,
        4 => height * 3 / 2,
        5 => height * 16 / 9,
        6 => height * 5 / 4,
        _ => height * 2,
    };
    Some(Size { width, height, components: 1 })
}

struct Bits<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u64> {
        let mut value = 0;
        for bit in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value |= u64::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        Some(value)
    }

    fn side(&mut self, small: bool) -> Option<u64> {
        if small {
            return Some((self.take(5)? + 1) * 8);
        }
        let width = [9, 13, 18, 30][usize::try_from(self.take(2)?).ok()?];
        Some(self.take(width)? + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jpeg_frame_header_is_found_behind_other_segments() {
        let head =
            [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc3, 0, 11, 16, 0x0b, 0xb8, 0x0c, 0, 1, 0, 0];
        assert_eq!(size(&head), Some(Size { width: 3072, height: 3000, components: 1 }));
        assert_eq!(size(&[0xff, 0xd8, 0xff, 0xda, 0, 0]), None);
        assert_eq!(size(&[0xff, 0xd8, 0xff, 0xe0, 0, 0]), None, "a segment without end");
    }

    #[test]
    fn a_jpeg_2000_size_is_that_of_the_image_area() {
        let mut head = vec![0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0];
        for number in [3100_u32, 2100, 100, 100, 512, 512, 0, 0] {
            head.extend(number.to_be_bytes());
        }
        head.extend([0, 3]);
        assert_eq!(size(&head), Some(Size { width: 3000, height: 2000, components: 3 }));
        let boxed: Vec<u8> = [&[0, 0, 0, 12][..], b"jP  \r\n\x87\n", &head].concat();
        assert_eq!(size(&boxed), size(&head));
    }

    #[test]
    fn a_jpeg_xl_size_is_read_small_and_large() {
        // small: height (3 + 1) * 8, ratio 1.
        assert_eq!(jpeg_xl(&[0b0100_0111, 0]).map(|s| (s.width, s.height)), Some((32, 32)));
        // not small: 30 bits of ones, ratio 0, 30 bits of ones.
        let most = jpeg_xl(&[0xfe, 0xff, 0xff, 0xff, 0xf1, 0xff, 0xff, 0xff, 0xff]).unwrap();
        assert_eq!((most.width, most.height), (1 << 30, 1 << 30));
    }
}
