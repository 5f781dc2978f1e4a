//! Small systems of normal equations in whole numbers: the same weights on every machine.

/// Unknowns of a system, at most.
pub(super) const MAX_UNKNOWNS: usize = 20;

/// Sums of products: the lower triangle by rows, the target as the last row.
pub(super) const fn triangle(unknowns: usize) -> usize {
    (unknowns + 1) * (unknowns + 2) / 2
}

/// Bits of the largest diagonal element after scaling.
const SCALE_BITS: u32 = 30;
/// Bits after the point of the factor of the matrix.
const FACTOR_BITS: u32 = 20;
/// The smallest pivot after scaling; what is left of an unknown that the others explain.
const MIN_PIVOT: i64 = 1 << 14;

/// Finds weights (13 bits after the point for `prior` and `weights`) that minimise the squared error of the sums in `sums`, drawn
/// to `prior` by `ridge` (a part of the mean diagonal, in 1/65,536).
///
/// Square-root-free Cholesky decomposition; all products stay below 2^62 while the matrix is what sums of products can be, and
/// wrap otherwise.
pub(super) fn solve<const N: usize>(sums: &[i64], ridge: i64, prior: &[i32; N], weights: &mut [i16; N]) {
    debug_assert!(N <= MAX_UNKNOWNS && sums.len() == triangle(N));
    let row = |i: usize| &sums[i * (i + 1) / 2..];
    let largest = (0..N)
        .map(|i| row(i)[i])
        .max()
        .unwrap_or(0)
        .max(row(N)[..N].iter().map(|v| v.abs()).max().unwrap_or(0));
    if largest <= 0 {
        for (weight, prior) in weights.iter_mut().zip(prior) {
            *weight = narrow(i64::from(*prior));
        }
        return;
    }
    let bits = 64 - largest.leading_zeros();
    let scaled = |value: i64| {
        if bits > SCALE_BITS { value >> (bits - SCALE_BITS) } else { value << (SCALE_BITS - bits) }
    };
    let mut a = [[0i64; N]; N];
    let mut target = [0i64; N];
    let mut trace = 0i64;
    for i in 0..N {
        for (j, value) in row(i)[..=i].iter().enumerate() {
            a[i][j] = scaled(*value);
            a[j][i] = a[i][j];
        }
        trace = trace.wrapping_add(a[i][i]);
        target[i] = scaled(row(N)[i]);
    }
    // what the prior leaves of the target
    for i in 0..N {
        let explained: i64 =
            (0..N).fold(0, |sum: i64, j| sum.wrapping_add(a[i][j].wrapping_mul(i64::from(prior[j]))));
        target[i] = target[i].wrapping_sub(explained >> 13);
    }
    let ridge = (trace / N as i64).wrapping_mul(ridge) >> 16;
    let mut factor = [[0i64; N]; N];
    let mut inverse = [0i64; N];
    let mut y = [0i64; N];
    for j in 0..N {
        let mut scaled_row = [0i64; N];
        for k in 0..j {
            // factor * pivot, from the entries before division
            scaled_row[k] = a[k][j];
        }
        let mut pivot = a[j][j].wrapping_add(ridge);
        for k in 0..j {
            pivot = pivot.wrapping_sub(factor[j][k].wrapping_mul(scaled_row[k]) >> FACTOR_BITS);
        }
        let pivot = pivot.clamp(MIN_PIVOT, 1 << 36);
        inverse[j] = (1i64 << 50) / pivot;
        for i in j + 1..N {
            let mut value = a[i][j];
            for k in 0..j {
                value = value.wrapping_sub(factor[i][k].wrapping_mul(scaled_row[k]) >> FACTOR_BITS);
            }
            // kept above the diagonal: this entry before division, for later columns
            a[j][i] = value;
            factor[i][j] = value.wrapping_mul(inverse[j]) >> (50 - FACTOR_BITS);
        }
        let mut value = target[j];
        for k in 0..j {
            value = value.wrapping_sub(factor[j][k].wrapping_mul(y[k]) >> FACTOR_BITS);
        }
        y[j] = value;
    }
    let mut found = [0i64; N];
    for i in (0..N).rev() {
        // 16 bits after the point
        let mut value = y[i].wrapping_mul(inverse[i]) >> 34;
        for k in i + 1..N {
            value = value.wrapping_sub(factor[k][i].wrapping_mul(found[k]) >> FACTOR_BITS);
        }
        found[i] = value.clamp(-(1 << 24), 1 << 24);
    }
    for ((weight, prior), found) in weights.iter_mut().zip(prior).zip(found) {
        *weight = narrow(i64::from(*prior) + (found >> 3));
    }
}

fn narrow(value: i64) -> i16 {
    i16::try_from(value.clamp(i64::from(i16::MIN) + 1, i64::from(i16::MAX))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_that_made_the_target_are_found() {
        let mut state = 7u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::from((state >> 48) as i16) >> 7
        };
        let truth = [0.75, -0.5, 1.25, 0.1];
        let mut sums = [0i64; triangle(4)];
        for _ in 0..4000 {
            let mut d = [0i64; 5];
            let common = noise();
            for value in &mut d[..4] {
                *value = noise() + common;
            }
            d[4] = (0..4).map(|i| truth[i] * d[i] as f64).sum::<f64>() as i64;
            for i in 0..5 {
                for j in 0..=i {
                    sums[i * (i + 1) / 2 + j] += d[i] * d[j];
                }
            }
        }
        let mut weights = [0i16; 4];
        solve(&sums, 4, &[0; 4], &mut weights);
        for (weight, truth) in weights.iter().zip(truth) {
            assert!((f64::from(*weight) / 8192.0 - truth).abs() < 0.01, "{weights:?}");
        }
        solve(&sums, 1 << 21, &[8192, 0, 0, 0], &mut weights);
        assert!((weights[0] - 8192).abs() < 300, "a strong prior stays: {weights:?}");
    }

    #[test]
    fn nothing_to_learn_from_and_nonsense_give_weights_all_the_same() {
        let mut weights = [0i16; 4];
        solve(&[0; triangle(4)], 4, &[8192, -8192, 0, 100_000], &mut weights);
        assert_eq!(weights, [8192, -8192, 0, i16::MAX]);
        for value in [i64::MAX, i64::MIN, 1, -1] {
            solve(&[value; triangle(4)], 4, &[0; 4], &mut weights);
        }
    }
}
