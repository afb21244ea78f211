// SPDX-License-Identifier: GPL-2.0

//! What the guest's program prints, by row and driver.

use super::symbol;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One round of a row with one driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Time {
    pub round: u32,
    pub calls: u64,
    /// Microseconds a call.
    pub p50: f64,
    pub p99: f64,
    /// Microseconds that all CPUs of the guest were busy, a call.
    pub cpu: f64,
    /// Calls a second.
    pub rate: f64,
    /// Answers that took the simulator longer than they were to.
    pub late: u64,
}

/// What tracing counted, over so many calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    pub calls: u64,
    pub syscalls: i64,
    pub allocs: i64,
    pub maps: i64,
    pub unmaps: i64,
    pub iommu_maps: i64,
    pub iommu_unmaps: i64,
    /// Those with the driver on the stack.
    pub own_allocs: i64,
    pub own_maps: i64,
    /// Bytes of which caches were cleaned or invalidated.
    #[serde(default)]
    pub synced: i64,
}

impl Counts {
    /// A count for each call.
    pub fn each(&self, count: i64) -> f64 {
        count as f64 / self.calls.max(1) as f64
    }
}

/// A function in a profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    pub name: String,
    /// Parts of the samples: in it or what it calls, and in itself.
    pub all: f64,
    pub own: f64,
}

/// A row with one driver.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The driver has no such thing.
    pub absent: bool,
    pub times: Vec<Time>,
    pub counts: Option<Counts>,
    /// Instructions a call, of each run.
    pub instructions: Vec<f64>,
    /// Switches from one thread to another a call, of each of these runs.
    pub switches: Vec<f64>,
    /// Bytes, of each round.
    pub memory: Vec<f64>,
    /// Pages and blocks of the IOMMU's tables.
    #[serde(default)]
    pub entries: Option<u64>,
    /// Where instructions go, where that was of interest.
    #[serde(default)]
    pub profile: Vec<Function>,
}

/// The middle of some numbers.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// How far numbers are apart, as a part of their middle.
pub fn spread(values: &[f64]) -> Option<f64> {
    let middle = median(values.to_vec())?;
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some((high - low) / middle)
}

impl Measured {
    fn middle(&self, field: impl Fn(&Time) -> f64) -> Option<f64> {
        median(self.times.iter().map(field).collect())
    }

    pub fn p50(&self) -> Option<f64> {
        self.middle(|time| time.p50)
    }

    pub fn p99(&self) -> Option<f64> {
        self.middle(|time| time.p99)
    }

    pub fn cpu(&self) -> Option<f64> {
        self.middle(|time| time.cpu)
    }

    pub fn rate(&self) -> Option<f64> {
        self.middle(|time| time.rate)
    }

    pub fn instructions(&self) -> Option<f64> {
        median(self.instructions.clone())
    }

    pub fn switches(&self) -> Option<f64> {
        median(self.switches.clone())
    }

    pub fn memory(&self) -> Option<f64> {
        median(self.memory.clone())
    }
}

/// A row of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    /// Whether the DSPs of its board do not see the caches of the CPUs.
    #[serde(default)]
    pub incoherent: bool,
    pub drivers: BTreeMap<String, Measured>,
}

impl Row {
    pub fn driver(&self, name: &str) -> Option<&Measured> {
        self.drivers.get(name).filter(|measured| !measured.absent)
    }
}

/// All that was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    pub date: String,
    /// Digest of the sources that were measured.
    #[serde(default)]
    pub tree: String,
    pub command: String,
    /// The machine, and what the simulator was told.
    pub setting: String,
    pub rows: Vec<Row>,
    /// What went wrong.
    pub wrong: Vec<String>,
    /// Of which kind the board is whose lines come.
    #[serde(skip)]
    pub incoherent: bool,
}

/// A line of the program: its first word, and its keys.
struct Fields<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn read(line: &'a str) -> Option<(&'a str, Self)> {
        let (kind, rest) = line.split_once(' ')?;
        let pairs = rest.split(' ').map(|word| word.split_once('='));
        Some((kind, Self(pairs.collect::<Option<_>>()?)))
    }

    fn text(&self, key: &str) -> Result<&'a str> {
        self.0
            .get(key)
            .copied()
            .with_context(|| format!("no {key}"))
    }

    fn get<T>(&self, key: &str) -> Result<T>
    where
        T: std::str::FromStr,
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        self.text(key)?.parse().with_context(|| key.to_string())
    }
}

impl Results {
    /// The row of that name.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// A row with one driver, if it was measured.
    pub fn measured(&self, row: &str, driver: &str) -> Option<&Measured> {
        self.row(row)?.driver(driver)
    }

    fn entry(&mut self, row: &str, driver: &str) -> &mut Measured {
        let at = self.rows.iter().position(|r| r.name == row);
        let at = at.unwrap_or_else(|| {
            self.rows.push(Row {
                name: row.to_string(),
                incoherent: self.incoherent,
                drivers: BTreeMap::new(),
            });
            self.rows.len() - 1
        });
        self.rows[at].drivers.entry(driver.to_string()).or_default()
    }

