// SPDX-License-Identifier: GPL-2.0

//! The steps of a run of make, and how long each took.
//!
//! They are in `build/steps`: a line with the time at which the run began, then a line for each
//! step, name, seconds and seconds of CPU time with tabs between them. The scripts write theirs in
//! `lib.sh`.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What CI gives a run.
const LIMIT: Duration = Duration::from_secs(90 * 60);

/// How often the kernel counts CPU time in a second, as user space sees it.
const TICKS: f64 = 100.0;

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub seconds: f64,
    /// User and system time together, of all processes.
    pub cpu: f64,
}

impl Step {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split('\t');
        Some(Self {
            name: words.next()?.to_string(),
            seconds: words.next()?.parse().ok()?,
            cpu: words.next()?.parse().ok()?,
        })
    }
}

/// The CPU time so far of this process, and of those that it has waited for, in seconds.
pub fn cpu_time() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name may have blanks in it; after it comes the third field.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let times = fields.split(' ').skip(11).take(4);
    times.filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// Where a run's steps are.
fn path(build: &Path) -> PathBuf {
    build.join("steps")
}

/// Adds a step to those of the run.
///
/// # Errors
///
/// The file cannot be written.
pub fn add(build: &Path, step: &Step) -> Result<()> {
    let path = path(build);
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| {
        let Step { name, seconds, cpu } = step;
        writeln!(file, "{name}\t{seconds:.1}\t{cpu:.1}")
    })
    .with_context(|| format!("writing {}", path.display()))
}

/// The steps of a run, and how long it has been going on.
#[derive(Debug, Default, PartialEq)]
pub struct Steps {
    pub list: Vec<Step>,
    elapsed: Option<Duration>,
}

impl Steps {
    /// Those of the run that goes on.
    pub fn read(build: &Path) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let text = fs::read_to_string(path(build)).unwrap_or_default();
        Self::parse(&text, now.unwrap_or_default())
    }

    fn parse(text: &str, now: Duration) -> Self {
        let mut steps = Self::default();
        for line in text.lines() {
            if let Some(step) = Step::parse(line) {
                steps.merge(step);
            } else if let Ok(began) = line.parse() {
                steps.elapsed = now.checked_sub(Duration::from_secs(began));
            }
        }
        steps
    }

    /// What was done several times is one step.
    fn merge(&mut self, step: Step) {
        match self.list.iter_mut().find(|have| have.name == step.name) {
            Some(have) => {
                have.seconds += step.seconds;
                have.cpu += step.cpu;
            }
            None => self.list.push(step),
        }
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> Option<f64> {
        self.elapsed.map(|elapsed| elapsed.as_secs_f64())
    }

    /// Seconds that CI would still give it.
    pub fn left(&self) -> Option<f64> {
        Some(LIMIT.as_secs_f64() - self.seconds()?)
    }

    /// The table. Steps that ran side by side have their times in full; the total is that of the
    /// clock on the wall.
    pub fn table(&self) -> Vec<String> {
        let row = |name: &str, seconds: &str, cpu: &str| format!("{name:<28}{seconds:>9}{cpu:>9}");
        let mut lines = vec![row("step", "seconds", "CPU")];
        for Step { name, seconds, cpu } in &self.list {
            lines.push(row(name, &format!("{seconds:.1}"), &format!("{cpu:.1}")));
        }
        if let (Some(seconds), Some(left)) = (self.seconds(), self.left()) {
            let cpu: f64 = self.list.iter().map(|step| step.cpu).sum();
            lines.push(row("total", &format!("{seconds:.1}"), &format!("{cpu:.1}")));
            lines.push(format!(
                "{:.1} of the {} minutes that CI gives are left",
                left / 60.0,
                LIMIT.as_secs() / 60
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_added_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let step = |name: &str, seconds, cpu| Step {
            name: name.to_string(),
            seconds,
            cpu,
        };
        for step in [step("setup", 0.5, 0.2), step("suite e2e", 60.0, 70.5)] {
            add(dir.path(), &step).unwrap();
        }
        add(dir.path(), &step("setup", 1.5, 1.0)).unwrap();
        assert_eq!(
            Steps::read(dir.path()).list,
            [step("setup", 2.0, 1.2), step("suite e2e", 60.0, 70.5)]
        );
    }

    #[test]
    fn the_total_is_from_begin_to_now() {
        let text = "1000\nkernel (normal)\t600.0\t1100.0\nsuite e2e\t60.0\t70.0\n";
        let table = Steps::parse(text, Duration::from_secs(1630)).table();
        let words: Vec<Vec<_>> = table
            .iter()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(words[1], ["kernel", "(normal)", "600.0", "1100.0"]);
        assert_eq!(words[3], ["total", "630.0", "1170.0"]);
        assert_eq!(words[4][0], "79.5");
    }

    #[test]
    fn a_run_takes_cpu_time() {
        let before = cpu_time();
        while cpu_time() == before {}
    }
}
