// SPDX-License-Identifier: GPL-2.0

//! The suites: what each runs, on which kernel and board.

/// One boot of the guest.
#[derive(Debug, Clone)]
pub struct Boot {
    /// Which kernel and file system: the name of a configuration.
    pub kernel: &'static str,
    /// Name of a file in `tools/qda/boards/`.
    pub board: &'static str,
    /// Script in the guest's `/suites`.
    pub script: &'static str,
    /// Its arguments.
    pub args: &'static [&'static str],
    /// More words for the kernel's command line.
    pub append: &'static str,
    /// More arguments for QEMU.
    pub qemu: &'static [&'static str],
    /// Seconds after which the guest is taken for stuck.
    pub limit: u64,
    /// Whether results of KUnit are wanted from the kernel's log.
    pub kunit: bool,
    /// Put before the names of the tests, where a suite has several boots.
    pub prefix: &'static str,
}

/// A boot with nothing special.
const PLAIN: Boot = Boot {
    kernel: "normal",
    board: "two-dsp",
    script: "",
    args: &[],
    append: "",
    qemu: &[],
    limit: 120,
    kunit: false,
    prefix: "",
};

/// A GPU, which the driver `virtio_gpu` binds.
const GPU: &[&str] = &["-device", "virtio-gpu-pci"];

/// What a suite runs.
#[derive(Debug, Clone)]
pub enum What {
    /// `cargo test` with these arguments, on the host.
    Cargo(&'static [&'static str]),
    /// Boots of the guest, one after the other.
    Guest(&'static [Boot]),
}

/// A suite of tests.
#[derive(Debug, Clone)]
pub struct Suite {
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    pub what: What,
}

/// All suites, in the order in which they run: what the later ones rest on comes first.
pub const SUITES: &[Suite] = &[
    Suite {
        name: "host-simdsp",
        about: "the simulator and this harness, on the host",
        what: What::Cargo(&["-p", "simdsp", "-p", "qda-harness"]),
    },
    Suite {
        name: "host-core",
        about: "the driver's pure parts, on the host",
        what: What::Cargo(&["-p", "qda-core"]),
    },
    Suite {
        name: "reference",
        about: "the simulator against fastrpc.ko and hexagonrpcd",
        what: What::Guest(&[
            Boot {
                script: "reference",
                limit: 300,
                ..PLAIN
            },
            Boot {
                board: "two-dsp-smem",
                script: "reference",
                limit: 300,
                prefix: "smem: ",
                ..PLAIN
            },
            Boot {
                board: "pds",
                script: "reference-static",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "kunit",
        about: "KUnit of the driver and of the Rust abstractions",
        what: What::Guest(&[Boot {
            script: "kunit",
            append: "kunit.enable=1 kunit.autorun=1",
            kunit: true,
            ..PLAIN
        }]),
    },
    Suite {
        name: "e2e",
        about: "the driver's kselftests on a board with two DSPs, over both transports",
        what: What::Guest(&[
            Boot {
                script: "e2e",
                limit: 420,
                ..PLAIN
            },
            Boot {
                board: "two-dsp-smem",
                script: "e2e",
                limit: 420,
                prefix: "smem: ",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "map",
        about: "memory that stays with the DSP process: maps, heap, handle arguments",
        what: What::Guest(&[Boot {
            script: "tests",
            args: &["2", "qda_map"],
            ..PLAIN
        }]),
    },
    Suite {
        name: "pds",
        about: "DSP processes of every kind, capabilities, poll mode",
        what: What::Guest(&[
            Boot {
                board: "pds",
                script: "pds",
                limit: 300,
                ..PLAIN
            },
            Boot {
                script: "pds-plain",
                prefix: "plain: ",
                limit: 180,
                ..PLAIN
            },
            Boot {
                board: "kaanapali",
                script: "poll",
                prefix: "kaanapali: ",
                limit: 180,
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "privileges",
        about: "who may do what: root, users, a user namespace",
        what: What::Guest(&[
            Boot {
                board: "pds",
                script: "privileges",
                prefix: "secure: ",
                ..PLAIN
            },
            Boot {
                script: "privileges",
                prefix: "non-secure: ",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "signals",
        about: "programs that are stopped, frozen, traced, signalled and ended",
        what: What::Guest(&[
            Boot {
                script: "signals",
                args: &["2000"],
                limit: 420,
                ..PLAIN
            },
            Boot {
                board: "two-dsp-smem",
                script: "signals",
                args: &["2000"],
                limit: 420,
                prefix: "smem: ",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "restart",
        about: "DSPs that restart while they are in use, over both transports",
        what: What::Guest(&[
            Boot {
                script: "restart",
                qemu: GPU,
                limit: 300,
                ..PLAIN
            },
            Boot {
                board: "two-dsp-smem",
                script: "restart",
                qemu: GPU,
                limit: 300,
                prefix: "smem: ",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "udev",
        about: "the udev rules, with Debian's udev",
        what: What::Guest(&[Boot {
            board: "two-dsp-smem",
            script: "udev",
            ..PLAIN
        }]),
    },
    Suite {
        name: "boards",
        about: "other boards: Kaanapali, no IOMMU, broken nodes, bypassed SMMU",
        what: What::Guest(&[
            Boot {
                board: "kaanapali",
                script: "kaanapali",
                prefix: "kaanapali: ",
                ..PLAIN
            },
            Boot {
                board: "no-iommu",
                script: "no-iommu",
                prefix: "no-iommu: ",
                ..PLAIN
            },
            Boot {
                board: "broken",
                script: "broken",
                prefix: "broken: ",
                ..PLAIN
            },
            Boot {
                script: "passthrough",
                append: "iommu.passthrough=1",
                prefix: "passthrough: ",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "page64k",
        about: "a kernel with 64 KiB pages",
        what: What::Guest(&[Boot {
            kernel: "page64k",
            script: "page64k",
            limit: 240,
            ..PLAIN
        }]),
    },
    Suite {
        name: "demo-smoke",
        about: "the sample, as `make demo` runs it",
        what: What::Guest(&[Boot {
            board: "cdsp",
            script: "demo-smoke",
            args: &["42"],
            ..PLAIN
        }]),
    },
];

/// The boot of `make demo`.
pub const DEMO: Boot = Boot {
    board: "cdsp",
    script: "demo",
    ..PLAIN
};

/// The boot of `make shell`.
pub const SHELL: Boot = Boot {
    board: "cdsp",
    script: "shell",
    limit: u64::MAX,
    ..PLAIN
};
