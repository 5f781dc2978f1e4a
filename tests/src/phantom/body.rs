//! What differs from one patient to the next.

use super::dice::Dice;

/// A patient's build.
#[derive(Debug, Clone, Copy)]
pub(super) struct Build {
    /// Thickness against the middling adult.
    pub(super) girth: f32,
    /// Breast shadows.
    pub(super) breasts: bool,
}

impl Build {
    /// A build for a patient; `sex` as in (0010,0040).
    pub(super) fn of(sex: &str, dice: &mut Dice) -> Self {
        Self { girth: dice.within(0.88, 1.1), breasts: sex == "F" }
    }
}
