//! How sure a comparison is: the ratio of paired measurements and the interval that it lies in. It
//! measures nothing and knows not which of two is better.

/// Quantiles of Student's distribution for 95 % confidence, by degrees of freedom from 1 on.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];
/// The quantile of the normal distribution, which Student's approaches.
const NORMAL: f64 = 1.959_964;

/// The quantile of Student's distribution for 95 % confidence; beyond the table by the first terms of
/// its expansion in the inverse degrees of freedom (Abramowitz and Stegun 26.7.5).
fn student(degrees: usize) -> f64 {
    let z = NORMAL;
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let inverse = 1.0 / degrees as f64;
    let beyond = z + first * inverse + second * inverse * inverse;
    STUDENT.get(degrees.wrapping_sub(1)).copied().unwrap_or(beyond)
}

/// A ratio with the interval that it lies in with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The geometric mean of the ratios of pairs, the second divided by the first. Pairs stand next to
/// each other in time, so that a machine that becomes slower does so for both. `None` for fewer
/// than two pairs, or for numbers that have no ratio.
pub(crate) fn ratio_of_pairs(pairs: &[(f64, f64)]) -> Option<Interval> {
    let logarithms: Vec<f64> = pairs.iter().map(|(first, second)| (second / first).ln()).collect();
    let count = logarithms.len();
    if count < 2 || !logarithms.iter().all(|number| number.is_finite()) {
        return None;
    }
    let mean = logarithms.iter().sum::<f64>() / count as f64;
    let squares: f64 = logarithms.iter().map(|number| (number - mean).powi(2)).sum();
    let error = (squares / (count - 1) as f64 / count as f64).sqrt();
    let reach = student(count - 1) * error;
    Some(Interval { ratio: mean.exp(), low: (mean - reach).exp(), high: (mean + reach).exp() })
}

/// The geometric mean, by which ratios of means are means of ratios; zero of none.
pub(crate) fn geometric_mean(numbers: &[f64]) -> f64 {
    match numbers.len() {
        0 => 0.0,
        count => (numbers.iter().map(|number| number.ln()).sum::<f64>() / count as f64).exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ratios_leave_no_doubt_and_different_ones_do() {
        let sure = ratio_of_pairs(&[(1.0, 2.0), (10.0, 20.0), (5.0, 10.0)]).unwrap();
        assert!((sure.ratio - 2.0).abs() < 1e-9 && (sure.high - sure.low).abs() < 1e-9);
        let doubtful = ratio_of_pairs(&[(1.0, 2.0), (1.0, 0.5)]).unwrap();
        assert!((doubtful.ratio - 1.0).abs() < 1e-9 && doubtful.low < 0.5 && doubtful.high > 2.0);
    }

    #[test]
    fn the_interval_holds_the_truth_nineteen_times_of_twenty() {
        let mut state = 1_u64;
        let mut noise = || {
            let sum: f64 = (0..12)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 11) as f64 / (1_u64 << 53) as f64
                })
                .sum();
            (0.1 * (sum - 6.0)).exp()
        };
        let held = (0..2000).filter(|_| {
            let pairs: Vec<_> = (0..6).map(|_| (noise(), 1.2 * noise())).collect();
            let interval = ratio_of_pairs(&pairs).unwrap();
            interval.low <= 1.2 && 1.2 <= interval.high
        });
        let share = held.count() as f64 / 2000.0;
        assert!((0.93..0.97).contains(&share), "{share}");
    }

    #[test]
    fn one_pair_or_a_zero_has_no_interval() {
        assert_eq!(ratio_of_pairs(&[(1.0, 2.0)]), None);
        assert_eq!(ratio_of_pairs(&[(1.0, 2.0), (0.0, 1.0)]), None);
    }

    #[test]
    fn the_ratio_of_the_means_is_the_mean_of_the_ratios() {
        let pairs = [(100.0, 150.0), (80.0, 60.0), (90.0, 95.0)];
        let (first, second): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
        let ratio = geometric_mean(&second) / geometric_mean(&first);
        assert!((ratio - ratio_of_pairs(&pairs).unwrap().ratio).abs() < 1e-9);
        assert!(geometric_mean(&[]).abs() < 1e-9);
    }

    #[test]
    fn the_quantile_goes_on_behind_the_table_where_it_ends() {
        // From a table of the distribution.
        for (degrees, quantile) in
            [(1, 12.706), (30, 2.042), (31, 2.0395), (60, 2.0003), (999, 1.9623)]
        {
            assert!((student(degrees) - quantile).abs() < 2e-4, "{degrees}: {}", student(degrees));
        }
    }
}
