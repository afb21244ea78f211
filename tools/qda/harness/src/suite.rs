// SPDX-License-Identifier: GPL-2.0

//! The suites: what each runs, on which kernel and board.

use crate::debug;
use simdsp::strict::Profile;

/// One boot of the guest.
#[derive(Debug, Clone)]
pub struct Boot {
    /// Which kernel and file system: the name of a configuration.
    pub kernel: &'static str,
    /// Name of a file in `tools/qda/boards/`.
    pub board: &'static str,
    /// Script in the guest's `/suites`.
    pub script: &'static str,
    /// Whose driver it runs.
    pub profile: Profile,
    /// Its arguments.
    pub args: &'static [&'static str],
    /// More words for the kernel's command line.
    pub append: &'static str,
    /// More arguments for QEMU.
    pub qemu: &'static [&'static str],
    /// RAM of the machine, in MiB.
    pub memory: u32,
    /// Seconds after which the guest is taken for stuck.
    pub limit: u64,
    /// Whether it is part of a brief run, as the first boot of each suite is.
    pub brief: bool,
    /// Whether results of KUnit are wanted from the kernel's log.
    pub kunit: bool,
    /// Put before the names of the tests, where a suite has several boots.
    pub prefix: &'static str,
    /// What failures have to say, where a mistake is planted. None is wanted elsewhere.
    pub canary: &'static [&'static str],
}

impl Boot {
    /// Whether a mistake is planted in it.
    pub fn is_canary(&self) -> bool {
        !self.canary.is_empty()
    }
}

/// A boot with nothing special.
const PLAIN: Boot = Boot {
    kernel: "normal",
    board: "two-dsp",
    script: "",
    profile: Profile::Qda,
    args: &[],
    append: "",
    qemu: &[],
    memory: 512,
    limit: 120,
    brief: false,
    kunit: false,
    prefix: "",
    canary: &[],
};

/// A boot with a planted mistake, which its argument names.
const CANARY: Boot = Boot {
    kernel: debug::KERNEL,
    script: "canary",
    ..PLAIN
};

/// Memory that reaches beyond 4 GiB: it begins at 1 GiB. The host has to have what the guest uses.
const LARGE: u32 = 5120;

/// A GPU, which the driver `virtio_gpu` binds.
const GPU: &[&str] = &["-device", "virtio-gpu-pci"];

/// A boot with buffers that model caches.
const CACHES: Boot = Boot {
    script: "caches",
    limit: 420,
    ..PLAIN
};

/// A boot with buffers that come and go; its arguments are those of the suite "caches".
const BUFFERS: Boot = Boot {
    script: "caches",
    memory: 1024,
    limit: 900,
    ..PLAIN
};

/// A boot that tries one board; `args` are its DSPs, and the kselftests to run.
const BOARD: Boot = Boot {
    script: "board",
    limit: 240,
    ..PLAIN
};

/// A boot with both FastRPC drivers built in.
const BUILTIN: Boot = Boot {
    kernel: "builtin",
    board: "two-dsp-smem",
    script: "sidebyside",
    limit: 300,
    ..PLAIN
};

/// A boot that asks who may do what.
const PRIVILEGES: Boot = Boot {
    script: "tests",
    args: &["2", "qda_privileges"],
    ..PLAIN
};

/// A boot in which allocations and copies fail.
const FAULTS: Boot = Boot {
    kernel: debug::KERNEL,
    board: "pds",
    script: "tests",
    args: &[
        "2",
        "qda_faultinject",
        "qda_faultinject_submit",
        "fastrpc_faultinject",
    ],
    // It would switch itself off when allocations of its own fail.
    append: "dma_debug=off",
    limit: 300,
    ..PLAIN
};

