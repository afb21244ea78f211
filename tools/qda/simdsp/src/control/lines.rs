// SPDX-License-Identifier: GPL-2.0

//! The lines of the control port.

use super::{fault_line, Server, RESTART_MS};
use crate::call::Call;
use crate::dsp::Dsp;
use crate::edu::Way;
use crate::pd::listener::Reverse;
use crate::port::{Bank, Fault};
use crate::process::{Mapped, Process};
use crate::script::Script;
use crate::strict::{Profile, Rule};
use anyhow::{bail, Context as _};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The requests, for `help`.
const REQUESTS: &[&str] = &[
    "begin",
    "end",
    "script",
    "allow",
    "allow-leaks",
    "expect-fault",
    "profile",
    "stat",
    "faults",
    "violations",
    "release-held",
    "complete-listener",
    "kill",
    "say",
    "babble",
    "reverse",
    "reverse-open",
    "read-file",
    "message",
    "restart",
    "crash",
    "touch",
    "mappings",
    "entries",
    "streams",
    "processes",
    "calls",
    "survey",
    "edus",
    "edu",
    "dsps",
    "trace",
    "hot",
    "help",
];

impl Server {
    /// Serves a port until its end.
    ///
    /// # Errors
    ///
    /// The stream fails.
    pub fn serve(&self, stream: impl Read + Write + Send) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let answer = self.handle(String::from_utf8_lossy(&line).trim());
            let stream = reader.get_mut();
            stream.write_all(answer.as_bytes())?;
            stream.flush()?;
        }
    }

    /// Answers one line; the answer ends with a newline.
    pub fn handle(&self, line: &str) -> String {
        log::debug!("control: {line}");
        let mut answer = self
            .answer(line)
            .unwrap_or_else(|error| format!("error {error:#}"));
        answer.push('\n');
        answer
    }

    fn answer(&self, line: &str) -> anyhow::Result<String> {
        let (request, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let mut args = Args(rest.split_whitespace().collect());
        let ok = || Ok("ok".to_owned());
        let answer = match request {
            "begin" => {
                self.begin(args.word()?)?;
                ok()
            }
            "end" => {
                let problems = self.end()?;
                match problems.is_empty() {
                    true => ok(),
                    false => Ok(lines("fail", &problems)),
                }
            }
            "script" => {
                self.script(&Script::parse(rest)?);
                return ok();
            }
            "allow" => {
                let name = args.word()?;
                let rule = Rule::named(name).with_context(|| format!("no rule {name:?}"))?;
                self.dsps.iter().for_each(|dsp| dsp.judge().allow(rule));
                ok()
            }
            "allow-leaks" => {
                self.allow_leaks();
                ok()
            }
            "expect-fault" => {
                match args.word()? {
                    "any" => self.expect_any_faults(),
                    word => self.expect_faults(number(word)?),
                }
                ok()
            }
            "profile" => {
                let profile = match args.word()? {
                    "fastrpc" => Profile::Fastrpc,
                    "qda" => Profile::Qda,
                    other => bail!("no profile {other:?}"),
                };
                let label = args.0.pop_front();
                let chosen = |dsp: &&Arc<Dsp>| label.is_none_or(|label| label == dsp.label());
                self.dsps
                    .iter()
                    .filter(chosen)
                    .for_each(|dsp| dsp.judge().set_profile(profile));
                ok()
            }
            "stat" => {
                let (dsp, key) = (self.dsp(args.word()?)?, args.word()?);
                let value = dsp.stat(key).with_context(|| format!("no key {key:?}"))?;
                Ok(format!("ok {value}"))
            }
            "faults" => Ok(lines("ok", &self.faults())),
            "violations" => {
                let of = |dsp: &Arc<Dsp>| {
                    let label = dsp.label().to_owned();
                    dsp.judge()
                        .violations()
                        .into_iter()
                        .map(move |violation| format!("{label} {violation}"))
                };
                Ok(lines(
                    "ok",
                    &self.dsps.iter().flat_map(of).collect::<Vec<_>>(),
                ))
            }
            "trace" => {
                let on = args.one_of("on", "off")?;
                self.dsps.iter().for_each(|dsp| dsp.set_trace(on));
                ok()
            }
            "hot" => {
                let link = args.word()?;
                let (service, group) = match args.one_of("on", "off")? {
                    true => (
                        Some(Duration::from_nanos(args.number()?)),
                        args.optional::<u64>()?.unwrap_or(1),
                    ),
                    false => (None, 1),
                };
                let (served, late) = self.set_pace(link, service, group as usize)?;
                Ok(format!("ok {served} {late}"))
            }
            "dsps" => Ok(lines(
                "ok",
                &self
                    .dsps
                    .iter()
                    .map(|dsp| describe(dsp))
                    .collect::<Vec<_>>(),
            )),
            "survey" => {
                let survey = self.survey();
                Ok(format!(
                    "ok banks {} tables {} mapped {} shared {}",
                    survey.banks,
                    survey.tables,
                    survey.mapped,
                    survey.shared.len()
                ))
            }
            "edus" => Ok(lines("ok", &sids(self.edus.iter().map(|edu| edu.sid())))),
            "edu" => self.answer_edu(&mut args),
            "help" => Ok(lines("ok", REQUESTS)),
            _ => self.answer_dsp(request, &mut args),
        };
        args.end()?;
        answer
    }

    /// Requests to a device that is not a DSP's.
    fn answer_edu(&self, args: &mut Args<'_>) -> anyhow::Result<String> {
        let sid: u64 = args.number()?;
        let edu = self.edus.iter().find(|edu| u64::from(edu.sid()) == sid);
        let edu = edu.with_context(|| format!("no edu with stream id {sid:#x}"))?;
        let way = match args.word()? {
            "busy" => return Ok(format!("ok {}", u8::from(edu.is_busy()?))),
            "read" => Way::FromMemory,
            "write" => Way::ToMemory,
            word => bail!("{word:?}: neither read nor write nor busy"),
        };
        edu.start(way, args.number()?, args.number()?)?;
        Ok("ok".to_owned())
    }

    /// Requests that start with a DSP.
    fn answer_dsp(&self, request: &str, args: &mut Args<'_>) -> anyhow::Result<String> {
        if !REQUESTS.contains(&request) {
            bail!("unknown request {request:?}");
        }
        let dsp = self.dsp(args.word()?)?;
        Ok(match request {
            "release-held" => {
                let status = args.optional::<i64>()?;
                format!(
                    "ok {}",
                    dsp.release_held(status.map(|status| status as i32))
                )
            }
            "complete-listener" => {
                let status: i64 = args.number()?;
                format!("ok {}", self.complete_listeners(dsp, status as i32))
            }
            "kill" => {
                let client: i64 = args.number()?;
                let process = dsp
                    .process(client as i32)
                    .with_context(|| format!("no client {client}"))?;
                match args.0.pop_front() {
                    None => dsp.kill_process(&process)?,
                    Some("named") => dsp.kill_process_named(&process)?,
                    Some(word) => bail!("{word:?} is not \"named\""),
                }
                "ok".into()
            }
            "say" => {
                let message = match args.word()? {
                    "-" => Vec::new(),
                    hex => unhex(hex)?,
                };
                for _ in 0..args.optional::<u64>()?.unwrap_or(1) {
                    dsp.say(&message)?;
                }
                "ok".into()
            }
            "babble" => {
                let seed = match args.one_of("on", "off")? {
                    true => Some(args.number()?),
                    false => None,
                };
                format!("ok {}", dsp.babble(seed)?)
            }
            "reverse" => {
                let (client, call) = args.reverse()?;
                let answer = self.reverse(dsp, client, &call)?;
                let mut line = format!("ok {}", answer.status);
                for out in answer.outs {
                    line.push(' ');
                    line += &hex(&out);
                }
                line
            }
            "reverse-open" => {
                let (status, handle, error) = self.reverse_open(dsp, args.word()?)?;
                format!("ok {status} {handle} {error}")
            }
            "restart" => {
                let ms = args.optional::<u64>()?.unwrap_or(RESTART_MS);
                let restarter = self.restarter(dsp.label())?;
                restarter.restart(Duration::from_millis(ms))?;
                "ok".into()
            }
            "crash" => {
                self.restarter(dsp.label())?.crash()?;
                "ok".into()
            }
            "read-file" => format!("ok {}", hex(&self.read_file(dsp, args.word()?)?)),
            "message" => {
                let words: Vec<_> = std::mem::take(&mut args.0).into();
                self.message(dsp, &words.join(" "))?;
                "ok".into()
            }
            "touch" => {
                let (client, iova, len): (i64, u64, u64) =
                    (args.number()?, args.number()?, args.number()?);
                let write = args.one_of("w", "r")?;
                match dsp.touch_as(client as i32, iova, len, write) {
                    Ok(()) => "ok".into(),
                    Err(error) => match error.downcast_ref::<Fault>() {
                        Some(fault) => format!("fault {}", fault_line(fault)),
                        None => return Err(error),
                    },
                }
            }
            "mappings" => {
                let bank: u64 = args.number()?;
                let list = dsp.memory.mappings(bank as Bank)?;
                let line = |m: &crate::port::Mapping| {
                    let rights = if m.writable { "rw" } else { "r" };
                    format!("{:#x} {:#x} {:#x} {rights}", m.iova, m.pa, m.len)
                };
                lines("ok", &list.iter().map(line).collect::<Vec<_>>())
            }
            "entries" => {
                let bank: u64 = args.number()?;
                let (iova, len) = (args.number()?, args.number()?);
                format!("ok {}", dsp.memory.entries(bank as Bank, iova, len)?)
            }
            "streams" => {
                let bank: u64 = args.number()?;
                lines("ok", &sids(dsp.memory.streams(bank as Bank)))
            }
            "processes" => {
                let line = |process: &Arc<Process>| describe_process(dsp, process);
                lines("ok", &dsp.processes().iter().map(line).collect::<Vec<_>>())
            }
            "calls" => {
                let held = dsp.inner().held.clone();
                let line = |call: &Arc<Call>| describe_call(dsp, call);
                lines("ok", &held.iter().map(line).collect::<Vec<_>>())
            }
            _ => bail!("unknown request {request:?}"),
        })
    }
}

