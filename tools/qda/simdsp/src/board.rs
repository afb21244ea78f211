// SPDX-License-Identifier: GPL-2.0

//! The board: QEMU's own device tree plus the nodes of a `.dtsi`, and what it says about the DSPs.
//!
//! The `.dtsi` is the one place where stream ids, message RAM and interrupts are written down. It
//! is appended to the tree that QEMU prints for the same machine (labels `smmu`, `intc` and `pcie`
//! stand on QEMU's nodes), compiled with dtc, given to the guest, and read back here. What boards
//! have in common they `/include/` from the directory that they stand in. Boards that a driver must
//! refuse (no label, no or equal `reg`, no banks) are read without complaint.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use anyhow::anyhow;
use anyhow::bail;
use anyhow::ensure;
use anyhow::Context;
use fdt::node::FdtNode;
use fdt::Fdt;

/// What a PCI node of QEMU's `edu` is compatible with: its vendor and device ids.
const EDU: &str = "pci1234,11e8";

/// A physical address range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub base: u64,
    /// Length in bytes.
    pub len: u64,
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}+{:#x}", self.base, self.len)
    }
}

/// A `qcom,fastrpc-compute-cb` node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BankNode {
    /// Node name.
    pub name: String,
    /// The bank number, if the node has one.
    pub reg: Option<u32>,
    /// Stream ids behind the SMMU; none: the bank's addresses are physical.
    pub sids: Vec<u32>,
    /// `qcom,nsessions`: how many clients may share the bank; 1 without it.
    pub sessions: u32,
    /// `dma-coherent`.
    pub coherent: bool,
}

/// A FastRPC node: one DSP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DspNode {
    /// `label`, e.g. `cdsp`.
    pub label: Option<String>,
    /// First compatible string; others may follow that it falls back to.
    pub compatible: String,
    /// rpmsg channel name.
    pub channel: String,
    /// Bit of an address at which the bank number stands: 32, or 56 on Kaanapali.
    pub sid_pos: u32,
    /// `qcom,non-secure-domain`.
    pub non_secure: bool,
    /// The first `memory-region`.
    pub reserved: Option<Region>,
    /// Stream ids of the remote processor itself; none: it is not behind the SMMU.
    pub processor: Vec<u32>,
    /// Its banks, in tree order.
    pub banks: Vec<BankNode>,
}

/// Where an edge has its FIFOs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `qcom,glink-rpm`: in a message RAM of its own; its channels have no intents.
    MessageRam(Region),
    /// `glink-edge` of a `sim,remoteproc`: in the board's SMEM; its channels have intents.
    Smem {
        /// Number of the remote processor in SMEM, `qcom,remote-pid`.
        host: u16,
        /// Registers by which the guest starts and stops the remote processor.
        power: Region,
    },
}

/// An edge: what leads to the DSPs of one remote processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Node name.
    pub name: String,
    /// `label`, or the node name without one.
    pub label: String,
    /// Where its FIFOs are.
    pub place: Place,
    /// Register page of the mailbox, which is plain RAM here.
    pub mailbox: Region,
    /// Shared peripheral interrupt, counted from 0: the input of the GIC with the same number.
    pub spi: u32,
    /// FastRPC nodes on the edge; normally one.
    pub dsps: Vec<DspNode>,
    /// Channels of `sim,floor` nodes, which only answer.
    pub floors: Vec<String>,
}

/// PCI functions of QEMU's `edu`, a device that does DMA, by their requester ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pci {
    /// Configuration space of all functions (ECAM).
    pub ecam: Region,
    /// Requester ids, which are the stream ids of their DMA.
    pub edus: Vec<u32>,
}

impl Pci {
    /// Arguments by which QEMU has the functions.
    pub fn qemu_args(&self) -> Vec<String> {
        let device = |rid: &u32| {
            let (slot, function) = (rid >> 3 & 0x1f, rid & 7);
            // Else it would cut addresses to 28 bits.
            let device = format!("edu,addr={slot:x}.{function},dma_mask=0xffffffffffffffff");
            ["-device".to_owned(), device]
        };
        self.edus.iter().flat_map(device).collect()
    }
}