    /// Takes a line of the program. Lines that are none of its are passed over.
    ///
    /// # Errors
    ///
    /// When a line that is meant for us lacks something.
    pub fn line(&mut self, line: &str) -> Result<()> {
        let Some((kind, fields)) = Fields::read(line) else {
            return Ok(());
        };
        let known = [
            "absent",
            "wrong",
            "time",
            "count",
            "instructions",
            "memory",
            "entries",
            "profile",
        ];
        if !known.contains(&kind) {
            return Ok(());
        }
        let (row, driver) = (fields.text("row")?, fields.text("driver")?);
        match kind {
            "absent" => self.entry(row, driver).absent = true,
            "wrong" => self.wrong.push(line.to_string()),
            "time" => {
                let time = Time {
                    round: fields.get("round")?,
                    calls: fields.get("calls")?,
                    p50: fields.get("p50")?,
                    p99: fields.get("p99")?,
                    cpu: fields.get("cpu")?,
                    rate: fields.get("rate")?,
                    late: fields.get("late")?,
                };
                self.entry(row, driver).times.push(time);
            }
            "count" => {
                let counts = Counts {
                    calls: fields.get("calls")?,
                    syscalls: fields.get("syscalls")?,
                    allocs: fields.get("allocs")?,
                    maps: fields.get("maps")?,
                    unmaps: fields.get("unmaps")?,
                    iommu_maps: fields.get("iommu_maps")?,
                    iommu_unmaps: fields.get("iommu_unmaps")?,
                    own_allocs: fields.get("own_allocs")?,
                    own_maps: fields.get("own_maps")?,
                    synced: fields.get("synced")?,
                };
                self.entry(row, driver).counts = Some(counts);
            }
            "instructions" => {
                let (each, switches) = (fields.get("each")?, fields.get("switches")?);
                let entry = self.entry(row, driver);
                entry.instructions.push(each);
                entry.switches.push(switches);
            }
            "entries" => {
                let count = fields.get("count")?;
                self.entry(row, driver).entries = Some(count);
            }
            "profile" => {
                let samples: f64 = fields.get("samples")?;
                let (all, own): (f64, f64) = (fields.get("all")?, fields.get("self")?);
                let function = Function {
                    name: symbol::readable(fields.text("symbol")?),
                    all: all / samples,
                    own: own / samples,
                };
                self.entry(row, driver).profile.push(function);
            }
            _ => {
                let bytes = fields.get("bytes")?;
                self.entry(row, driver).memory.push(bytes);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Results {
        let mut results = Results::default();
        for line in lines {
            results.line(line).unwrap();
        }
        results
    }

    #[test]
    fn lines_are_sorted_by_row_and_driver() {
        let results = read(&[
            "time row=noop driver=qda round=0 calls=9 p50=2.5 p99=3 cpu=1.5 rate=100.0 late=1",
            "time row=noop driver=qda round=1 calls=9 p50=4.5 p99=3 cpu=1.5 rate=100.0 late=0",
            "absent row=poll driver=qda",
            "instructions row=noop driver=qda round=0 calls=10 each=100 switches=2.5",
            "memory row=idle-session driver=qda round=0 bytes=-4096",
            "entries row=entries-64 driver=qda count=32",
            "profile row=noop driver=qda samples=200 all=50 self=5 symbol=drm_ioctl",
            "count row=noop driver=qda calls=4 syscalls=5 allocs=8 maps=0 unmaps=0 iommu_maps=0 \
             iommu_unmaps=0 own_allocs=-1 own_maps=0 synced=8192",
            "# a remark",
            "ok 1 - noop with qda",
        ]);
        let noop = results.measured("noop", "qda").unwrap();
        assert_eq!(noop.p50(), Some(3.5));
        assert_eq!(noop.instructions(), Some(100.0));
        assert_eq!(noop.switches(), Some(2.5));
        let counts = noop.counts.as_ref().unwrap();
        assert_eq!(
            (counts.each(counts.synced), counts.own_allocs),
            (2048.0, -1)
        );
        let function = &noop.profile[0];
        assert_eq!((function.all, function.own), (0.25, 0.025));
        assert_eq!(function.name, "drm_ioctl");
        let entries = results.measured("entries-64", "qda").unwrap();
        assert_eq!(entries.entries, Some(32));
        assert!(results.measured("poll", "qda").is_none());
        assert!(results.row("poll").is_some());
        let memory = results.measured("idle-session", "qda").unwrap();
        assert_eq!(memory.memory(), Some(-4096.0));
        assert!(results.wrong.is_empty());
    }

    #[test]
    fn what_is_wrong_is_kept_and_half_a_line_is_an_error() {
        assert_eq!(read(&["wrong row=a driver=b error=-5"]).wrong.len(), 1);
        assert!(Results::default()
            .line("time row=a driver=b round=1")
            .is_err());
    }

    #[test]
    fn the_middle_of_an_even_number_is_between_two() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![4.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn spread_is_relative() {
        assert_eq!(spread(&[99.0, 100.0, 101.0]), Some(0.02));
        assert_eq!(spread(&[]), None);
    }
}
