// SPDX-License-Identifier: GPL-2.0

//! The catalogue: bugs that FastRPC drivers have had, or could have, by their class.
//!
//! Published entries (P) are known from fixes, CVEs and public reports. Observed ones (O) are what
//! the design of this driver has to rule out besides.

/// A test, as it is booted.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// Which kernel shows the bug.
    pub kernel: &'static str,
    /// Name of a file in `tools/qda/boards/`.
    pub board: &'static str,
    /// A program and its arguments; none: the row's own test.
    pub program: &'static [&'static str],
}

/// How a row is shown.
#[derive(Debug, Clone, Copy)]
pub enum How {
    /// It is provoked.
    Test(Test),
    /// It is not, for this reason.
    Not(&'static str),
}

/// An entry.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// P or O, and a number.
    pub id: &'static str,
    /// What class of bug it is.
    pub class: &'static str,
    /// What made it public; nothing for observed ones.
    pub source: &'static str,
    /// Whether Linux 7.3 has a fix.
    pub fixed: bool,
    pub how: How,
}

impl Row {
    /// Whether it is public, and so tried on both drivers.
    pub fn is_published(&self) -> bool {
        self.id.starts_with('P')
    }
}

/// A test of its own, on the board with two DSPs.
const OWN: Test = Test {
    kernel: "normal",
    board: "two-dsp",
    program: &[],
};

/// What only shows with the kernel's checks of memory and locks.
const CHECKED: Test = Test {
    kernel: "debug",
    ..OWN
};

/// On a board whose ADSP has memory for static processes.
const AUDIO: Test = Test {
    board: "pds",
    ..OWN
};

const CHECKED_AUDIO: Test = Test {
    kernel: CHECKED.kernel,
    ..AUDIO
};

/// Tests that other suites have as well.
const fn other(program: &'static [&'static str]) -> How {
    How::Test(Test { program, ..OWN })
}

/// A published entry.
const fn published(
    id: &'static str,
    class: &'static str,
    source: &'static str,
    fixed: bool,
    how: How,
) -> Row {
    Row {
        id,
        class,
        source,
        fixed,
        how,
    }
}

/// An observed entry.
const fn observed(id: &'static str, class: &'static str, how: How) -> Row {
    Row {
        id,
        class,
        source: "",
        fixed: false,
        how,
    }
}

