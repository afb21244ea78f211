// SPDX-License-Identifier: GPL-2.0

//! What a test wants a DSP to do to some of its calls.
//!
//! A script is JSON, in a file `<test>.json` that is loaded when the test begins, or sent live:
//!
//! ```json
//! { "allow": ["thread-busy"],
//!   "expect_faults": 1,
//!   "rules": [
//!     { "dsp": "cdsp", "module": "simdsp", "method": 2, "nth": 3,
//!       "actions": [ { "delay_ms": 50 }, { "ctx": "stale" } ] },
//!     { "handle": 1, "method": 1, "actions": ["drop"] } ] }
//! ```
//!
//! All conditions that a rule gives must hold; `nth` counts the calls for which the others hold,
//! from 1. Every rule that matches adds its actions, in the order of the script.

use anyhow::{bail, Context as _};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A whole script.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// Rules of [`crate::strict`] that this test may break, by name.
    pub allow: Vec<String>,
    /// SMMU faults that the test means to cause.
    pub expect_faults: u64,
    /// Take the place of the rules sent so far, instead of following them.
    pub replace: bool,
    /// What to do, and when.
    pub rules: Vec<Rule>,
}

/// Actions, and the calls that they are for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Label of the DSP.
    pub dsp: Option<String>,
    /// Remote handle.
    pub handle: Option<u32>,
    /// Module that the handle was opened as.
    pub module: Option<String>,
    /// Method of the scalars word.
    pub method: Option<u32>,
    /// DSP process (of kernel calls: 0).
    pub client: Option<i32>,
    /// Only the nth such call, from 1.
    pub nth: Option<u64>,
    /// What to do.
    pub actions: Vec<Action>,
}

/// One thing to do to a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Wait this long before the call is executed.
    DelayMs(u64),
    /// Park the call, unexecuted, until `release-held`.
    Hold,
    /// Answer this status without executing the call.
    Fail(i64),
    /// Execute the call, answer this status.
    Status(i64),
    /// Execute the call, never answer.
    Drop,
    /// Answer twice.
    ReplyTwice,
    /// Answer with another context, instead of the right one.
    Ctx(Ctx),
    /// Answer with another context first, then rightly.
    CtxFirst(Ctx),
    /// Cut the answer to this many bytes.
    Short(usize),
    /// Send so many bytes of an answer first, then answer rightly.
    ShortFirst(usize),
    /// Stretch the answer to this many bytes.
    Long(usize),
    /// Change the metadata before answering.
    Rewrite(Rewrite),
    /// Change all of the metadata before answering, as this seed and the number of the call decide.
    Scramble(u64),
    /// Give back these numbers. There is room for 16; more run into what comes behind, to its end.
    Fdlist(Vec<u64>),
    /// Write this into the poll word, whatever the process asked for.
    PollWord(u32),
    /// Access memory.
    Touch(Touch),
    /// Send this many answers to calls that don't exist before answering.
    Flood(u32),
}

/// A context that is not the call's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ctx {
    /// Same slot, previous sequence number.
    Stale,
    /// Same slot and sequence number, other protection domain.
    OtherPd,
    /// A slot of the same sequence number that no call is in, as far as the DSP knows.
    Unknown,
    /// The notice of a protection domain's exit.
    Sentinel,
    /// These 64 bits.
    Raw(u64),
}

impl Ctx {
    /// The context, made from the call's.
    pub fn of(self, ctx: u64) -> u64 {
        match self {
            Ctx::Stale => ctx.wrapping_sub(1 << 16),
            Ctx::OtherPd => ctx ^ 1,
            Ctx::Unknown => ctx ^ 0x8000,
            Ctx::Sentinel => crate::wire::PD_EXIT_CTX,
            Ctx::Raw(raw) => raw,
        }
    }
}

/// A change of the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// Which word.
    pub word: Word,
    /// Argument, page entry or list entry that it belongs to.
    #[serde(default)]
    pub index: usize,
    /// New value, cut to the word's size.
    pub value: u64,
}

/// A word of the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// `pv` of an argument.
    Pv,
    /// Length of an argument.
    Len,
    /// `num` of a list entry.
    Num,
    /// `pgidx` of a list entry.
    Pgidx,
    /// Address of a page entry.
    PageAddr,
    /// Size of a page entry.
    PageSize,
    /// Entry of the checksums.
    Crc,
    /// Any 32 bits: the first that are so many are in front of.
    Any,
}

/// An access to memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Touch {
    /// I/O virtual address, without the bank number.
    pub iova: Option<u64>,
    /// Or the data of this argument.
    pub arg: Option<usize>,
    /// Bank; by default the call's.
    pub bank: Option<u32>,
    /// Bytes.
    pub len: u64,
    /// Write (0xA5) rather than read.
    pub write: bool,
    /// Do it this long after the answer, not before it.
    pub after_ms: Option<u64>,
}

