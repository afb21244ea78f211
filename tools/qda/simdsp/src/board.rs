// SPDX-License-Identifier: GPL-2.0

//! The board: QEMU's own device tree plus the nodes of a `.dtsi`, and what it says about the DSPs.
//!
//! The `.dtsi` is the one place where stream ids, message RAM and interrupts are written down. It is
//! appended to the tree that QEMU prints for the same machine (labels `smmu` and `intc` stand on
//! QEMU's nodes), compiled with dtc, given to the guest, and read back here. Boards that a driver
//! must refuse (no label, no or equal `reg`, no banks) are read without complaint.

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
    /// `dma-coherent`.
    pub coherent: bool,
}

/// A FastRPC node: one DSP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DspNode {
    /// `label`, e.g. `cdsp`.
    pub label: Option<String>,
    /// First compatible string.
    pub compatible: String,
    /// rpmsg channel name.
    pub channel: String,
    /// Bit of an address at which the bank number stands: 32, or 56 on Kaanapali.
    pub sid_pos: u32,
    /// `qcom,non-secure-domain`.
    pub non_secure: bool,
    /// The first `memory-region`.
    pub reserved: Option<Region>,
    /// Its banks, in tree order.
    pub banks: Vec<BankNode>,
}

/// A `qcom,glink-rpm` edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Node name.
    pub name: String,
    /// `label`, or the node name without one.
    pub label: String,
    /// Message RAM with the FIFOs.
    pub message_ram: Region,
    /// Register page of the mailbox, which is plain RAM here.
    pub mailbox: Region,
    /// Shared peripheral interrupt, counted from 0: the input of the GIC with the same number.
    pub spi: u32,
    /// FastRPC nodes on the edge; normally one.
    pub dsps: Vec<DspNode>,
}

/// A compiled board.
#[derive(Debug, Clone)]
pub struct Board {
    /// The flattened device tree.
    pub dtb: Vec<u8>,
    /// Register page of the SMMUv3.
    pub smmu: Region,
    /// Edges in tree order.
    pub edges: Vec<Edge>,
}

impl Board {
    /// Appends the `.dtsi` text `nodes` to `qemu_dtb` (of `dumpdtb`) and reads the result.
    ///
    /// # Errors
    ///
    /// dtc's message, or what [`Board::read`] misses.
    pub fn compile(qemu_dtb: &[u8], nodes: &str) -> anyhow::Result<Self> {
        let source = run_dtc(&["-I", "dtb", "-O", "dts"], qemu_dtb)?;
        let source = String::from_utf8(source).context("dtc's output")?;
        let mut text = label_node(&source, "smmuv3@", "smmu")?;
        text = label_node(&text, "intc@", "intc")?;
        text.push('\n');
        text.push_str(nodes);
        Self::read(run_dtc(&["-I", "dts", "-O", "dtb"], text.as_bytes())?)
    }