/// All entries.
pub const ROWS: &[Row] = &[
    published(
        "P1",
        "replies to callers that were interrupted",
        "qualcomm/fastrpc#188",
        true,
        How::Test(OWN),
    ),
    published(
        "P2",
        "a stale reply completes whoever has the slot now",
        "96e62cc0a84d",
        true,
        How::Test(OWN),
    ),
    published(
        "P3",
        "the notice of a process's exit is taken for a reply",
        "qualcomm-linux/kernel#962",
        true,
        How::Test(OWN),
    ),
    published(
        "P4",
        "pointers read back from memory that the DSP writes",
        "qualcomm/fastrpc#352",
        false,
        How::Test(OWN),
    ),
    published(
        "P5",
        "a session freed while its calls are alive",
        "e85eb5feca8e",
        true,
        How::Test(CHECKED),
    ),
    published(
        "P6",
        "mappings looked up while they are freed",
        "CVE-2022-48872, CVE-2022-48874",
        true,
        How::Test(CHECKED),
    ),
    published(
        "P7",
        "a mapping removed twice when a process is made",
        "CVE-2022-48873",
        true,
        How::Test(CHECKED),
    ),
    published(
        "P8",
        "a mapping leaked when results can't be copied",
        "CVE-2025-40036",
        true,
        How::Test(OWN),
    ),
    published(
        "P9",
        "a list's end taken for an entry of it, in unmap",
        "CVE-2022-49393",
        true,
        How::Test(CHECKED),
    ),
    published(
        "P10",
        "more sessions than the driver has room for",
        "CVE-2022-49950, CVE-2022-49952",
        true,
        How::Test(Test {
            board: "many-sessions",
            ..CHECKED
        }),
    ),
    published(
        "P11",
        "a buffer freed twice when the heap's growth fails",
        "CVE-2024-46741",
        true,
        How::Test(CHECKED),
    ),
    published(
        "P12",
        "a file put twice when its number can't be copied",
        "CVE-2022-48821",
        true,
        How::Test(CHECKED),
    ),
    published(
        "P13",
        "wrong pages of arguments that overlap",
        "CVE-2025-21734",
        true,
        How::Test(OWN),
    ),
    published(
        "P14",
        "wrong address of a pointer beside the mapping",
        "464c6ad2aa16",
        true,
        How::Test(OWN),
    ),
    published(
        "P15",
        "the heap of static processes freed twice",
        "CVE-2026-31730",
        true,
        How::Test(CHECKED_AUDIO),
    ),
    published(
        "P16",
        "a reply that comes before probe has finished",
        "5401fb4fe10f",
        true,
        How::Test(OWN),
    ),
    published(
        "P17",
        "buffers mapped where there is no session",
        "qualcomm-linux/kernel#584",
        false,
        How::Test(OWN),
    ),
    published(
        "P18",
        "crashes when pages are freed",
        "qualcomm-linux/kernel#1107, #1149",
        false,
        How::Not("the reports are open and state no cause"),
    ),
    published(
        "P19",
        "a buffer mapped by mmap without its lock",
        "qualcomm/fastrpc#207",
        false,
        How::Test(CHECKED),
    ),
    published(
        "P20",
        "a module that can't be unloaded and loaded again",
        "qualcomm/fastrpc#310",
        false,
        How::Test(OWN),
    ),
    published(
        "P21",
        "the audio process and its heap across restarts",
        "qualcomm/fastrpc#146",
        true,
        How::Test(AUDIO),
    ),
    published(
        "P22",
        "a DSP that restarts while programs wait for it",
        "qualcomm-linux/meta-qcom#2588",
        false,
        How::Test(CHECKED),
    ),
    published(
        "P23",
        "a status of the DSP that looks like an errno",
        "qualcomm/fastrpc#180, #269",
        false,
        How::Test(OWN),
    ),
    published(
        "P24",
        "log floods and failed calls on a db820c",
        "qualcomm/fastrpc#309, #318",
        false,
        How::Not("it is about the firmware of that board, which the simulated DSP is not"),
    ),
    published(
        "P25",
        "what a DSP does not support is not said clearly",
        "qualcomm/fastrpc#342",
        true,
        How::Test(OWN),
    ),
    published(
        "P26",
        "the first piece of a buffer taken for all of it",
        "public review of an accel driver",
        false,
        How::Test(Test {
            board: "no-iommu",
            ..OWN
        }),
    ),
    published(
        "P27",
        "programs call the kernel's own handle",
        "CVE-2019-2308",
        true,
        How::Test(OWN),
    ),
    observed(
        "O1",
        "slots and memory of killed callers",
        other(&["qda_lifetime", "-t", "killed_again_and_again"]),
    ),
    observed(
        "O2",
        "calls that are pending when a DSP restarts",
        other(&[
            "qda_restart",
            "-V",
            "stop",
            "-V",
            "crash",
            "-t",
            "everything_in_use",
        ]),
    ),
    observed(
        "O3",
        "metadata rewritten under calls of the kernel",
        How::Test(OWN),
    ),
    observed(
        "O4",
        "copied and mapped arguments that overlap",
        How::Test(OWN),
    ),
    observed(
        "O5",
        "arguments cut short without an error",
        How::Not("sizes are computed in one place; host-core has property tests of it"),
    ),
    observed(
        "O6",
        "addresses of the kernel taken from programs",
        How::Test(OWN),
    ),
    observed(
        "O7",
        "numbers given back that the DSP was not lent",
        How::Test(OWN),
    ),
    observed("O8", "replies that come twice", How::Test(OWN)),
    observed(
        "O9",
        "a failed copy leaves a buffer in a list",
        How::Test(CHECKED),
    ),
    observed(
        "O10",
        "unmap of what was mapped for something else",
        How::Test(OWN),
    ),
    observed("O11", "one number mapped again", How::Test(OWN)),
    observed(
        "O12",
        "a dma-buf that outlives its file",
        other(&["qda_prime", "-t", "exporter_has_died"]),
    ),
    observed(
        "O13",
        "a bank given away with mappings in it",
        other(&["qda_lifetime", "-t", "process_that_never_ends"]),
    ),
    observed(
        "O14",
        "banks that go while files are open",
        other(&["qda_unbind", "-t", "with_open_files"]),
    ),
    observed(
        "O15",
        "files opened while a device comes and goes",
        other(&["fastrpc_nodes", "-t", "come_and_go"]),
    ),
    observed(
        "O16",
        "the heap of a caller that was interrupted",
        How::Test(OWN),
    ),
    observed(
        "O17",
        "calls that a signal makes the kernel send twice",
        other(&["qda_signals", "-t", "storm_of_signals"]),
    ),
    observed(
        "O18",
        "statuses taken for an interruption",
        other(&["qda_invoke", "-t", "restart_codes"]),
    ),
    observed(
        "O19",
        "memory freed that the DSP was too slow to take",
        How::Test(OWN),
    ),
    observed(
        "O20",
        "a second process of one file",
        other(&["qda_session", "-t", "second_create"]),
    ),
    observed(
        "O21",
        "flags of descriptors, pointers into other mappings",
        How::Test(OWN),
    ),
];