fn sids(sids: impl IntoIterator<Item = u32>) -> Vec<String> {
    sids.into_iter().map(|sid| format!("{sid:#x}")).collect()
}

/// A call that is held, with the addresses of its tables and arguments.
fn describe_process(dsp: &Dsp, process: &Process) -> String {
    let bank = process.known_bank();
    let bank = bank.map_or("-".to_owned(), |bank| bank.to_string());
    let range = |mapped: Mapped| format!("{:#x} {:#x}", dsp.split(mapped.addr).iova, mapped.size);
    let maps = process.maps();
    let mut line = format!(
        "client {} bank {bank} memory {} maps {}",
        process.client,
        range(process.memory()),
        maps.len()
    );
    for mapped in maps {
        let _ = write!(line, " {}", range(mapped));
    }
    line
}

fn describe_call(dsp: &Dsp, call: &Call) -> String {
    let arguments = match call.prepared.get() {
        Some(prepared) => &prepared.meta.arguments[..],
        None => &[],
    };
    let mut line = format!(
        "client {} method {} at {:#x} {:#x} args {}",
        call.request.client_id,
        call.request.sc.method(),
        call.at.iova,
        call.request.size,
        arguments.len()
    );
    for argument in arguments {
        let at = argument.data().map_or(0, |at| dsp.split(at).iova);
        let _ = write!(line, " {at:#x} {:#x}", argument.len());
    }
    line
}

