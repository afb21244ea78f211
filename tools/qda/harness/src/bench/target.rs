// SPDX-License-Identifier: GPL-2.0

//! What the driver is to reach, and whether it does.

use super::results::{spread, Measured, Results};

/// Whether a target is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    /// Something that it needs was not measured.
    Unknown,
}

/// A target with its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub what: String,
    pub limit: String,
    pub value: Option<f64>,
    pub verdict: Verdict,
}

impl Target {
    fn new(what: &str, limit: f64, least: bool, value: Option<f64>) -> Self {
        let verdict = match value {
            None => Verdict::Unknown,
            Some(value) if (value >= limit) == least || value == limit => Verdict::Met,
            Some(_) => Verdict::Missed,
        };
        let sign = if least { "≥" } else { "≤" };
        Self {
            what: what.to_string(),
            limit: format!("{sign} {limit}"),
            value,
            verdict,
        }
    }

    fn most(what: &str, limit: f64, value: Option<f64>) -> Self {
        Self::new(what, limit, false, value)
    }

    fn least(what: &str, limit: f64, value: Option<f64>) -> Self {
        Self::new(what, limit, true, value)
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

/// A ratio of the two drivers, or of two rows.
fn ratio(
    results: &Results,
    above: (&str, &str),
    below: (&str, &str),
    of: fn(&Measured) -> Option<f64>,
) -> Option<f64> {
    Some(of(results.measured(above.0, above.1)?)? / of(results.measured(below.0, below.1)?)?)
}

/// The largest spread of the counts of instructions of a row. Those of fastrpc are no part of it: it
/// leaves a part of each call to a thread of the kernel, which runs once or twice for a call, or once
/// for two; their spread is printed with them.
fn instruction_spread(results: &Results) -> Option<f64> {
    let measured = results.rows.iter().flat_map(|row| &row.drivers);
    measured
        .filter(|(driver, measured)| *driver != "fastrpc" && measured.instructions.len() > 1)
        .map(|(_, measured)| measured)
        .filter_map(|measured| spread(&measured.instructions))
        .reduce(f64::max)
}

/// All targets.
pub fn targets(results: &Results) -> Vec<Target> {
    let mut list = vec![Target::most(
        "noop: beyond the floor, of fastrpc's",
        0.25,
        beyond_floor(results, "noop", "noop"),
    )];
    for size in [4, 64, 1024, 16384, 65536] {
        let row = format!("inline-{size}");
        list.push(Target::most(
            &format!("{row}: beyond the floor, of fastrpc's"),
            0.5,
            beyond_floor(results, &row, &row),
        ));
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
        ),
        Target::most(
            "registered 1 MiB: beyond the floor, of fastrpc's mapped before",
            0.5,
            beyond_floor(results, registered, "mapped-1048576"),
        ),
        Target::most(
            "noop: wall p50, of the floor's",
            1.15,
            ratio(results, ("noop", "qda"), ("noop", "floor"), Measured::p50),
        ),
        Target::least(
            "16 threads of one session: throughput, of fastrpc's",
            1.5,
            ratio(
                results,
                ("threads-16", "qda"),
                ("threads-16", "fastrpc"),
                Measured::rate,
            ),
        ),
        Target::least(
            "32 in flight: throughput, of one blocking caller's",
            4.0,
            ratio(
                results,
                ("in-flight-32", "qda"),
                ("threads-1", "qda"),
                Measured::rate,
            ),
        ),
        Target::most(
            "probing call beside 0 to 250 parked ones: spread",
            0.2,
            flat(Measured::instructions).or_else(|| flat(Measured::p50)),
        ),
        Target::most(
            "open to first result: wall p50, of fastrpc's",
            1.0,
            ratio(results, ("open", "qda"), ("open", "fastrpc"), Measured::p50),
        ),
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

    #[test]
    fn limits_point_their_way() {
        let verdict = |target: Target| target.verdict;
        assert_eq!(verdict(Target::most("", 0.5, Some(0.5))), Verdict::Met);
        assert_eq!(verdict(Target::most("", 0.5, Some(0.6))), Verdict::Missed);
        assert_eq!(verdict(Target::least("", 1.5, Some(1.6))), Verdict::Met);
        assert_eq!(verdict(Target::least("", 1.5, Some(1.4))), Verdict::Missed);
        assert_eq!(verdict(Target::least("", 1.5, None)), Verdict::Unknown);
    }

    #[test]
    fn instructions_count_before_time_does() {
        let mut results = Results::default();
        for line in [
            "instructions row=noop driver=floor round=0 calls=1 each=100 switches=2",
            "instructions row=noop driver=fastrpc round=0 calls=1 each=500 switches=2",
            "instructions row=noop driver=qda round=0 calls=1 each=200 switches=2",
            "time row=noop driver=qda round=0 calls=1 p50=1 p99=1 cpu=9 rate=1 late=0",
        ] {
            results.line(line).unwrap();
        }
        assert_eq!(beyond_floor(&results, "noop", "noop"), Some(0.25));
        assert_eq!(targets(&results)[0].verdict, Verdict::Met);
        assert_eq!(targets(&results)[1].verdict, Verdict::Unknown);
    }
}
