//! Division by table: what is learnt is weighed by the inverse of an error, and eight bits of that are enough.

const BITS: u32 = 7;

const TABLE: [u32; 1 << BITS] = {
    let mut table = [0; 1 << BITS];
    let mut index = 0;
    while index < table.len() {
        table[index] = (1 << (BITS + 16)) / (index as u32 + (1 << BITS));
        index += 1;
    }
    table
};

/// 2^`power` / `value`, at most 32,767, within a hundredth below that. `value` is not nought, `power` at most 26.
#[inline]
pub(super) fn reciprocal(value: u32, power: u32) -> i16 {
    let zeros = value.leading_zeros();
    let leading = (value << zeros) >> (31 - BITS);
    let inverse = TABLE[(leading & ((1 << BITS) - 1)) as usize];
    // 2^(power - octave - 16), by one shift without a branch
    let inverse = (u64::from(inverse) << 16) >> (63 - zeros - power);
    inverse.min(i16::MAX as u64) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_near_the_quotient() {
        for power in [10, 20, 26] {
            for value in (1..3000).chain([65_535, 1 << 17, (1 << 20) - 1, u32::MAX]) {
                let exact = (1u64 << power) as f64 / f64::from(value);
                let found = f64::from(reciprocal(value, power));
                assert!(
                    (found - exact.min(32_767.0)).abs() <= exact * 0.01 + 1.0,
                    "{power} {value}: {found} {exact}"
                );
            }
        }
    }
}
