//! The lead letter that says which side is which.

use super::canvas::Canvas;

/// Five columns by seven rows, a bit a cell.
const LEFT: [u8; 7] = [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111];
const RIGHT: [u8; 7] = [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001];
/// Edge of one cell of the letter, mm.
const CELL_MM: f32 = 1.9;
/// What lead takes off the beam, decades.
const LEAD: f32 = 1.6;

/// Puts the letter with its upper left corner at (x, y) mm.
pub(super) fn put(canvas: &mut Canvas, left: bool, x: f32, y: f32) {
    let glyph = if left { LEFT } else { RIGHT };
    canvas.add(|px, py| {
        let (column, row) = ((px - x) / CELL_MM, (py - y) / CELL_MM);
        if !(0.0..5.0).contains(&column) || !(0.0..7.0).contains(&row) {
            return 0.0;
        }
        if glyph[row as usize] >> (4 - column as u32) & 1 == 1 { LEAD } else { 0.0 }
    });
}
