// SPDX-License-Identifier: GPL-2.0

//! What the driver is to reach, and whether it does.
//!
//! What nothing spins for is judged by instructions, which QEMU counts exactly. What is left of wall
//! time is judged by pairs, see [`super::pairs`].

use super::pairs::{self, Ratio};
use super::results::{spread, Counts, Measured, Results, Time};

/// Whether a target is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Met,
    /// It is not, but the interval of what was measured reaches it.
    Within,
    Missed,
    /// Something that it needs was not measured, or not often enough.
    Unknown,
}

impl Verdict {
    /// Whether a run with this verdict is a good one.
    pub fn is_good(self) -> bool {
        matches!(self, Verdict::Met | Verdict::Within)
    }
}

/// Which side of a limit is the right one.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    Most(f64),
    Least(f64),
}

impl Limit {
    fn allows(self, value: f64) -> bool {
        match self {
            Limit::Most(limit) => value <= limit,
            Limit::Least(limit) => value >= limit,
        }
    }
}

/// A target with its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub what: String,
    pub limit: String,
    pub value: Option<f64>,
    pub interval: Option<(f64, f64)>,
    pub verdict: Verdict,
    /// The row that it is about, if a profile of it says more.
    pub row: Option<String>,
}

impl Target {
    fn new(
        what: &str,
        limit: Limit,
        value: Option<f64>,
        interval: Option<(f64, f64)>,
        verdict: Verdict,
    ) -> Self {
        Self {
            what: what.to_string(),
            limit: match limit {
                Limit::Most(limit) => format!("≤ {limit}"),
                Limit::Least(limit) => format!("≥ {limit}"),
            },
            value,
            interval,
            verdict,
            row: None,
        }
    }

    fn of_row(self, row: &str) -> Self {
        Self {
            row: Some(row.to_string()),
            ..self
        }
    }

    /// A number that comes out the same every time.
    fn most(what: &str, limit: f64, value: Option<f64>) -> Self {
        let limit = Limit::Most(limit);
        let verdict = match value {
            None => Verdict::Unknown,
            Some(value) if limit.allows(value) => Verdict::Met,
            Some(_) => Verdict::Missed,
        };
        Self::new(what, limit, value, None, verdict)
    }

    /// A ratio of wall times.
    fn timed(what: &str, limit: Limit, ratio: Option<Ratio>) -> Self {
        let value = ratio.map(|ratio| ratio.middle);
        let interval = ratio.and_then(|ratio| ratio.interval);
        let verdict = match (value, interval) {
            (Some(middle), Some(_)) if limit.allows(middle) => Verdict::Met,
            (_, Some((low, high))) if limit.allows(low) || limit.allows(high) => Verdict::Within,
            (_, Some(_)) => Verdict::Missed,
            (_, None) => Verdict::Unknown,
        };
        Self::new(what, limit, value, interval, verdict)
    }
}

/// What a call costs beyond the transport, qda as a part of fastrpc: in instructions, or in CPU
/// time where those were not counted.
fn beyond_floor(results: &Results, row: &str, against: &str) -> Option<f64> {
    let floor = results.measured("noop", "floor")?;
    let (qda, fastrpc) = (
        results.measured(row, "qda")?,
        results.measured(against, "fastrpc")?,
    );
    let ratio = |of: fn(&Measured) -> Option<f64>| {
        let floor = of(floor)?;
        Some((of(qda)? - floor) / (of(fastrpc)? - floor))
    };
    ratio(Measured::instructions).or_else(|| ratio(Measured::cpu))
}

/// Instructions of one row and driver as a part of those of another.
fn instructions(results: &Results, above: (&str, &str), below: (&str, &str)) -> Option<f64> {
    let of = |(row, driver)| results.measured(row, driver)?.instructions();
    Some(of(above)? / of(below)?)
}

/// Instructions of qda as a part of fastrpc's.
fn instructions_of(results: &Results, row: &str) -> Option<f64> {
    instructions(results, (row, "qda"), (row, "fastrpc"))
}

