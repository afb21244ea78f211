// SPDX-License-Identifier: GPL-2.0

//! The boards of this repository, compiled with QEMU's own tree, say what they are meant to say.

use std::collections::BTreeSet;
use std::path::Path;

use simdsp::board::Board;
use simdsp::board::Place;
use simdsp::board::Region;
use simdsp::machine::compile_board;
use simdsp::qemu::Hardware;

/// Needs qemu-system-aarch64 and dtc, as all of the simulator does.
fn load(name: &str) -> Board {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../boards")
        .join(name);
    compile_board(&Hardware::default(), &path).unwrap()
}

/// A bank: number and stream ids.
type Bank = (Option<u32>, Vec<u32>);
/// A DSP: label and banks.
type Shape = (Option<String>, Vec<Bank>);

fn shape(board: &Board) -> Vec<Shape> {
    let dsps = board.edges.iter().flat_map(|e| &e.dsps);
    dsps.map(|d| {
        let banks = d.banks.iter().map(|b| (b.reg, b.sids.clone())).collect();
        (d.label.clone(), banks)
    })
    .collect()
}

fn bank(reg: u32, sids: &[u32]) -> Bank {
    (Some(reg), sids.to_vec())
}

fn dsp(label: &str, banks: &[Bank]) -> Shape {
    (Some(label.into()), banks.to_vec())
}

#[test]
fn cdsp() {
    let board = load("cdsp.dtsi");
    assert_eq!(board.smmu.base, 0x905_0000);
    let banks = [bank(1, &[0x1401]), bank(2, &[0x1402]), bank(3, &[0x1403])];
    assert_eq!(shape(&board), [dsp("cdsp", &banks)]);
    let node = &board.edges[0].dsps[0];
    assert!(node.non_secure && node.sid_pos == 32);
    assert!(node.banks.iter().all(|b| b.coherent));
}

/// Both tiers have the same DSPs.
#[test]
fn two_dsps() {
    for name in ["two-dsp.dtsi", "two-dsp-smem.dtsi"] {
        is_two_dsps(&load(name));
    }
    let smem = load("two-dsp-smem.dtsi");
    let hosts: Vec<_> = smem.edges.iter().map(|e| e.place).collect();
    assert!(
        matches!(
            hosts[..],
            [Place::Smem { host: 5, .. }, Place::Smem { host: 2, .. }]
        ),
        "{hosts:?}"
    );
}

/// Whether all banks, or none of them, see the caches of the CPUs.
fn is_coherent(board: &Board) -> bool {
    let dsps = board.edges.iter().flat_map(|e| &e.dsps);
    let all: BTreeSet<bool> = dsps
        .flat_map(|d| &d.banks)
        .map(|bank| bank.coherent)
        .collect();
    assert_eq!(all.len(), 1);
    all.contains(&true)
}

/// The boards of the benchmark differ in whether the DSPs see the caches of the CPUs.
#[test]
fn bench() {
    let (bench, other) = (load("bench.dtsi"), load("bench-noncoherent.dtsi"));
    assert_eq!(shape(&bench), shape(&other));
    for (board, coherent) in [(bench, true), (other, false)] {
        let banks: Vec<_> = board.edges.iter().flat_map(|e| &e.dsps).collect();
        let banks: Vec<_> = banks.iter().flat_map(|d| &d.banks).collect();
        assert_eq!(banks.len(), 28);
        assert!(banks.iter().all(|b| b.coherent == coherent));
    }
}

/// Both kinds of boards are there; those named for a SoC are as the SoC's own device tree has it.
#[test]
fn coherent_or_not() {
    for name in [
        "two-dsp",
        "two-dsp-smem",
        "glymur",
        "kaanapali",
        "lemans",
        "sm8550",
        "sm8750",
        "talos",
    ] {
        assert!(is_coherent(&load(&format!("{name}.dtsi"))), "{name}");
    }
    for name in [
        "two-dsp-noncoherent",
        "clients-noncoherent",
        "sc8280xp",
        "sdm845",
        "sdm845-no-map",
    ] {
        assert!(!is_coherent(&load(&format!("{name}.dtsi"))), "{name}");
    }
    is_two_dsps(&load("two-dsp-noncoherent.dtsi"));
}