/// The boots that prove isolation: by the simulator's word, and by QEMU's.
pub const ISOLATION: [Boot; 5] = [
    Boot {
        board: "sm8550",
        script: "isolation",
        limit: 600,
        prefix: "sm8550: ",
        ..PLAIN
    },
    // A bank for five sessions.
    Boot {
        board: "talos",
        script: "isolation-matrix",
        args: &["2", "adsp"],
        limit: 300,
        prefix: "talos: ",
        ..PLAIN
    },
    // Two banks with one stream id.
    Boot {
        board: "sc8280xp",
        script: "isolation-matrix",
        args: &["1", "cdsp"],
        limit: 600,
        prefix: "sc8280xp: ",
        ..PLAIN
    },
    // What is said to be lazy, or not translated at all, is strict for banks.
    Boot {
        board: "referee",
        script: "isolation-referee",
        append: "iommu.strict=0",
        limit: 300,
        prefix: "referee: ",
        ..PLAIN
    },
    Boot {
        board: "referee",
        script: "isolation-referee",
        append: "iommu.passthrough=1",
        limit: 300,
        prefix: "referee, passthrough: ",
        ..PLAIN
    },
];

/// The boots with a planted mistake each, and how the kernel has to report it.
const CANARIES: [Boot; 8] = [
    Boot {
        args: &["use_after_free"],
        canary: &["BUG: KASAN: slab-use-after-free in use_after_free"],
        prefix: "use after free: ",
        ..CANARY
    },
    Boot {
        args: &["leak"],
        canary: &["new suspected memory leaks", "leak+0x"],
        prefix: "leak: ",
        ..CANARY
    },
    Boot {
        args: &["sleep"],
        canary: &["BUG: sleeping function called from invalid context"],
        prefix: "sleep in atomic context: ",
        ..CANARY
    },
    Boot {
        args: &["deadlock"],
        canary: &["WARNING: possible circular locking dependency detected"],
        prefix: "deadlock: ",
        ..CANARY
    },
    Boot {
        args: &["rcu"],
        canary: &["WARNING: suspicious RCU usage"],
        prefix: "RCU: ",
        ..CANARY
    },
    Boot {
        args: &["dma"],
        canary: &["DMA-API: "],
        prefix: "DMA API: ",
        ..CANARY
    },
    Boot {
        args: &["shift"],
        canary: &["UBSAN: shift-out-of-bounds"],
        prefix: "undefined behaviour: ",
        ..CANARY
    },
    Boot {
        args: &["overflow"],
        canary: &["rust_kernel: panicked at qda_canary_rust.rs"],
        prefix: "overflow in Rust: ",
        ..CANARY
    },
];

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