/// A quantity of qda in wall time as a part of another driver's.
fn timed(results: &Results, row: &str, against: &str, of: fn(&Time) -> f64) -> Option<Ratio> {
    pairs::ratio(results.row(row)?, "qda", against, of)
}

/// What a call in poll mode allocates beyond the transport, anywhere in the guest. What is done for
/// each call is done as often as there are calls; what is less often is not the call's.
fn poll_allocations(results: &Results) -> Option<f64> {
    let each = |row, driver, of: fn(&Counts) -> i64| {
        let counts = results.measured(row, driver)?.counts.as_ref()?;
        Some(counts.each(of(counts)))
    };
    let all = each("poll", "qda", |c| c.allocs)? - each("noop", "floor", |c| c.allocs)?;
    let own = each("poll", "qda", |c| c.own_allocs)?;
    Some(all.max(own).max(0.0).round())
}

/// The spread of some runs, but for the one that is furthest out on either side: the host may have
/// been busy.
fn steady_spread(runs: &[f64]) -> Option<f64> {
    let mut runs = runs.to_vec();
    runs.sort_by(f64::total_cmp);
    match runs.len() {
        0 | 1 => None,
        2..=4 => spread(&runs),
        n => spread(&runs[1..n - 1]),
    }
}

/// The largest spread of the counts of instructions of a row. Those of fastrpc are no part of it: it
/// leaves a part of each call to a thread of the kernel, which runs once or twice for a call, or once
/// for two. Nor are those of threads, which take turns as they like, and of what becomes of buffers,
/// which is a matter of what memory there is. Their spread is printed with them.
fn instruction_spread(results: &Results) -> Option<f64> {
    const OTHERS: [&str; 4] = ["threads", "alloc-", "map-unmap-", "import-"];
    let is_other = |name: &str| OTHERS.iter().any(|prefix| name.starts_with(prefix));
    let rows = results.rows.iter().filter(|row| !is_other(&row.name));
    rows.flat_map(|row| &row.drivers)
        .filter(|(driver, _)| *driver != "fastrpc")
        .filter_map(|(_, measured)| steady_spread(&measured.instructions))
        .reduce(f64::max)
}

/// The rows of targets that are missed.
pub fn missed_rows(list: &[Target]) -> Vec<String> {
    let missed = list.iter().filter(|t| t.verdict == Verdict::Missed);
    let mut rows: Vec<_> = missed.filter_map(|target| target.row.clone()).collect();
    rows.sort();
    rows.dedup();
    rows
}