/// Words of a request that are not used yet.
struct Args<'a>(std::collections::VecDeque<&'a str>);

/// Numbers of requests.
trait Number: FromStr + TryFrom<i128> {}
impl Number for u64 {}
impl Number for i64 {}

impl<'a> Args<'a> {
    fn word(&mut self) -> anyhow::Result<&'a str> {
        self.0.pop_front().context("too few words")
    }

    fn number<N: Number>(&mut self) -> anyhow::Result<N> {
        number(self.word()?)
    }

    fn optional<N: Number>(&mut self) -> anyhow::Result<Option<N>> {
        self.0.pop_front().map(number).transpose()
    }

    /// `true` for the one, `false` for the other.
    fn one_of(&mut self, yes: &str, no: &str) -> anyhow::Result<bool> {
        match self.word()? {
            word if word == yes => Ok(true),
            word if word == no => Ok(false),
            word => bail!("{word:?}: neither {yes:?} nor {no:?}"),
        }
    }

    fn end(&self) -> anyhow::Result<()> {
        match self.0.front() {
            Some(word) => bail!("{word:?} is too much"),
            None => Ok(()),
        }
    }

    fn reverse(&mut self) -> anyhow::Result<(Option<i32>, Reverse)> {
        let (handle, method): (u64, u64) = (self.number()?, self.number()?);
        let mut call = Reverse {
            handle: handle as u32,
            method: method as u32,
            ins: Vec::new(),
            outs: Vec::new(),
        };
        let mut client = None;
        while let Some(word) = self.0.pop_front() {
            match word.split_once(':') {
                Some(("in", data)) => call.ins.push(unhex(data)?),
                Some(("out", len)) => call.outs.push(number::<u64>(len)? as u32),
                Some(("client", id)) => client = Some(number::<i64>(id)? as i32),
                _ => bail!("{word:?}: not in:, out: or client:"),
            }
        }
        Ok((client, call))
    }
}