/// A compiled board.
#[derive(Debug, Clone)]
pub struct Board {
    /// The flattened device tree.
    pub dtb: Vec<u8>,
    /// Register page of the SMMUv3.
    pub smmu: Region,
    /// The `qcom,smem` region, if there is one.
    pub smem: Option<Region>,
    /// Its PCI functions.
    pub pci: Pci,
    /// Edges in tree order.
    pub edges: Vec<Edge>,
}

impl Board {
    /// Appends the `.dtsi` text `nodes` to `qemu_dtb` (of `dumpdtb`) and reads the result. What the
    /// text includes is looked for in `dir`.
    ///
    /// # Errors
    ///
    /// dtc's message, or what [`Board::read`] misses.
    pub fn compile(qemu_dtb: &[u8], nodes: &str, dir: &Path) -> anyhow::Result<Self> {
        let source = run_dtc(&["-I", "dtb", "-O", "dts"], qemu_dtb)?;
        let source = String::from_utf8(source).context("dtc's output")?;
        let mut text = label_node(&source, "smmuv3@", "smmu")?;
        text = label_node(&text, "intc@", "intc")?;
        text = label_node(&text, "pcie@", "pcie")?;
        // Newer versions of QEMU say for the whole machine what each board is to say for its banks.
        text.push_str("\n/ { /delete-property/ dma-coherent; };\n");
        text.push_str(nodes);
        let dir = dir.to_str().context("name of the board's directory")?;
        let args = ["-I", "dts", "-O", "dtb", "-i", dir];
        Self::read(run_dtc(&args, text.as_bytes())?)
    }

    /// Reads a compiled tree.
    ///
    /// # Errors
    ///
    /// When the tree is malformed, or an edge lacks what the simulator itself needs: message RAM or
    /// SMEM, mailbox, interrupt.
    pub fn read(dtb: Vec<u8>) -> anyhow::Result<Self> {
        let tree = Fdt::new(&dtb).map_err(|e| anyhow!("device tree: {e}"))?;
        let smmu = tree
            .all_nodes()
            .find(|n| is_compatible(n, "arm,smmu-v3"))
            .context("device tree has no arm,smmu-v3 node (QEMU needs -M virt,iommu=smmuv3)")?;
        let smmu = region(&smmu)?;
        let host = tree
            .all_nodes()
            .find(|n| is_compatible(n, "pci-host-ecam-generic"))
            .context("device tree has no pci-host-ecam-generic node")?;
        let pci = Pci {
            ecam: region(&host)?,
            edus: host
                .children()
                .filter(|n| is_compatible(n, EDU))
                .filter_map(|n| {
                    cells(&n, "reg")?
                        .first()
                        .map(|address| address >> 8 & 0xffff)
                })
                .collect(),
        };
        let smem = tree
            .all_nodes()
            .find(|n| is_compatible(n, "qcom,smem"))
            .map(|n| region(&n))
            .transpose()?;
        let mut edges = Vec::new();
        for node in tree.all_nodes() {
            let edge = if is_compatible(&node, "qcom,glink-rpm") {
                read_rpm_edge(&tree, &node)
            } else if is_compatible(&node, "sim,remoteproc") {
                read_smem_edge(&tree, &node)
            } else {
                continue;
            };
            edges.push(edge.with_context(|| format!("node {}", node.name))?);
        }
        ensure!(
            !edges.is_empty(),
            "device tree has no qcom,glink-rpm or sim,remoteproc node"
        );
        for (i, edge) in edges.iter().enumerate() {
            for other in &edges[..i] {
                ensure!(
                    edge.spi != other.spi && !share(edge.place, other.place),
                    "edges {} and {} share an interrupt, message RAM or SMEM",
                    edge.name,
                    other.name
                );
            }
            ensure!(
                smem.is_some() || !matches!(edge.place, Place::Smem { .. }),
                "edge {} needs a qcom,smem node",
                edge.name
            );
        }
        Ok(Self {
            smmu,
            smem,
            pci,
            edges,
            dtb,
        })
    }