/// All targets.
pub fn targets(results: &Results) -> Vec<Target> {
    let mut list = vec![Target::most(
        "noop: beyond the floor, of fastrpc's",
        0.25,
        beyond_floor(results, "noop", "noop"),
    )
    .of_row("noop")];
    for size in [4, 64, 1024, 16384, 65536] {
        let row = format!("inline-{size}");
        list.push(
            Target::most(
                &format!("{row}: beyond the floor, of fastrpc's"),
                0.5,
                beyond_floor(results, &row, &row),
            )
            .of_row(&row),
        );
    }
    let registered = "registered-1048576";
    // As above: instructions, or what there is of times.
    let flat = |of: fn(&Measured) -> Option<f64>| {
        let counts = [0, 50, 125, 250];
        let rows = counts.map(|n| of(results.measured(&format!("parked-{n}"), "qda")?));
        spread(&rows.into_iter().collect::<Option<Vec<_>>>()?)
    };
    list.extend([
        Target::most(
            "registered 1 MiB: beyond the floor, of fastrpc's per call",
            0.1,
            beyond_floor(results, registered, registered),
        )
        .of_row(registered),
        Target::most(
            "registered 1 MiB: beyond the floor, of fastrpc's mapped before",
            0.5,
            beyond_floor(results, registered, "mapped-1048576"),
        )
        .of_row(registered),
    ]);
    for (size, name, limit) in [
        (4 << 10, "4 KiB", 1.0),
        (1 << 20, "1 MiB", 0.7),
        (64 << 20, "64 MiB", 0.6),
    ] {
        for (row, done) in [
            ("alloc-free", "allocate and free"),
            ("alloc-use-free", "allocate, call with, and free"),
        ] {
            list.push(
                Target::most(
                    &format!("{done} {name}: instructions, of fastrpc's"),
                    limit,
                    instructions_of(results, &format!("{row}-{size}")),
                )
                .of_row(&format!("{row}-{size}")),
            );
        }
    }
    list.extend([
        Target::most(
            "map and unmap 64 MiB: instructions, of fastrpc's",
            0.5,
            instructions_of(results, "map-unmap-67108864"),
        )
        .of_row("map-unmap-67108864"),
        Target::most(
            "import 1 MiB: instructions, of fastrpc's",
            1.0,
            instructions_of(results, "import-1048576"),
        )
        .of_row("import-1048576"),
        Target::most(
            "IOMMU entries of 64 MiB",
            64.0,
            results
                .measured("entries-67108864", "qda")
                .and_then(|measured| measured.entries)
                .map(|entries| entries as f64),
        ),
        Target::timed(
            "noop: wall p50, of the floor's",
            Limit::Most(1.15),
            timed(results, "noop", "floor", |time| time.p50),
        )
        .of_row("noop"),
        Target::timed(
            "poll: wall p50, of fastrpc's",
            Limit::Most(0.9),
            timed(results, "poll", "fastrpc", |time| time.p50),
        )
        .of_row("poll"),
        Target::most(
            "poll: allocations of a call",
            0.0,
            poll_allocations(results),
        ),
        Target::timed(
            "16 threads of one session: throughput, of fastrpc's",
            Limit::Least(1.5),
            timed(results, "threads-16", "fastrpc", |time| time.rate),
        )
        .of_row("threads-16"),
        Target::most(
            "32 in flight: instructions of a call, of a blocking one's",
            0.6,
            instructions(results, ("in-flight-32", "qda"), ("noop", "qda")),
        )
        .of_row("in-flight-32"),
        Target::most(
            "probing call beside 0 to 250 parked ones: spread",
            0.2,
            flat(Measured::instructions).or_else(|| flat(Measured::p50)),
        ),
        Target::timed(
            "open to first result: wall p50, of fastrpc's",
            Limit::Most(1.0),
            timed(results, "open", "fastrpc", |time| time.p50),
        )
        .of_row("open"),
        Target::most(
            "idle session: KiB",
            64.0,
            results
                .measured("idle-session", "qda")
                .and_then(Measured::memory)
                .map(|bytes| bytes / 1024.0),
        ),
        Target::most(
            "instructions of a call, floor and qda: largest spread over the runs",
            0.02,
            instruction_spread(results),
        ),
    ]);
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_point_their_way() {
        let most = |value| Target::most("", 0.5, value).verdict;
        assert_eq!(most(Some(0.5)), Verdict::Met);
        assert_eq!(most(Some(0.6)), Verdict::Missed);
        assert_eq!(most(None), Verdict::Unknown);
        let timed = |limit, middle, low, high| {
            let ratio = Ratio {
                middle,
                interval: Some((low, high)),
            };
            Target::timed("", limit, Some(ratio)).verdict
        };
        let most = Limit::Most(0.9);
        assert_eq!(timed(most, 0.9, 0.8, 1.5), Verdict::Met);
        assert_eq!(timed(most, 1.0, 0.9, 1.5), Verdict::Within);
        assert_eq!(timed(most, 1.0, 0.91, 1.5), Verdict::Missed);
        let least = Limit::Least(1.5);
        assert_eq!(timed(least, 1.5, 1.1, 1.6), Verdict::Met);
        assert_eq!(timed(least, 1.4, 1.1, 1.5), Verdict::Within);
        assert_eq!(timed(least, 1.4, 1.1, 1.49), Verdict::Missed);
        assert_eq!(Target::timed("", least, None).verdict, Verdict::Unknown);
        // However good it looks: too few pairs are none.
        let few = Ratio {
            middle: 9.0,
            interval: None,
        };
        assert_eq!(
            Target::timed("", least, Some(few)).verdict,
            Verdict::Unknown
        );
    }

    proptest! {
        /// A better result never gets a worse verdict, and only a bad one fails.
        #[test]
        fn verdicts_are_in_order(
            limit in 0.1f64..3.0,
            middle in 0.1f64..3.0,
            below in 0.0f64..1.0,
            above in 0.0f64..1.0,
            better in 0.0f64..1.0,
        ) {
            let verdict = |by: f64| {
                let interval = Some((middle - below - by, middle + above - by));
                let ratio = Ratio { middle: middle - by, interval };
                Target::timed("", Limit::Most(limit), Some(ratio)).verdict
            };
            let rank = |verdict| match verdict {
                Verdict::Met => 2,
                Verdict::Within => 1,
                Verdict::Missed => 0,
                Verdict::Unknown => panic!("it was measured"),
            };
            prop_assert!(rank(verdict(better)) >= rank(verdict(0.0)));
            prop_assert_eq!(verdict(0.0).is_good(), middle - below <= limit);
        }
    }

    fn read(lines: &[String]) -> Results {
        let mut results = Results::default();
        for line in lines {
            results.line(line).unwrap();
        }
        results
    }

    fn verdict(results: &Results, what: &str) -> (Option<f64>, Verdict) {
        let list = targets(results);
        let target = list.iter().find(|target| target.what.starts_with(what));
        let target = target.expect(what);
        (target.value, target.verdict)
    }

    #[test]
    fn instructions_count_before_time_does() {
        let mut results = Results::default();
        for line in [
            "instructions row=noop driver=floor round=0 calls=1 each=100 switches=2",
            "instructions row=noop driver=fastrpc round=0 calls=1 each=500 switches=2",
            "instructions row=noop driver=qda round=0 calls=1 each=200 switches=2",
            "instructions row=in-flight-32 driver=qda round=0 calls=1 each=130 switches=2",
            "time row=noop driver=qda round=0 calls=1 p50=1 p99=1 cpu=9 rate=1 late=0",
        ] {
            results.line(line).unwrap();
        }
        assert_eq!(beyond_floor(&results, "noop", "noop"), Some(0.25));
        assert_eq!(targets(&results)[0].verdict, Verdict::Met);
        assert_eq!(targets(&results)[1].verdict, Verdict::Unknown);
        let in_flight = verdict(&results, "32 in flight");
        assert_eq!(in_flight, (Some(0.65), Verdict::Missed));
    }

    #[test]
    fn one_run_on_either_side_does_not_count() {
        assert_eq!(steady_spread(&[1.0]), None);
        assert_eq!(steady_spread(&[100.0, 99.0]), Some(1.0 / 99.5));
        assert_eq!(
            steady_spread(&[100.0, 140.0, 100.0, 101.0, 20.0]),
            Some(0.01)
        );
        assert_eq!(
            steady_spread(&[100.0, 140.0, 100.0, 140.0, 20.0]),
            Some(0.4)
        );
    }

    #[test]
    fn only_the_spread_of_calls_is_judged() {
        let line = |row, round, each| {
            format!(
                "instructions row={row} driver=qda round={round} calls=1 each={each} switches=0"
            )
        };
        let mut lines = vec![line("noop", 0, 100), line("noop", 1, 101)];
        for row in ["threads-2", "map-unmap-4096", "import-1048576"] {
            lines.extend([line(row, 0, 100), line(row, 1, 200)]);
        }
        let what = "instructions of a call";
        assert_eq!(verdict(&read(&lines), what).1, Verdict::Met);
        lines.push(line("noop", 2, 200));
        assert_eq!(verdict(&read(&lines), what).1, Verdict::Missed);
    }

    #[test]
    fn times_are_judged_by_pairs() {
        // The host is ten times slower in every other round: the same for both.
        let line = |row, driver, round, p50: f64, rate: f64| {
            format!(
                "time row={row} driver={driver} round={round} calls=1 p50={p50} p99=1 cpu=1 \
                 rate={rate} late=0"
            )
        };
        let rounds = |n: u32, best: f64| {
            let mut lines = Vec::new();
            for round in 0..n {
                let slow = if round % 2 == 0 { 1.0 } else { 10.0 };
                // One round in which the host did something else.
                let own = if round == 3 { 1.4 } else { best };
                lines.push(line("poll", "fastrpc", round, 50.0 * slow, 1.0));
                lines.push(line("poll", "qda", round, 50.0 * slow * own, 1.0));
                lines.push(line("threads-16", "fastrpc", round, 1.0, 100.0 / slow));
                lines.push(line("threads-16", "qda", round, 1.0, 160.0 / slow));
            }
            read(&lines)
        };
        assert_eq!(
            verdict(&rounds(9, 0.8), "poll: wall"),
            (Some(0.8), Verdict::Met)
        );
        assert_eq!(
            verdict(&rounds(9, 1.0), "poll: wall"),
            (Some(1.0), Verdict::Missed)
        );
        assert_eq!(verdict(&rounds(8, 0.8), "poll: wall").1, Verdict::Unknown);
        assert_eq!(verdict(&rounds(9, 0.8), "16 threads").1, Verdict::Met);
    }

    #[test]
    fn a_poll_allocates_nothing_of_its_own() {
        let count = |row, driver, allocs, own| {
            format!(
                "count row={row} driver={driver} calls=200 syscalls=200 allocs={allocs} maps=0 \
                 unmaps=0 iommu_maps=0 iommu_unmaps=0 own_allocs={own} own_maps=0 synced=0"
            )
        };
        let of = |allocs, own| {
            let lines = [
                count("noop", "floor", 400, 0),
                count("poll", "qda", allocs, own),
            ];
            verdict(&read(&lines), "poll: allocations")
        };
        assert_eq!(of(405, 0), (Some(0.0), Verdict::Met));
        assert_eq!(of(399, -3), (Some(0.0), Verdict::Met));
        assert_eq!(of(600, 0), (Some(1.0), Verdict::Missed));
        // In place of some of the transport's.
        assert_eq!(of(400, 332), (Some(2.0), Verdict::Missed));
    }

    #[test]
    fn lives_of_buffers_and_entries() {
        let each = |row: &str, driver: &str, each: u32| {
            format!("instructions row={row} driver={driver} round=0 calls=1 each={each} switches=0")
        };
        let mut lines = Vec::new();
        for (row, qda) in [
            ("alloc-free-4096", 100),
            ("alloc-free-1048576", 70),
            ("alloc-free-67108864", 61),
            ("map-unmap-67108864", 50),
            ("import-1048576", 101),
        ] {
            lines.push(each(row, "fastrpc", 100));
            lines.push(each(row, "qda", qda));
        }
        lines.push("entries row=entries-67108864 driver=qda count=64".to_string());
        let results = read(&lines);
        for (what, expected) in [
            ("allocate and free 4 KiB", Verdict::Met),
            ("allocate and free 1 MiB", Verdict::Met),
            ("allocate and free 64 MiB", Verdict::Missed),
            ("map and unmap 64 MiB", Verdict::Met),
            ("import 1 MiB", Verdict::Missed),
            ("IOMMU entries", Verdict::Met),
            ("allocate, call with, and free 4 KiB", Verdict::Unknown),
        ] {
            assert_eq!(verdict(&results, what).1, expected, "{what}");
        }
        let missed = missed_rows(&targets(&results));
        assert_eq!(missed, ["alloc-free-67108864", "import-1048576"]);
    }
}