    /// Reads a compiled tree.
    ///
    /// # Errors
    ///
    /// When the tree is malformed, or an edge lacks what the simulator itself needs: message RAM,
    /// mailbox, interrupt.
    pub fn read(dtb: Vec<u8>) -> anyhow::Result<Self> {
        let tree = Fdt::new(&dtb).map_err(|e| anyhow!("device tree: {e}"))?;
        let smmu = tree
            .all_nodes()
            .find(|n| is_compatible(n, "arm,smmu-v3"))
            .context("device tree has no arm,smmu-v3 node (QEMU needs -M virt,iommu=smmuv3)")?;
        let smmu = region(&smmu)?;
        let edges = tree
            .all_nodes()
            .filter(|n| is_compatible(n, "qcom,glink-rpm"))
            .map(|n| read_edge(&tree, &n).with_context(|| format!("node {}", n.name)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!edges.is_empty(), "device tree has no qcom,glink-rpm node");
        for (i, edge) in edges.iter().enumerate() {
            for other in &edges[..i] {
                ensure!(
                    edge.spi != other.spi && edge.message_ram.base != other.message_ram.base,
                    "edges {} and {} share an interrupt or message RAM",
                    edge.name,
                    other.name
                );
            }
        }
        Ok(Self { smmu, edges, dtb })
    }

    /// Reads and compiles the `.dtsi` file at `path`.
    ///
    /// # Errors
    ///
    /// As [`Board::compile`], naming the file.
    pub fn load(qemu_dtb: &[u8], path: &Path) -> anyhow::Result<Self> {
        let nodes = std::fs::read_to_string(path)
            .with_context(|| format!("read board {}", path.display()))?;
        Self::compile(qemu_dtb, &nodes).with_context(|| format!("board {}", path.display()))
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

fn read_edge<'b, 'a>(tree: &'b Fdt<'a>, node: &FdtNode<'b, 'a>) -> anyhow::Result<Edge> {
    let interrupt = cells(node, "interrupts").context("no interrupts")?;
    let [0, spi, 1] = interrupt[..] else {
        bail!("interrupts must be one SPI, rising edge (0 N 1), not {interrupt:?}");
    };
    Ok(Edge {
        name: node.name.to_owned(),
        label: text(node, "label").unwrap_or_else(|| node.name.to_owned()),
        message_ram: region(&target(tree, node, "qcom,rpm-msg-ram")?)?,
        mailbox: region(&target(tree, node, "mboxes")?)?,
        spi,
        dsps: node.children().filter_map(|n| read_dsp(tree, &n)).collect(),
    })
}

fn read_dsp<'b, 'a>(tree: &'b Fdt<'a>, node: &FdtNode<'b, 'a>) -> Option<DspNode> {
    let compatible = node.compatible()?.first().to_owned();
    let sid_pos = match compatible.as_str() {
        "qcom,kaanapali-fastrpc" => 56,
        "qcom,fastrpc" => 32,
        _ => return None,
    };
    Some(DspNode {
        label: text(node, "label"),
        channel: text(node, "qcom,glink-channels")?,
        compatible,
        sid_pos,
        non_secure: node.property("qcom,non-secure-domain").is_some(),
        reserved: target(tree, node, "memory-region")
            .and_then(|target| region(&target))
            .ok(),
        banks: node
            .children()
            .filter(|n| is_compatible(n, "qcom,fastrpc-compute-cb"))
            .map(|n| BankNode {
                name: n.name.to_owned(),
                reg: cells(&n, "reg").and_then(|c| c.first().copied()),
                sids: stream_ids(tree, &n),
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
	#address-cells = <2>; #size-cells = <2>; interrupt-parent = <1>;
	intc@8000000 { phandle = <1>; #interrupt-cells = <3>; interrupt-controller; };
	smmuv3@9050000 {
		phandle = <2>; compatible = "arm,smmu-v3"; #iommu-cells = <1>;
		reg = <0 0x9050000 0 0x20000>;
	};
};"#;

    const BOARD: &str = r#"/ {
	ram0: sram@5fe00000 { reg = <0 0x5fe00000 0 0x10000>; };
	mbox0: mailbox@5fe10000 { reg = <0 0x5fe10000 0 0x2000>; #mbox-cells = <1>; };
	cdsp-edge {
		compatible = "qcom,glink-rpm"; label = "cdsp";
		interrupts = <0 200 1>; qcom,rpm-msg-ram = <&ram0>; mboxes = <&mbox0 4>;
		fastrpc {
			compatible = "qcom,kaanapali-fastrpc", "qcom,fastrpc";
			qcom,glink-channels = "fastrpcglink-apps-dsp";
			qcom,non-secure-domain; memory-region = <&ram0>;
			#address-cells = <1>; #size-cells = <0>;
			compute-cb@1 {
				compatible = "qcom,fastrpc-compute-cb"; reg = <1>;
				iommus = <&smmu 0x1401>, <&smmu 0x1411>; dma-coherent;
			};
			compute-cb { compatible = "qcom,fastrpc-compute-cb"; };
		};
	};
};"#;

    fn machine() -> Vec<u8> {
        run_dtc(&["-I", "dts", "-O", "dtb"], MACHINE.as_bytes()).unwrap()
    }

    #[test]
    fn reads_edges_dsps_and_banks() {
        let board = Board::compile(&machine(), BOARD).unwrap();
        assert_eq!(board.smmu.base, 0x905_0000);
        let [edge] = &board.edges[..] else { panic!() };
        assert_eq!(edge.label, "cdsp");
        assert_eq!(edge.message_ram.to_string(), "0x5fe00000+0x10000");
        assert_eq!((edge.mailbox.base, edge.spi), (0x5fe1_0000, 200));
        let [dsp] = &edge.dsps[..] else { panic!() };
        assert_eq!((dsp.sid_pos, dsp.label.as_deref()), (56, None));
        assert!(dsp.non_secure);
        assert_eq!(dsp.reserved, Some(edge.message_ram));
        let [one, two] = &dsp.banks[..] else { panic!() };
        assert_eq!((one.reg, &one.sids[..]), (Some(1), &[0x1401, 0x1411][..]));
        assert!(one.coherent && !two.coherent);
        assert_eq!((two.reg, two.sids.len()), (None, 0));
    }

    #[test]
    fn messages_say_what_is_wrong() {
        let says = |nodes: &str, what: &str| {
            let error = format!("{:#}", Board::compile(&machine(), nodes).unwrap_err());
            assert!(error.contains(what), "{error}");
        };
        says("/ { oops", "syntax error");
        says("/ { };", "no qcom,glink-rpm");
        says(&BOARD.replace("<0 200 1>", "<0 200 4>"), "rising edge");
        says(
            &BOARD.replace("qcom,rpm-msg-ram", "x"),
            "no qcom,rpm-msg-ram",
        );
        let twice = format!(
            "{BOARD}\n{}",
            BOARD
                .replace("cdsp-edge", "other-edge")
                .replace("0: ", "1: ")
                .replace("sram@", "sram1@")
                .replace("mailbox@", "mailbox1@")
                .replace("ram0", "ram1")
                .replace("mbox0", "mbox1")
        );
        says(&twice, "share an interrupt");
    }
}
