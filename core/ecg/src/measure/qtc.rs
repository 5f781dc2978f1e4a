//! QT correction, each formula by its name.

use serde::Serialize;

/// QTc in ms by four formulas.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Qtc {
    /// QT / √RR (Bazett 1920).
    pub bazett: f64,
    /// QT / ∛RR (Fridericia 1920).
    pub fridericia: f64,
    /// QT + 154 (1 - RR) (Framingham, Sagie 1992).
    pub framingham: f64,
    /// QT + 1.75 (rate - 60) (Hodges 1983).
    pub hodges: f64,
}

/// All four, from QT and RR in ms.
pub fn qtc(qt_ms: f64, rr_ms: f64) -> Qtc {
    let rr = rr_ms / 1000.0;
    Qtc {
        bazett: qt_ms / rr.sqrt(),
        fridericia: qt_ms / rr.cbrt(),
        framingham: qt_ms + 154.0 * (1.0 - rr),
        hodges: qt_ms + 1.75 * (60.0 / rr - 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qt_400_at_rr_800_is_447_431_431_426() {
        let q = qtc(400.0, 800.0);
        assert_eq!(
            [q.bazett, q.fridericia, q.framingham, q.hodges].map(f64::round),
            [447.0, 431.0, 431.0, 426.0]
        );
    }
}
