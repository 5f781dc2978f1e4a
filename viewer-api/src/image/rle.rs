//! RLE Lossless (PS3.5 Annex G): a header of sixteen numbers, then one PackBits segment for each byte of a pixel, the
//! highest byte of the first component first. Whatever the bytes are: no more than the frame is ever held.

/// Bytes of the header: the number of segments and fifteen offsets.
const HEADER_BYTES: usize = 64;

/// Why a fragment is no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RleError {
    /// The number of segments is not that of a pixel's bytes.
    #[error("{found} RLE segments for {expected} bytes a pixel")]
    Segments {
        /// As the header says.
        found: usize,
        /// As the image says.
        expected: usize,
    },
    /// An offset lies outside the fragment or before its predecessor.
    #[error("RLE segment {0} lies outside its fragment")]
    Offset(usize),
    /// A segment holds fewer bytes than the frame has pixels.
    #[error("RLE segment {segment} holds {found} of {pixels} bytes")]
    Short {
        /// Which, from nought.
        segment: usize,
        /// Bytes decoded.
        found: usize,
        /// Pixels of the frame.
        pixels: usize,
    },
}

/// Decodes one fragment into `pixels` pixels of `components` components of `bytes` bytes, pixel by pixel, little-endian.
///
/// # Errors
/// [`RleError`].
pub(super) fn decode(
    fragment: &[u8],
    pixels: usize,
    components: usize,
    bytes: usize,
) -> Result<Vec<u8>, RleError> {
    let expected = components * bytes;
    let number = |at: usize| {
        let word = fragment.get(4 * at..4 * at + 4)?;
        usize::try_from(u32::from_le_bytes([word[0], word[1], word[2], word[3]])).ok()
    };
    let found = number(0).unwrap_or(0);
    if found != expected || expected > 15 || fragment.len() < HEADER_BYTES {
        return Err(RleError::Segments { found, expected });
    }
    let mut out = vec![0; pixels * expected];
    for segment in 0..expected {
        let from = number(1 + segment).filter(|from| *from >= HEADER_BYTES);
        let to = if segment + 1 < expected { number(2 + segment) } else { Some(fragment.len()) };
        let coded = from.zip(to).and_then(|(from, to)| fragment.get(from..to));
        let coded = coded.ok_or(RleError::Offset(segment))?;
        // Highest byte first in the file, lowest first here.
        let (component, byte) = (segment / bytes, bytes - 1 - segment % bytes);
        let places = out.iter_mut().skip(component * bytes + byte).step_by(expected);
        let found = unpack(coded, places);
        if found < pixels {
            return Err(RleError::Short { segment, found, pixels });
        }
    }
    Ok(out)
}

/// PackBits: fills `places` until they or the bytes end; says how many it filled.
fn unpack<'p>(coded: &[u8], mut places: impl Iterator<Item = &'p mut u8>) -> usize {
    let (mut rest, mut filled) = (coded, 0);
    while let Some((&control, after)) = rest.split_first() {
        let (taken, run): (&[u8], usize) = match control {
            0..=127 => {
                let (literal, after) = after.split_at(after.len().min(usize::from(control) + 1));
                rest = after;
                (literal, 1)
            }
            128 => {
                rest = after;
                continue;
            }
            129..=255 => {
                let (value, after) = after.split_at(after.len().min(1));
                rest = after;
                (value, 257 - usize::from(control))
            }
        };
        for byte in taken {
            for _ in 0..run {
                let Some(place) = places.next() else { return filled };
                *place = *byte;
                filled += 1;
            }
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(segments: &[&[u8]]) -> Vec<u8> {
        let mut head = vec![u32::try_from(segments.len()).unwrap()];
        let mut at = 64;
        for segment in segments {
            head.push(at);
            at += u32::try_from(segment.len()).unwrap();
        }
        head.resize(16, 0);
        let head = head.iter().flat_map(|n| n.to_le_bytes());
        head.chain(segments.iter().flat_map(|s| s.iter().copied())).collect()
    }

    #[test]
    fn sixteen_bits_come_back_little_endian_from_runs_and_literals() {
        // High bytes 1 1 1, low bytes 10 20 30; a no-op and padding between.
        let coded = fragment(&[&[254, 1], &[128, 2, 10, 20, 30, 0]]);
        assert_eq!(decode(&coded, 3, 1, 2), Ok(vec![10, 1, 20, 1, 30, 1]));
    }

    #[test]
    fn colour_comes_back_pixel_by_pixel() {
        let coded = fragment(&[&[1, 1, 2], &[1, 3, 4], &[1, 5, 6]]);
        assert_eq!(decode(&coded, 2, 3, 1), Ok(vec![1, 3, 5, 2, 4, 6]));
    }

    #[test]
    fn what_lies_is_refused_and_never_believed() {
        let mut endless = fragment(&[&[0, 7]]);
        endless[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(decode(&endless, 1, 1, 1), Err(RleError::Segments { .. })));
        let mut outside = fragment(&[&[0, 7]]);
        outside[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode(&outside, 1, 1, 1), Err(RleError::Offset(0)));
        let short = fragment(&[&[1, 7, 8]]);
        let error = RleError::Short { segment: 0, found: 2, pixels: 3 };
        assert_eq!(decode(&short, 3, 1, 1), Err(error));
        assert_eq!(decode(&[1, 0, 0], 3, 1, 1), Err(RleError::Segments { found: 0, expected: 1 }));
        let too_much = fragment(&[&[129, 7]]);
        assert_eq!(decode(&too_much, 3, 1, 1), Ok(vec![7; 3]), "what is over is left");
    }
}
