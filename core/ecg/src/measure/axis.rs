//! Frontal plane axis.

/// Axis from the net deflection of I and aVF, -180 to 180 degrees: `atan2(2 aVF / √3, I)`; `None` when both are near zero.
pub fn axis_deg(one_uv: f64, avf_uv: f64) -> Option<f64> {
    /// Net deflections below this are noise, µV·s or µV.
    const SMALLEST: f64 = 1e-6;
    let up = 2.0 * avf_uv / 3.0_f64.sqrt();
    (one_uv.abs() + up.abs() > SMALLEST).then(|| up.atan2(one_uv).to_degrees())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lead_one_alone_is_zero_degrees_and_avf_alone_is_ninety() {
        assert_eq!(axis_deg(1.0, 0.0), Some(0.0));
        assert_eq!(axis_deg(0.0, 1.0), Some(90.0));
        assert!((axis_deg(-1.0, -0.5).unwrap() + 150.0).abs() < 1e-9);
        assert_eq!(axis_deg(0.0, 0.0), None);
    }
}
