// SPDX-License-Identifier: GPL-2.0

//! The guest's files, as the DSP reads them: its service "apps_std".
//!
//! | method | in 0 | more ins | out 0 | out 1 |
//! |---|---|---|---|---|
//! | 3 fclose | u32 file | | | |
//! | 4 fread | {u32 file, u32 space} | | {u32 length, u32 end of file} | bytes |
//! | 19 fopen_with_env | {u32 lengths of the ins} | variable, delimiter, name, mode; with NUL | u32 file | |

use super::apps_remotectl::{self, pack};
use super::listener::{Answer, Reverse};
use crate::call::words;
use anyhow::{bail, ensure, Context as _};

/// Name of the service.
pub const NAME: &str = "apps_std";
/// Variable of the guest's environment that lists the directories of the DSP's files.
const SEARCH_PATH: &str = "ADSP_LIBRARY_PATH";
/// Bytes of one fread.
const CHUNK: u32 = 200;
/// Longest file that is read.
const MAX_FILE: usize = 1 << 20;

fn open(service: u32, name: &str) -> Reverse {
    let texts = [SEARCH_PATH, ";", name, "r"].map(|text| [text.as_bytes(), &[0]].concat());
    let lengths = texts.each_ref().map(|text| text.len() as u32);
    Reverse {
        handle: service,
        method: 19,
        ins: [pack(&lengths)].into_iter().chain(texts).collect(),
        outs: vec![4],
    }
}

fn read(service: u32, file: u32) -> Reverse {
    Reverse {
        handle: service,
        method: 4,
        ins: vec![pack(&[file, CHUNK])],
        outs: vec![8, CHUNK],
    }
}

fn close(service: u32, file: u32) -> Reverse {
    Reverse {
        handle: service,
        method: 3,
        ins: vec![pack(&[file])],
        outs: vec![],
    }
}

/// Reads a file of the guest that is in its search path.
///
/// # Errors
///
/// The guest has no such file, or a call fails.
pub fn read_file(
    mut call: impl FnMut(&Reverse) -> anyhow::Result<Answer>,
    name: &str,
) -> anyhow::Result<Vec<u8>> {
    let service = apps_remotectl::handle(&call(&apps_remotectl::open(NAME))?)?;
    let data = read_open(&mut call, service, name);
    done(&call(&apps_remotectl::close(service))?, "close of apps_std")?;
    data
}

fn read_open(
    call: &mut impl FnMut(&Reverse) -> anyhow::Result<Answer>,
    service: u32,
    name: &str,
) -> anyhow::Result<Vec<u8>> {
    let answer = call(&open(service, name))?;
    done(&answer, "fopen_with_env")?;
    let [file] = answer
        .outs
        .first()
        .and_then(|out| words(out))
        .context("no file")?;
    let mut data = Vec::new();
    loop {
        let answer = call(&read(service, file))?;
        done(&answer, "fread")?;
        let [head, bytes] = answer.outs.as_slice() else {
            bail!("fread: {} outs", answer.outs.len());
        };
        let [len, end] = words(head).context("fread: no length")?;
        let got = bytes.get(..len as usize).context("fread: length")?;
        data.extend(got);
        if end != 0 || got.is_empty() {
            break;
        }
        ensure!(data.len() <= MAX_FILE, "longer than {MAX_FILE} bytes");
    }
    done(&call(&close(service, file))?, "fclose")?;
    Ok(data)
}

fn done(answer: &Answer, what: &str) -> anyhow::Result<()> {
    ensure!(answer.status == 0, "{what}: status {:#x}", answer.status);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that has one file.
    fn serve(content: &[u8]) -> impl FnMut(&Reverse) -> anyhow::Result<Answer> + '_ {
        let mut at = 0;
        move |call| {
            let outs = match (call.handle, call.method) {
                (0, 0) => vec![pack(&[7, 0]), vec![]],
                (0, 1) => vec![pack(&[0]), vec![]],
                (7, 19) if call.ins[3] == b"greeting\0" => vec![pack(&[1])],
                (7, 4) => {
                    let end = content.len().min(at + CHUNK as usize);
                    let mut bytes = content[at..end].to_vec();
                    let len = bytes.len() as u32;
                    bytes.resize(CHUNK as usize, 0);
                    at = end;
                    vec![pack(&[len, u32::from(len < CHUNK)]), bytes]
                }
                (7, 3) => vec![],
                _ => {
                    return Ok(Answer {
                        status: 2,
                        outs: vec![],
                    })
                }
            };
            Ok(Answer { status: 0, outs })
        }
    }

    #[test]
    fn scalars_are_those_of_the_interface() {
        assert_eq!(open(7, "x").scalars().0, 0x1305_0100);
        assert_eq!(read(7, 1).scalars().0, 0x0401_0200);
        assert_eq!(close(7, 1).scalars().0, 0x0301_0000);
    }

    #[test]
    fn files_of_any_length() {
        for len in [0, 1, 199, 200, 201, 1000] {
            let content: Vec<u8> = (0..len).map(|i| i as u8).collect();
            assert_eq!(read_file(serve(&content), "greeting").unwrap(), content);
        }
        assert!(read_file(serve(b""), "other").is_err());
    }
}