/// All suites: what the later ones rest on comes first. [`crate::pool`] runs long ones earlier.
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
                profile: Profile::Fastrpc,
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
                profile: Profile::Fastrpc,
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "nodes",
        about: "/dev/fastrpc-*: the ioctls of fastrpc.ko, and what is the driver's own",
        what: What::Guest(&[
            Boot {
                script: "nodes",
                args: &["2", "reference"],
                limit: 180,
                ..PLAIN
            },
            Boot {
                board: "two-dsp-noncoherent",
                script: "nodes",
                args: &["2", "reference"],
                limit: 180,
                prefix: "non-coherent: ",
                ..PLAIN
            },
            Boot {
                board: "clients",
                script: "nodes",
                args: &["4", "fastrpc_nodes", "fastrpc_signals"],
                limit: 180,
                prefix: "secure: ",
                ..PLAIN
            },
            Boot {
                board: "pds-smem",
                script: "nodes",
                args: &["2", "fastrpc_nodes", "fastrpc_signals"],
                limit: 240,
                prefix: "smem: ",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "published",
        about: "both published states of the FastRPC library on the accel devices",
        what: What::Guest(&[
            Boot {
                script: "published",
                args: &["2"],
                limit: 300,
                ..PLAIN
            },
            Boot {
                board: "two-dsp-noncoherent",
                script: "published",
                args: &["2"],
                limit: 300,
                prefix: "non-coherent: ",
                ..PLAIN
            },
            Boot {
                board: "two-dsp-smem",
                script: "published",
                args: &["2"],
                limit: 300,
                prefix: "smem: ",
                ..PLAIN
            },
            Boot {
                board: "clients",
                script: "published",
                args: &["4", "secure"],
                prefix: "secure: ",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "docs",
        about: "the examples of the documentation, on both drivers",
        what: What::Guest(&[
            Boot {
                board: "pds",
                script: "docs",
                profile: Profile::Fastrpc,
                args: &["fastrpc"],
                limit: 180,
                prefix: "fastrpc.ko: ",
                ..PLAIN
            },
            Boot {
                board: "pds",
                script: "docs",
                args: &["qda"],
                limit: 180,
                prefix: "qda: ",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "clients",
        about: "Debian's programs and library, unmodified",
        what: What::Guest(&[
            Boot {
                board: "clients",
                script: "clients",
                profile: Profile::Fastrpc,
                args: &["fastrpc"],
                limit: 300,
                prefix: "fastrpc.ko: ",
                ..PLAIN
            },
            Boot {
                board: "kaanapali",
                script: "clients-poll",
                profile: Profile::Fastrpc,
                args: &["fastrpc"],
                prefix: "fastrpc.ko: ",
                ..PLAIN
            },
            Boot {
                board: "clients",
                script: "clients",
                args: &["qda"],
                limit: 300,
                prefix: "qda: ",
                ..PLAIN
            },
            Boot {
                board: "kaanapali",
                script: "clients-poll",
                args: &["qda"],
                prefix: "qda: ",
                ..PLAIN
            },
            Boot {
                board: "clients-noncoherent",
                script: "clients",
                profile: Profile::Fastrpc,
                args: &["fastrpc"],
                limit: 300,
                prefix: "fastrpc.ko, non-coherent: ",
                ..PLAIN
            },
            Boot {
                board: "clients-noncoherent",
                script: "clients",
                args: &["qda"],
                limit: 300,
                prefix: "qda, non-coherent: ",
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
        name: "gem",
        about: "buffers: where their memory comes from, how much, and how the DSP uses them",
        what: What::Guest(&[
            Boot {
                script: "tests",
                args: &["2", "qda_gem", "qda_memory", "qda_pressure"],
                limit: 240,
                ..PLAIN
            },
            Boot {
                board: "two-dsp-noncoherent",
                script: "tests",
                args: &["2", "qda_gem", "qda_memory", "qda_pressure"],
                limit: 240,
                prefix: "non-coherent: ",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "prime",
        about: "buffers from and to elsewhere, by dma-buf",
        what: What::Guest(&[
            Boot {
                script: "tests",
                args: &["2", "qda_prime"],
                ..PLAIN
            },
            Boot {
                board: "two-dsp-noncoherent",
                script: "tests",
                args: &["2", "qda_prime"],
                prefix: "non-coherent: ",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "map",
        about: "memory that stays with the DSP process: maps, heap, handle arguments",
        what: What::Guest(&[
            Boot {
                script: "tests",
                args: &["2", "qda_map"],
                ..PLAIN
            },
            Boot {
                board: "two-dsp-noncoherent",
                script: "tests",
                args: &["2", "qda_map"],
                prefix: "non-coherent: ",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "caches",
        about: "the CPU and the DSP see what the other one writes, without coherent caches",
        what: What::Guest(&[
            Boot {
                board: "sdm845",
                args: &[
                    "qda",
                    "3",
                    "qda_caches",
                    "qda_cleaned",
                    "qda_exporters",
                    "fastrpc_caches",
                ],
                ..CACHES
            },
            Boot {
                board: "two-dsp-noncoherent-smem",
                args: &[
                    "qda",
                    "2",
                    "qda_caches",
                    "qda_cleaned",
                    "qda_exporters",
                    "fastrpc_caches",
                ],
                prefix: "smem: ",
                ..CACHES
            },
            Boot {
                args: &[
                    "qda",
                    "2",
                    "qda_caches",
                    "qda_cleaned",
                    "qda_exporters",
                    "fastrpc_caches",
                ],
                prefix: "coherent: ",
                ..CACHES
            },
            Boot {
                board: "sdm845",
                profile: Profile::Fastrpc,
                args: &["fastrpc", "fastrpc_caches"],
                prefix: "fastrpc.ko: ",
                ..CACHES
            },
        ]),
    },
    Suite {
        name: "buffers",
        about: "dma-bufs that come and go: addresses, memory and numbers are there again",
        what: What::Guest(&[
            Boot {
                args: &[
                    "qda",
                    "2",
                    "buffers-node",
                    "buffers-accel-brief",
                    "buffers-handle",
                    "qda_numbers",
                ],
                ..BUFFERS
            },
            Boot {
                board: "sdm845",
                args: &["qda", "3", "buffers-node-brief"],
                prefix: "sdm845: ",
                ..BUFFERS
            },
            Boot {
                profile: Profile::Fastrpc,
                args: &["fastrpc", "buffers-node"],
                prefix: "fastrpc.ko: ",
                ..BUFFERS
            },
        ]),
    },
    Suite {
        name: "pds",
        about: "DSP processes of every kind, capabilities, poll mode, over both transports",
        what: What::Guest(&[
            Boot {
                board: "pds",
                script: "pds",
                limit: 300,
                ..PLAIN
            },
            Boot {
                board: "pds-smem",
                script: "pds",
                limit: 300,
                prefix: "smem: ",
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
        name: "reserved",
        about: "memory that is reserved for a DSP: whose it is, and when it changes hands",
        what: What::Guest(&[
            Boot {
                board: "lent-heap",
                script: "tests",
                args: &["2", "qda_reserved"],
                limit: 300,
                prefix: "lent: ",
                ..PLAIN
            },
            Boot {
                board: "el2",
                script: "tests",
                args: &["2", "qda_reserved"],
                prefix: "el2: ",
                ..PLAIN
            },
            Boot {
                board: "lent-heap",
                script: "tests",
                args: &["2", "qda_pds"],
                limit: 300,
                prefix: "processes: ",
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
                prefix: "secure: ",
                ..PRIVILEGES
            },
            Boot {
                prefix: "non-secure: ",
                ..PRIVILEGES
            },
            Boot {
                board: "pds-smem",
                prefix: "smem: ",
                ..PRIVILEGES
            },
            // An SDSP, which is not secure, and a GDSP.
            Boot {
                board: "clients",
                args: &["4", "qda_privileges"],
                prefix: "sdsp: ",
                ..PRIVILEGES
            },
            // An MDSP, secure as all others.
            Boot {
                board: "lemans",
                args: &["6", "qda_privileges"],
                prefix: "mdsp: ",
                ..PRIVILEGES
            },
        ]),
    },
    Suite {
        name: "signals",
        about: "programs that are stopped, frozen, traced, signalled and ended",
        what: What::Guest(&[
            Boot {
                script: "signals",
                limit: 420,
                ..PLAIN
            },
            Boot {
                board: "two-dsp-smem",
                script: "signals",
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
            // First, and so part of a brief run: DSPs with remote processors, which can be stopped.
            Boot {
                board: "two-dsp-smem",
                script: "restart",
                qemu: GPU,
                limit: 300,
                prefix: "smem: ",
                ..PLAIN
            },
            Boot {
                script: "restart",
                qemu: GPU,
                limit: 300,
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "submit",
        about: "calls for which no thread waits, over both transports",
        what: What::Guest(&[
            Boot {
                script: "submit",
                limit: 420,
                ..PLAIN
            },
            Boot {
                board: "two-dsp-smem",
                script: "submit",
                limit: 420,
                prefix: "smem: ",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "hostile",
        about: "a DSP that answers, writes and says whatever it can, over both transports",
        what: What::Guest(&[
            // First, and so part of a brief run: DSPs with remote processors, which can be stopped.
            Boot {
                board: "two-dsp-smem",
                script: "hostile",
                limit: 600,
                prefix: "smem: ",
                ..PLAIN
            },
            Boot {
                script: "hostile",
                limit: 600,
                ..PLAIN
            },
            // DSPs that can be polled.
            Boot {
                board: "kaanapali",
                script: "tests",
                args: &["1", "qda_hostile", "qda_hostile_memory", "qda_dsp_death"],
                limit: 600,
                prefix: "kaanapali: ",
                ..PLAIN
            },
        ]),
    },
    Suite {
        name: "sidebyside",
        about: "fastrpc.ko beside the driver, as modules and built in",
        what: What::Guest(&[
            Boot {
                board: "two-dsp-smem",
                script: "sidebyside",
                args: &["modules"],
                limit: 420,
                ..PLAIN
            },
            Boot {
                args: &["builtin", "fastrpc", "fastrpc"],
                prefix: "built in: ",
                ..BUILTIN
            },
            Boot {
                args: &["builtin", "qda", "fastrpc"],
                append: "qda.domains=0x8",
                prefix: "built in, domains=0x8: ",
                ..BUILTIN
            },
        ]),
    },
    Suite {
        name: "compat32",
        about: "32-bit programs, by /dev/fastrpc-* and /dev/accel",
        what: What::Guest(&[
            Boot {
                script: "compat32",
                args: &[
                    "2",
                    "reference",
                    "qda_basic",
                    "qda_session",
                    "qda_invoke",
                    "qda_call",
                    "qda_map",
                    "qda_gem",
                    "qda_bad_input",
                ],
                limit: 420,
                ..PLAIN
            },
            Boot {
                board: "clients",
                script: "compat32",
                args: &["4", "fastrpc_nodes"],
                prefix: "secure: ",
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
        name: "banks",
        about: "context banks as SoCs have them, broken nodes, bypassed SMMU",
        what: What::Guest(&[
            Boot {
                script: "tests",
                args: &["2", "qda_banks"],
                limit: 240,
                ..PLAIN
            },
            Boot {
                board: "sm8550",
                args: &["cdsp", "qda_memory", "qda_invoke"],
                prefix: "sm8550: ",
                ..BOARD
            },
            // A bank that has some of another's streams is left out.
            Boot {
                board: "sm8750",
                args: &["cdsp-14", "qda_banks"],
                prefix: "sm8750: ",
                ..BOARD
            },
            Boot {
                board: "kaanapali",
                args: &["cdsp", "qda_memory", "qda_invoke", "qda_gem", "qda_map"],
                prefix: "kaanapali: ",
                ..BOARD
            },
            Boot {
                board: "glymur",
                args: &["adsp+cdsp"],
                prefix: "glymur: ",
                ..BOARD
            },
            Boot {
                board: "talos",
                args: &["cdsp+adsp"],
                prefix: "talos: ",
                ..BOARD
            },
            Boot {
                board: "sdm845",
                args: &[
                    "adsp+cdsp+sdsp",
                    "qda_memory",
                    "qda_invoke",
                    "qda_gem",
                    "qda_pool",
                ],
                prefix: "sdm845: ",
                ..BOARD
            },
            Boot {
                board: "sdm845-no-map",
                args: &["adsp+cdsp+sdsp", "qda_pool"],
                prefix: "sdm845-no-map: ",
                ..BOARD
            },
            Boot {
                board: "lemans",
                args: &["cdsp+cdsp1+cdsp3+gdsp0+gdsp1+mdsp"],
                prefix: "lemans: ",
                ..BOARD
            },
            Boot {
                board: "sc8280xp",
                args: &["cdsp", "qda_memory", "qda_invoke", "qda_gem"],
                prefix: "sc8280xp: ",
                ..BOARD
            },
            Boot {
                board: "no-iommu",
                args: &["cdsp", "qda_invoke", "qda_map", "qda_pool"],
                prefix: "no-iommu: ",
                ..BOARD
            },
            Boot {
                board: "broken",
                script: "broken",
                prefix: "broken: ",
                ..PLAIN
            },
            // Memory on both sides of 4 GiB, of which the DSPs have addresses of 32 bits, of 34, or
            // none but the memory's own.
            Boot {
                memory: LARGE,
                args: &["cdsp+adsp", "qda_memory", "qda_map", "qda_prime"],
                prefix: "above 4 GiB: ",
                ..BOARD
            },
            Boot {
                board: "kaanapali",
                memory: LARGE,
                args: &["cdsp", "qda_memory", "qda_map"],
                prefix: "kaanapali, above 4 GiB: ",
                ..BOARD
            },
            Boot {
                board: "no-iommu",
                memory: LARGE,
                args: &["cdsp", "qda_pool"],
                prefix: "no-iommu, above 4 GiB: ",
                ..BOARD
            },
            // Banks are translated none the less.
            Boot {
                args: &["cdsp+adsp", "qda_isolation", "qda_banks"],
                append: "iommu.passthrough=1",
                prefix: "passthrough: ",
                ..BOARD
            },
        ]),
    },
    Suite {
        name: "isolation",
        about: "what a DSP process can reach; few kills, `make isolation` has more",
        what: What::Guest(&ISOLATION),
    },
    Suite {
        name: "catalogue",
        about: "bugs that FastRPC drivers have had; `make catalogue` tries both drivers",
        what: What::Guest(&[
            Boot {
                args: &[
                    "qda", "P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P11", "P12",
                    "P13", "P14", "P16", "P17", "P19", "P20", "P22", "P23", "P25", "P27", "O3",
                    "O4", "O6", "O7", "O8", "O9", "O10", "O11", "O16", "O19", "O21",
                ],
                limit: 600,
                ..CATALOGUE
            },
            Boot {
                board: "pds",
                args: &["qda", "P15", "P21"],
                prefix: "pds: ",
                ..CATALOGUE
            },
            Boot {
                board: "many-sessions",
                args: &["qda", "P10"],
                prefix: "many-sessions: ",
                ..CATALOGUE
            },
            Boot {
                board: "no-iommu",
                args: &["qda", "P26"],
                prefix: "no-iommu: ",
                ..CATALOGUE
            },
        ]),
    },
    Suite {
        name: "page64k",
        about: "a kernel with 64 KiB pages; only `make page64k` runs it",
        what: What::Guest(&[Boot {
            kernel: "page64k",
            script: "page64k",
            limit: 240,
            ..PLAIN
        }]),
    },
    Suite {
        name: "hot-path",
        about: "a call that is one of many allocates nothing and maps nothing",
        what: What::Guest(&[Boot {
            args: &["hot-path"],
            ..COUNTS
        }]),
    },
    Suite {
        name: "bench-smoke",
        about: "a short run of the benchmark, whose results have to be right",
        what: What::Guest(&[
            Boot {
                args: &["smoke"],
                ..COUNTS
            },
            Boot {
                board: BENCH_INCOHERENT.board,
                args: &["smoke"],
                prefix: "non-coherent: ",
                ..COUNTS
            },
        ]),
    },
    Suite {
        name: "faultinject",
        about: "each allocation and each copy of each ioctl fails once, over both transports",
        what: What::Guest(&[
            FAULTS,
            Boot {
                board: "pds-smem",
                prefix: "smem: ",
                ..FAULTS
            },
            // The caches of pages are cleaned here.
            Boot {
                board: "two-dsp-noncoherent",
                args: &[
                    "2",
                    "qda_faultinject+-v+buffer_create_wc+-v+mmap+-v+map+-v+call_buffer+-v+invoke_buffer",
                ],
                brief: true,
                prefix: "non-coherent: ",
                ..FAULTS
            },
        ]),
    },
    Suite {
        name: "canaries",
        about: "the debug kernel and this harness find planted mistakes",
        what: What::Guest(&CANARIES),
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

/// What the boots of the catalogue have in common. A kernel that is broken is to end at once.
pub const CATALOGUE: Boot = Boot {
    script: "catalogue",
    append: "oops=panic",
    limit: 180,
    ..PLAIN
};

/// The boots of `make socs`, but for the board and its DSPs.
pub const SOC: Boot = Boot {
    script: "soc",
    limit: 300,
    ..PLAIN
};

/// The boot of `make soak`.
pub const SOAK: Boot = Boot {
    kernel: "debug",
    board: "two-dsp-smem",
    script: "soak",
    ..PLAIN
};

/// The boots that count, on a kernel that is there anyway: its checks take time, and allocate
/// nothing.
const COUNTS: Boot = Boot {
    kernel: PLAIN.kernel,
    limit: 300,
    ..BENCH
};

/// The boots of `make bench`.
pub const BENCH: Boot = Boot {
    kernel: "bench",
    board: "bench",
    script: "bench",
    limit: 1500,
    ..PLAIN
};

/// Those of its rows that are about caches.
pub const BENCH_INCOHERENT: Boot = Boot {
    board: "bench-noncoherent",
    ..BENCH
};

/// The boot of `make demo`.
pub const DEMO: Boot = Boot {
    board: "cdsp",
    script: "demo",
    ..PLAIN
};

/// The boot of `make shell`.
pub const SHELL: Boot = Boot {
    board: "clients",
    script: "shell",
    limit: u64::MAX,
    ..PLAIN
};
