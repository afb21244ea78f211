// SPDX-License-Identifier: GPL-2.0

//! Wall times of two drivers that took turns, pair by pair.
//!
//! What the host does besides changes from second to second, and is the same for the two of a pair.
//! So each pair gives a ratio, and the result is the median of these. Nothing is known about how they
//! are distributed, so its interval is that of the sign test: of `n` ratios in order, the `k`-th
//! smallest to the `k`-th largest, where `k` is the most for which
//!
//! ```text
//! 2 * (C(n,0) + ... + C(n,k-1)) / 2^n <= 0.05
//! ```
//!
//! which is how probable it is at most that the true median lies outside.

use super::results::{median, Row, Time};

/// The fewest pairs that a verdict is given on.
pub const LEAST: usize = 9;

/// How probable it may be that the true median is outside of the interval.
const OUTSIDE: f64 = 0.05;

/// The median of the ratios of some pairs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    pub middle: f64,
    /// From where to where it may be; [`None`] of too few pairs.
    pub interval: Option<(f64, f64)>,
}

/// Which of `n` values in order, counted from 1 at either end, the interval goes to; 0: of so few
/// there is none.
fn rank(n: usize) -> usize {
    let whole = 2f64.powi(n.min(1000) as i32);
    let (mut term, mut tail, mut rank) = (1.0, 0.0, 0);
    while rank < n {
        tail += term;
        if 2.0 * tail / whole > OUTSIDE {
            break;
        }
        rank += 1;
        term *= (n - rank + 1) as f64 / rank as f64;
    }
    rank
}

/// The median of some ratios, and its interval.
pub fn of(mut ratios: Vec<f64>) -> Option<Ratio> {
    let middle = median(ratios.clone())?;
    ratios.sort_by(f64::total_cmp);
    let interval = match rank(ratios.len()) {
        rank if rank > 0 && ratios.len() >= LEAST => {
            Some((ratios[rank - 1], ratios[ratios.len() - rank]))
        }
        _ => None,
    };
    Some(Ratio { middle, interval })
}

/// One quantity of a row, `above` as a part of `below`, which are names of drivers.
pub fn ratio(row: &Row, above: &str, below: &str, quantity: fn(&Time) -> f64) -> Option<Ratio> {
    let (above, below) = (row.driver(above)?, row.driver(below)?);
    let pairs = above.times.iter().filter_map(|time| {
        let other = below.times.iter().find(|other| other.round == time.round)?;
        Some(quantity(time) / quantity(other))
    });
    of(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::Results;
    use proptest::prelude::*;

    /// By the definition: whole numbers, all of them.
    fn rank_by_counting(n: u32) -> usize {
        let binomial =
            |k: u32| (0..k).fold(1u128, |c, i| c * u128::from(n - i) / u128::from(i + 1));
        let tail = |k: u32| (0..k).map(binomial).sum::<u128>();
        let fits = |k: &u32| 40 * tail(*k) <= 1u128 << n;
        (0..=n).take_while(fits).last().unwrap_or(0) as usize
    }

    #[test]
    fn ranks_are_those_of_the_sign_test() {
        // As tables of the sign test have them.
        let known = [
            (5, 0),
            (6, 1),
            (8, 1),
            (9, 2),
            (11, 2),
            (12, 3),
            (15, 4),
            (20, 6),
            (25, 8),
        ];
        for (n, k) in known {
            assert_eq!(rank(n), k, "{n}");
        }
        for n in 0..90 {
            assert_eq!(rank(n as usize), rank_by_counting(n), "{n}");
        }
    }

    #[test]
    fn few_pairs_have_no_interval() {
        assert_eq!(of(Vec::new()), None);
        let few = of(vec![1.0; LEAST - 1]).unwrap();
        assert_eq!((few.middle, few.interval), (1.0, None));
        let enough = of((1..=9).map(f64::from).collect()).unwrap();
        assert_eq!((enough.middle, enough.interval), (5.0, Some((2.0, 8.0))));
        let even = of((1..=12).map(f64::from).collect()).unwrap();
        assert_eq!((even.middle, even.interval), (6.5, Some((3.0, 10.0))));
    }

    #[test]
    fn pairs_are_those_of_a_round() {
        let mut results = Results::default();
        for (round, floor, qda) in [(0, 2.0, 4.0), (1, 10.0, 30.0), (2, 1.0, 1.0)] {
            for (driver, p50) in [("floor", floor), ("qda", qda)] {
                // A driver that failed has no more rounds.
                if (round, driver) != (2, "floor") {
                    let line = format!(
                        "time row=noop driver={driver} round={round} calls=1 p50={p50} p99=1 cpu=1 \
                         rate=1 late=0"
                    );
                    results.line(&line).unwrap();
                }
            }
        }
        let row = results.row("noop").unwrap();
        let seen = ratio(row, "qda", "floor", |time| time.p50).unwrap();
        assert_eq!(seen.middle, 2.5);
        assert!(ratio(row, "qda", "fastrpc", |time| time.p50).is_none());
    }

    proptest! {
        #[test]
        fn the_interval_is_about_the_middle(ratios in proptest::collection::vec(0.1f64..10.0, 9..60)) {
            let seen = of(ratios.clone()).unwrap();
            let (low, high) = seen.interval.unwrap();
            prop_assert!(low <= seen.middle && seen.middle <= high);
            // The other way about it is the same.
            let other = of(ratios.iter().map(|r| -r).collect()).unwrap();
            prop_assert_eq!(other.interval, Some((-high, -low)));
            prop_assert!((other.middle + seen.middle).abs() < 1e-9);
            let inside = ratios.iter().filter(|r| (low..=high).contains(r)).count();
            prop_assert!(inside >= ratios.len() - 2 * (rank(ratios.len()) - 1));
        }
    }
}