impl Script {
    /// Parses a script.
    ///
    /// # Errors
    ///
    /// What is wrong with the JSON, or a rule name that does not exist.
    pub fn parse(json: &str) -> anyhow::Result<Self> {
        let script: Self = serde_json::from_str(json)?;
        for name in &script.allow {
            if crate::strict::Rule::named(name).is_none() {
                bail!("no rule {name:?}");
            }
        }
        Ok(script)
    }

    /// The script of a test: `<dir>/<test>.json`, or an empty one when there is no such file.
    ///
    /// # Errors
    ///
    /// The file can't be read or parsed.
    pub fn load(dir: &Path, test: &str) -> anyhow::Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !test.chars().all(plain) {
            return Ok(Self::default());
        }
        let path = dir.join(format!("{test}.json"));
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(&path)?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }
}

/// What a rule is matched against.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Remote handle.
    pub handle: u32,
    /// Name of the module.
    pub module: Option<&'a str>,
    /// Method.
    pub method: u32,
    /// Client id of the message.
    pub client: i32,
}

/// The script of one DSP at work.
#[derive(Debug, Default)]
pub struct Active {
    rules: Vec<(Rule, u64)>,
}

impl Active {
    /// Adds the rules that are for the DSP `label`.
    pub fn add(&mut self, label: &str, script: &Script) {
        if script.replace {
            self.rules.clear();
        }
        let mine = |rule: &&Rule| rule.dsp.as_deref().is_none_or(|dsp| dsp == label);
        self.rules.extend(
            script
                .rules
                .iter()
                .filter(mine)
                .map(|rule| (rule.clone(), 0)),
        );
    }

    /// Forgets all rules.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The actions for a call; counts it.
    pub fn actions(&mut self, subject: Subject<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        for (rule, hits) in &mut self.rules {
            let matches = rule.handle.is_none_or(|handle| handle == subject.handle)
                && rule
                    .module
                    .as_deref()
                    .is_none_or(|name| Some(name) == subject.module)
                && rule.method.is_none_or(|method| method == subject.method)
                && rule.client.is_none_or(|client| client == subject.client);
            if matches {
                *hits += 1;
                if rule.nth.is_none_or(|nth| nth == *hits) {
                    actions.extend(rule.actions.iter().cloned());
                }
            }
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: Subject<'static> = Subject {
        handle: 300,
        module: Some("simdsp"),
        method: 2,
        client: 1,
    };

    #[test]
    fn the_nth_call_that_matches() {
        let script = Script::parse(
            r#"{"rules":[{"module":"simdsp","method":2,"nth":2,"actions":[{"status":-512},"drop"]},
                {"dsp":"adsp","actions":["hold"]}]}"#,
        )
        .unwrap();
        let mut active = Active::default();
        active.add("cdsp", &script);
        assert_eq!(active.actions(ECHO), []);
        assert_eq!(active.actions(Subject { method: 3, ..ECHO }), []);
        assert_eq!(active.actions(ECHO), [Action::Status(-512), Action::Drop]);
        assert_eq!(active.actions(ECHO), []);
    }

    #[test]
    fn every_action_has_a_json_form() {
        let all = r#"["hold","drop","reply_twice",{"delay_ms":5},{"fail":2147484692},{"status":1},
            {"ctx":"stale"},{"ctx_first":"sentinel"},{"ctx":{"raw":7}},{"short":8},{"long":64},
            {"short_first":3},{"scramble":9},{"rewrite":{"word":"any","index":96,"value":1}},
            {"rewrite":{"word":"len","index":1,"value":4294967295}},{"fdlist":[3,4]},
            {"poll_word":912559},{"touch":{"iova":4096,"len":4,"write":true}},
            {"touch":{"arg":1,"len":4,"after_ms":20}},{"flood":1000}]"#;
        let actions: Vec<Action> = serde_json::from_str(all).unwrap();
        let again: Vec<Action> =
            serde_json::from_str(&serde_json::to_string(&actions).unwrap()).unwrap();
        assert_eq!(actions, again);
    }

    #[test]
    fn mistakes_are_found() {
        assert!(Script::parse(r#"{"rule":[]}"#).is_err());
        assert!(Script::parse(r#"{"allow":["no-such"]}"#).is_err());
        assert!(Script::parse(r#"{"rules":[{"actions":["explode"]}]}"#).is_err());
    }

    #[test]
    fn files_are_optional_and_stay_in_their_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.b.json"), r#"{"expect_faults":2}"#).unwrap();
        assert_eq!(Script::load(dir.path(), "a.b").unwrap().expect_faults, 2);
        assert_eq!(
            Script::load(dir.path(), "other").unwrap(),
            Script::default()
        );
        assert_eq!(
            Script::load(dir.path(), "../a.b").unwrap(),
            Script::default()
        );
    }
}