fn is_two_dsps(board: &Board) {
    let cdsp = [
        bank(1, &[0x1401]),
        bank(2, &[0x1402]),
        bank(3, &[0x1403]),
        bank(4, &[0x1404, 0x1424]),
    ];
    let adsp = [bank(3, &[0x1003]), bank(4, &[0x1004]), bank(5, &[0x1005])];
    assert_eq!(shape(board), [dsp("cdsp", &cdsp), dsp("adsp", &adsp)]);
    let secure: Vec<bool> = board.edges.iter().map(|e| !e.dsps[0].non_secure).collect();
    assert_eq!(secure, [false, true]);
}

#[test]
fn kaanapali() {
    let board = load("kaanapali.dtsi");
    let node = &board.edges[0].dsps[0];
    assert_eq!(
        (node.compatible.as_str(), node.sid_pos),
        ("qcom,kaanapali-fastrpc", 56)
    );
    let numbers: Vec<_> = node.banks.iter().filter_map(|b| b.reg).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 12, 13]);
    assert!(node.banks.iter().all(|b| b.sids.len() >= 4));
}

#[test]
fn kaanapali_by_fallback() {
    let board = load("glymur.dtsi");
    for edge in &board.edges {
        let node = &edge.dsps[0];
        assert_eq!(
            (&*node.compatible, node.sid_pos),
            ("qcom,glymur-fastrpc", 56)
        );
        assert!(!node.non_secure);
    }
    let banks: Vec<_> = shape(&board).iter().map(|dsp| dsp.1.len()).collect();
    assert_eq!(banks, [6, 11]);
}

#[test]
fn many_streams() {
    let shape = shape(&load("sm8550.dtsi"));
    let [(_, banks)] = &shape[..] else { panic!() };
    assert_eq!(banks.len(), 8);
    assert_eq!(banks[0].1, [0x1961, 0x0c01, 0x0c21, 0x19c1, 0x19d1]);
}

#[test]
fn one_stream_in_two_banks() {
    let shape = shape(&load("sm8750.dtsi"));
    let [(_, banks)] = &shape[..] else { panic!() };
    let [.., thirteen, fourteen] = &banks[..] else {
        panic!()
    };
    assert_eq!((thirteen.0, fourteen.0), (Some(13), Some(14)));
    let common: Vec<_> = fourteen
        .1
        .iter()
        .filter(|id| thirteen.1.contains(id))
        .collect();
    assert_eq!(common, [&0x0c2e]);
}

#[test]
fn shared_banks() {
    let board = load("talos.dtsi");
    let adsp = &board.edges[1].dsps[0];
    let sessions: Vec<_> = adsp.banks.iter().map(|b| b.sessions).collect();
    assert_eq!(sessions, [1, 1, 1, 5]);

    let shape = shape(&load("sc8280xp.dtsi"));
    let [(_, banks)] = &shape[..] else { panic!() };
    assert_eq!(banks.len(), 14);
    assert_eq!(banks[8].1, banks[9].1);
}

#[test]
fn physical_banks() {
    for name in ["sdm845.dtsi", "sdm845-no-map.dtsi"] {
        let board = load(name);
        let labels: Vec<_> = board.edges.iter().map(|e| &*e.label).collect();
        assert_eq!(labels, ["adsp", "cdsp", "sdsp"]);
        let sdsp = &board.edges[2].dsps[0];
        assert_eq!((sdsp.banks[0].reg, sdsp.banks[0].sids.len()), (Some(0), 0));
        assert!(!sdsp.banks[0].coherent);
    }
}