fn number<N: Number>(word: &str) -> anyhow::Result<N> {
    let value = match word.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    };
    value
        .and_then(|value| N::try_from(value).ok())
        .with_context(|| format!("{word:?} is no number"))
}

fn hex(data: &[u8]) -> String {
    if data.is_empty() {
        return "-".into();
    }
    data.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn unhex(text: &str) -> anyhow::Result<Vec<u8>> {
    if !text.is_ascii() || text.len() % 2 != 0 {
        bail!("{text:?} is not hexadecimal");
    }
    let byte = |i| u8::from_str_radix(&text[i..i + 2], 16);
    let bytes: Result<_, _> = (0..text.len()).step_by(2).map(byte).collect();
    bytes.with_context(|| format!("{text:?} is not hexadecimal"))
}

fn lines(head: &str, lines: &[impl AsRef<str>]) -> String {
    let mut out = format!("{head} {}", lines.len());
    for line in lines {
        out.push('\n');
        out += line.as_ref();
    }
    out
}

fn describe(dsp: &Dsp) -> String {
    let config = dsp.config();
    let banks: Vec<_> = config.banks.iter().map(Bank::to_string).collect();
    format!(
        "{} sid_pos {} banks {}",
        config.label,
        config.sid_pos,
        banks.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(number::<u64>("0x1f").unwrap(), 31);
        assert_eq!(number::<i64>("-5").unwrap(), -5);
        assert!(number::<u64>("-5").is_err());
        assert!(number::<u64>("x").is_err());
        assert_eq!(unhex(&hex(&[0, 255, 16])).unwrap(), [0, 255, 16]);
        assert!(unhex("abc").is_err());
        assert!(unhex("zz").is_err());
    }

    #[test]
    fn unknown_input_is_answered() {
        let server = Server::new(Vec::new());
        for line in [
            "",
            "nonsense",
            "end",
            "stat",
            "stat cdsp x",
            "trace maybe",
            "help me",
            "script {",
        ] {
            let answer = server.handle(line);
            assert!(
                answer.starts_with("error ") && answer.ends_with('\n'),
                "{line:?}: {answer:?}"
            );
        }
        assert_eq!(server.handle("begin a"), "ok\n");
        assert_eq!(server.handle("end"), "ok\n");
        let help = server.handle("help");
        assert_eq!(
            help.lines().next(),
            Some(format!("ok {}", REQUESTS.len()).as_str())
        );
    }
}