    /// Reads and compiles the `.dtsi` file at `path`.
    ///
    /// # Errors
    ///
    /// As [`Board::compile`], naming the file.
    pub fn load(qemu_dtb: &[u8], path: &Path) -> anyhow::Result<Self> {
        let nodes = std::fs::read_to_string(path)
            .with_context(|| format!("read board {}", path.display()))?;
        let dir = path.parent().unwrap_or(Path::new("."));
        Self::compile(qemu_dtb, &nodes, dir).with_context(|| format!("board {}", path.display()))
    }
}

/// Puts `label:` before the one node whose name starts with `prefix`.
fn label_node(source: &str, prefix: &str, label: &str) -> anyhow::Result<String> {
    let mut found = 0;
    let mut out = String::with_capacity(source.len() + 16);
    for line in source.lines() {
        let name = line.trim_start();
        if name.starts_with(prefix) && name.ends_with('{') {
            found += 1;
            out.push_str(&line[..line.len() - name.len()]);
            out.push_str(label);
            out.push_str(": ");
            out.push_str(name);
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    ensure!(
        found == 1,
        "QEMU's device tree has {found} nodes named {prefix}…"
    );
    Ok(out)
}

/// Runs dtc over `input`, quietly: QEMU's own tree gives dozens of warnings.
fn run_dtc(args: &[&str], input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut child = Command::new("dtc")
        .args(["-q", "-q"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run dtc (Debian package device-tree-compiler)")?;
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let out = child.wait_with_output().context("wait for dtc")?;
    let wrote = writer.join().expect("writer of dtc's input");
    if !out.status.success() {
        bail!("dtc: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    wrote.context("write to dtc")?;
    Ok(out.stdout)
}

fn is_compatible(node: &FdtNode<'_, '_>, name: &str) -> bool {
    node.compatible()
        .is_some_and(|c| c.all().any(|c| c == name))
}

fn is_available(node: &FdtNode<'_, '_>) -> bool {
    text(node, "status").is_none_or(|status| status == "okay" || status == "ok")
}

fn text(node: &FdtNode<'_, '_>, property: &str) -> Option<String> {
    let value = node.property(property)?.as_str()?;
    Some(value.trim_end_matches('\0').to_owned())
}

/// A property as big-endian cells.
fn cells(node: &FdtNode<'_, '_>, property: &str) -> Option<Vec<u32>> {
    let chunks = node.property(property)?.value.chunks_exact(4);
    if !chunks.remainder().is_empty() {
        return None;
    }
    let cell = |c: &[u8]| u32::from_be_bytes(c.try_into().expect("chunks of 4"));
    Some(chunks.map(cell).collect())
}

fn region(node: &FdtNode<'_, '_>) -> anyhow::Result<Region> {
    let reg = node
        .reg()
        .and_then(|mut r| r.next())
        .with_context(|| format!("node {} has no reg", node.name))?;
    Ok(Region {
        base: reg.starting_address as u64,
        len: reg.size.context("reg without a size")? as u64,
    })
}

fn target<'b, 'a>(
    tree: &'b Fdt<'a>,
    node: &FdtNode<'b, 'a>,
    property: &str,
) -> anyhow::Result<FdtNode<'b, 'a>> {
    let phandle = cells(node, property)
        .and_then(|c| c.first().copied())
        .with_context(|| format!("no {property}"))?;
    tree.find_phandle(phandle)
        .with_context(|| format!("{property} leads nowhere"))
}

/// Whether two edges would use the same memory.
fn share(one: Place, other: Place) -> bool {
    match (one, other) {
        (Place::MessageRam(a), Place::MessageRam(b)) => a.base == b.base,
        (Place::Smem { host, power }, Place::Smem { host: h, power: p }) => {
            host == h || power.base == p.base
        }
        _ => false,
    }
}

fn read_rpm_edge<'b, 'a>(tree: &'b Fdt<'a>, node: &FdtNode<'b, 'a>) -> anyhow::Result<Edge> {
    let ram = region(&target(tree, node, "qcom,rpm-msg-ram")?)?;
    read_edge(tree, node, Place::MessageRam(ram))
}

/// The edge below `node`, a remote processor.
fn read_smem_edge<'b, 'a>(tree: &'b Fdt<'a>, node: &FdtNode<'b, 'a>) -> anyhow::Result<Edge> {
    let power = region(node)?;
    let edge = node
        .children()
        .find(|n| n.name == "glink-edge")
        .context("no glink-edge")?;
    let host = cells(&edge, "qcom,remote-pid")
        .and_then(|c| c.first().copied())
        .context("no qcom,remote-pid")?;
    let host = u16::try_from(host).context("qcom,remote-pid")?;
    let mut edge = read_edge(tree, &edge, Place::Smem { host, power })?;
    for dsp in &mut edge.dsps {
        dsp.processor = stream_ids(tree, node);
    }
    Ok(Edge {
        name: node.name.to_owned(),
        ..edge
    })
}

fn read_edge<'b, 'a>(
    tree: &'b Fdt<'a>,
    node: &FdtNode<'b, 'a>,
    place: Place,
) -> anyhow::Result<Edge> {
    let interrupt = cells(node, "interrupts").context("no interrupts")?;
    let [0, spi, 1] = interrupt[..] else {
        bail!("interrupts must be one SPI, rising edge (0 N 1), not {interrupt:?}");
    };
    Ok(Edge {
        name: node.name.to_owned(),
        label: text(node, "label").unwrap_or_else(|| node.name.to_owned()),
        place,
        mailbox: region(&target(tree, node, "mboxes")?)?,
        spi,
        dsps: node.children().filter_map(|n| read_dsp(tree, &n)).collect(),
        floors: node
            .children()
            .filter(|n| is_compatible(n, "sim,floor"))
            .filter_map(|n| text(&n, "qcom,glink-channels"))
            .collect(),
    })
}

fn read_dsp<'b, 'a>(tree: &'b Fdt<'a>, node: &FdtNode<'b, 'a>) -> Option<DspNode> {
    let compatible = node.compatible()?.first().to_owned();
    // Later SoCs fall back to one of these.
    let sid_pos = node.compatible()?.all().find_map(|name| match name {
        "qcom,kaanapali-fastrpc" => Some(56),
        "qcom,fastrpc" => Some(32),
        _ => None,
    })?;
    Some(DspNode {
        label: text(node, "label"),
        channel: text(node, "qcom,glink-channels")?,
        compatible,
        sid_pos,
        non_secure: node.property("qcom,non-secure-domain").is_some(),
        reserved: target(tree, node, "memory-region")
            .and_then(|target| region(&target))
            .ok(),
        processor: Vec::new(),
        banks: node
            .children()
            .filter(|n| is_compatible(n, "qcom,fastrpc-compute-cb") && is_available(n))
            .map(|n| BankNode {
                name: n.name.to_owned(),
                reg: cells(&n, "reg").and_then(|c| c.first().copied()),
                sids: stream_ids(tree, &n),
                sessions: cells(&n, "qcom,nsessions")
                    .and_then(|c| c.first().copied())
                    .unwrap_or(1),
                coherent: n.property("dma-coherent").is_some(),
            })
            .collect(),
    })
}

/// The first id cell of each `iommus` entry.
fn stream_ids(tree: &Fdt<'_>, node: &FdtNode<'_, '_>) -> Vec<u32> {
    let list = cells(node, "iommus").unwrap_or_default();
    let mut rest = &list[..];
    let mut sids = Vec::new();
    while let [phandle, id, ..] = *rest {
        let width = tree
            .find_phandle(phandle)
            .and_then(|n| cells(&n, "#iommu-cells")?.first().copied())
            .unwrap_or(1) as usize;
        sids.push(id);
        rest = rest.get(1 + width..).unwrap_or(&[]);
    }
    sids
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nodes of QEMU's tree that matter here.
    const MACHINE: &str = r#"/dts-v1/;
/ {
	#address-cells = <2>; #size-cells = <2>; interrupt-parent = <1>; dma-coherent;
	intc@8000000 { phandle = <1>; #interrupt-cells = <3>; interrupt-controller; };
	smmuv3@9050000 {
		phandle = <2>; compatible = "arm,smmu-v3"; #iommu-cells = <1>;
		reg = <0 0x9050000 0 0x20000>;
	};
	pcie@10000000 {
		compatible = "pci-host-ecam-generic"; reg = <0x40 0x10000000 0 0x10000000>;
		#address-cells = <3>; #size-cells = <2>;
	};
};"#;

    const BOARD: &str = r#"/ {
	ram0: sram@5fe00000 { reg = <0 0x5fe00000 0 0x10000>; };
	mbox0: mailbox@5fe10000 { reg = <0 0x5fe10000 0 0x2000>; #mbox-cells = <1>; };
	cdsp-edge {
		compatible = "qcom,glink-rpm"; label = "cdsp";
		interrupts = <0 200 1>; qcom,rpm-msg-ram = <&ram0>; mboxes = <&mbox0 4>;
		fastrpc {
			compatible = "qcom,glymur-fastrpc", "qcom,kaanapali-fastrpc";
			qcom,glink-channels = "fastrpcglink-apps-dsp";
			qcom,non-secure-domain; memory-region = <&ram0>;
			#address-cells = <1>; #size-cells = <0>;
			compute-cb@1 {
				compatible = "qcom,fastrpc-compute-cb"; reg = <1>;
				iommus = <&smmu 0x1401>, <&smmu 0x1411>; dma-coherent;
			};
			compute-cb@2 { compatible = "qcom,fastrpc-compute-cb"; status = "disabled"; };
			compute-cb { compatible = "qcom,fastrpc-compute-cb"; qcom,nsessions = <5>; };
		};
	};
};
&pcie { edu@5,1 { compatible = "pci1234,11e8"; reg = <0x2900 0 0 0 0>; }; };"#;

    fn machine() -> Vec<u8> {
        run_dtc(&["-I", "dts", "-O", "dtb"], MACHINE.as_bytes()).unwrap()
    }

    fn compile(nodes: &str) -> anyhow::Result<Board> {
        Board::compile(&machine(), nodes, Path::new("."))
    }

    /// The same DSP below a remote processor.
    const SMEM_BOARD: &str = r#"/ {
	smem@5ff00000 { compatible = "qcom,smem"; reg = <0 0x5ff00000 0 0x100000>; };
	mbox0: mailbox@5fe10000 { reg = <0 0x5fe10000 0 0x2000>; #mbox-cells = <1>; };
	remoteproc-cdsp@5fe60000 {
		compatible = "sim,remoteproc"; reg = <0 0x5fe60000 0 0x1000>;
		glink-edge {
			label = "turing"; qcom,remote-pid = <5>;
			interrupts = <0 200 1>; mboxes = <&mbox0 4>;
			/include/ "dsp.dtsi"
		};
	};
};"#;

    #[test]
    fn reads_remote_processors_and_includes() {
        let dir = tempfile::tempdir().unwrap();
        let dsp = r#"fastrpc {
			compatible = "qcom,fastrpc"; label = "cdsp";
			qcom,glink-channels = "fastrpcglink-apps-dsp";
		};"#;
        std::fs::write(dir.path().join("dsp.dtsi"), dsp).unwrap();
        let compile = |nodes: &str| Board::compile(&machine(), nodes, dir.path());
        let board = compile(SMEM_BOARD).unwrap();
        assert_eq!(board.smem.unwrap().to_string(), "0x5ff00000+0x100000");
        let [edge] = &board.edges[..] else { panic!() };
        assert_eq!(edge.name, "remoteproc-cdsp@5fe60000");
        assert_eq!((edge.label.as_str(), edge.spi), ("turing", 200));
        let Place::Smem { host, power } = edge.place else {
            panic!()
        };
        assert_eq!((host, power.base), (5, 0x5fe6_0000));
        assert_eq!(edge.dsps[0].label.as_deref(), Some("cdsp"));

        let says = |nodes: &str, what: &str| {
            let error = format!("{:#}", compile(nodes).unwrap_err());
            assert!(error.contains(what), "{error}");
        };
        says(&SMEM_BOARD.replace("qcom,smem", "x"), "needs a qcom,smem");
        says(
            &SMEM_BOARD.replace("qcom,remote-pid", "x"),
            "no qcom,remote",
        );
        says(&SMEM_BOARD.replace("glink-edge", "edge"), "no glink-edge");
    }

    #[test]
    fn reads_edges_dsps_and_banks() {
        let board = compile(BOARD).unwrap();
        assert_eq!(board.smmu.base, 0x905_0000);
        let [edge] = &board.edges[..] else { panic!() };
        assert_eq!(edge.label, "cdsp");
        let ram = Region {
            base: 0x5fe0_0000,
            len: 0x10000,
        };
        assert_eq!(edge.place, Place::MessageRam(ram));
        assert_eq!((edge.mailbox.base, edge.spi), (0x5fe1_0000, 200));
        let [dsp] = &edge.dsps[..] else { panic!() };
        assert_eq!((dsp.sid_pos, dsp.label.as_deref()), (56, None));
        assert!(dsp.non_secure);
        assert_eq!(dsp.reserved, Some(ram));
        let [one, two] = &dsp.banks[..] else { panic!() };
        assert_eq!((one.reg, &one.sids[..]), (Some(1), &[0x1401, 0x1411][..]));
        assert!(one.coherent && !two.coherent);
        let tree = Fdt::new(&board.dtb).unwrap();
        let root = tree.find_node("/").unwrap();
        assert!(root.property("dma-coherent").is_none());
        assert_eq!((two.reg, two.sids.len()), (None, 0));
        assert_eq!((one.sessions, two.sessions), (1, 5));
        assert_eq!(board.pci.ecam.base, 0x40_1000_0000);
        let args = board.pci.qemu_args();
        assert_eq!(args[1], "edu,addr=5.1,dma_mask=0xffffffffffffffff");
        assert_eq!((board.pci.edus, args.len()), (vec![0x29], 2));
    }

    #[test]
    fn messages_say_what_is_wrong() {
        let says = |nodes: &str, what: &str| {
            let error = format!("{:#}", compile(nodes).unwrap_err());
            assert!(error.contains(what), "{error}");
        };
        says("/ { oops", "syntax error");
        says("/ { };", "no qcom,glink-rpm or sim,remoteproc");
        says(&BOARD.replace("<0 200 1>", "<0 200 4>"), "rising edge");
        says(
            &BOARD.replace("qcom,rpm-msg-ram", "x"),
            "no qcom,rpm-msg-ram",
        );
        says("/include/ \"nowhere.dtsi\"", "nowhere.dtsi");
        let twice = format!(
            "{BOARD}\n{}",
            BOARD
                .replace("cdsp-edge", "other-edge")
                .replace("0: ", "1: ")
                .replace("sram@", "sram1@")
                .replace("mailbox@", "mailbox1@")
                .replace("ram0", "ram1")
                .replace("mbox0", "mbox1")
                .replace("edu@5,1", "edu@5,2")
        );
        says(&twice, "share an interrupt");
    }
}