#[test]
fn dsps_of_every_sort() {
    let shape = shape(&load("lemans.dtsi"));
    let dsps: Vec<_> = shape
        .iter()
        .map(|(label, banks)| (label.as_deref().unwrap(), banks.len()))
        .collect();
    let wanted = [
        ("cdsp", 10),
        ("cdsp1", 13),
        ("gdsp0", 3),
        ("gdsp1", 3),
        ("cdsp3", 2),
        ("mdsp", 2),
    ];
    assert_eq!(dsps, wanted);
}

#[test]
fn a_device_that_does_dma() {
    let board = load("referee.dtsi");
    assert_eq!(board.pci.edus, [0x28, 0x30]);
    let edges = board.edges.iter();
    let sids: Vec<_> = edges.map(|e| e.dsps[0].banks[0].sids[0]).collect();
    assert_eq!(sids, board.pci.edus);
}

#[test]
fn a_bank_without_smmu() {
    let board = load("no-iommu.dtsi");
    let banks = [bank(1, &[0x1401]), bank(2, &[])];
    assert_eq!(shape(&board), [dsp("cdsp", &banks)]);
}

#[test]
fn one_defect_each() {
    let shape = shape(&load("broken.dtsi"));
    let [nolabel, noreg, twice, none, large, healthy] = &shape[..] else {
        panic!("{shape:?}")
    };
    assert_eq!(nolabel.0, None);
    assert_eq!(noreg.1[0], (None, vec![0x1511]));
    assert_eq!(twice.1[0].0, twice.1[1].0);
    assert!(none.1.is_empty());
    assert_eq!(large.1, [bank(256, &[0x1531])]);
    assert_eq!(healthy.1.len(), 4);
    assert_eq!(healthy.1[3], bank(5, &[0x20000]));
}

/// Memory that only this edge uses.
fn own_memory(place: Place) -> Region {
    match place {
        Place::MessageRam(region) => region,
        Place::Smem { power, .. } => power,
    }
}

#[test]
fn every_dsp_with_a_daemon() {
    let board = load("clients.dtsi");
    let labels: Vec<_> = shape(&board).into_iter().map(|(label, _)| label).collect();
    assert_eq!(
        labels.iter().flatten().collect::<Vec<_>>(),
        ["cdsp", "adsp", "sdsp", "gdsp0"]
    );
}

/// No two nodes of any board share memory, an interrupt or, but for one, a stream id.
#[test]
fn nothing_is_shared() {
    let names = [
        "cdsp",
        "two-dsp",
        "two-dsp-noncoherent",
        "two-dsp-smem",
        "kaanapali",
        "glymur",
        "sm8550",
        "sm8750",
        "talos",
        "sdm845",
        "sdm845-no-map",
        "lemans",
        "sc8280xp",
        "referee",
        "no-iommu",
        "broken",
        "clients",
        "clients-noncoherent",
        "lent-heap",
        "el2",
    ];
    for name in names {
        let board = load(&format!("{name}.dtsi"));
        let mut regions: Vec<_> = board
            .edges
            .iter()
            .flat_map(|e| [own_memory(e.place), e.mailbox])
            .chain(board.smem)
            .collect();
        regions.sort_by_key(|r| r.base);
        for pair in regions.windows(2) {
            assert!(pair[0].base + pair[0].len <= pair[1].base, "{name}");
        }
        let (first, last) = (regions[0], regions[regions.len() - 1]);
        assert!(first.base >= 0x5fe0_0000 && last.base + last.len <= 0x6000_0000);
        let banks = || {
            board
                .edges
                .iter()
                .flat_map(|e| &e.dsps)
                .flat_map(|d| &d.banks)
        };
        let sids: Vec<u32> = banks().flat_map(|b| b.sids.clone()).collect();
        let unique: BTreeSet<u32> = sids.iter().copied().collect();
        let shared = match name {
            "sc8280xp" => 4,
            "sm8750" => 1,
            _ => 0,
        };
        assert_eq!(unique.len(), sids.len() - shared, "{name}");
        let is_large = sids.iter().any(|s| *s >= 0x1_0000);
        assert_eq!(is_large, name == "broken", "QEMU knows 16 bits");
    }
}
