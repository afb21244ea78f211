#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes boards of the FastRPC nodes in the kernel's own device trees.

usage: socs.py TREE DIRECTORY [SOC...]

Every device tree of a SoC in TREE that has compute context banks is compiled,
and its FastRPC nodes are put onto boards for the simulator: DIRECTORY gets a
.dtsi for each SoC, several where DSPs have streams in common (they are behind
IOMMUs of their own, of which the simulated machine has one). Prints a line for
each board: its name, and its DSPs joined by "+", each with "-<bank>" for a bank
that a driver has to leave out.

A mask of a stream id, which the SMMUv3 has no place for, is replaced by all ids
that it covers. "qcom,vmids" is left out: the machine has no secure world.
"""

import pathlib
import struct
import subprocess
import sys

QCOM = "arch/arm64/boot/dts/qcom"
BANK = "qcom,fastrpc-compute-cb"
# One stream of this bank is bank 13's, others are not.
LEFT_OUT = {("sm8750", "cdsp"): 14}

# The message RAM and mailbox of each DSP, and the memory that is reserved.
EDGES = 0x5FE00000
EDGE_SIZE = 0x20000
REGIONS = 0x58000000
REGION_ALIGN = 0x400000


class Node:
    """A node of a flattened device tree."""

    def __init__(self, name, parent):
        self.name, self.parent = name, parent
        self.properties, self.children = {}, []

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()

    def cells(self, name):
        value = self.properties.get(name, b"")
        return list(struct.unpack(f">{len(value) // 4}I", value[:len(value) // 4 * 4]))

    def strings(self, name):
        return [s.decode() for s in self.properties.get(name, b"").split(b"\0") if s]

    def string(self, name):
        return (self.strings(name) or [None])[0]


def parse(blob):
    """The root of a flattened device tree, and its nodes by phandle."""
    _, _, structure, strings = struct.unpack_from(">4I", blob)
    at, node, root, phandles = structure, None, None, {}
    while True:
        (token,) = struct.unpack_from(">I", blob, at)
        at += 4
        if token == 1:  # FDT_BEGIN_NODE
            end = blob.index(b"\0", at)
            child = Node(blob[at:end].decode(), node)
            if node:
                node.children.append(child)
            root = root or child
            node = child
            at = (end + 4) & ~3
        elif token == 2:  # FDT_END_NODE
            node = node.parent
        elif token == 3:  # FDT_PROP
            length, name = struct.unpack_from(">II", blob, at)
            start = strings + name
            name = blob[start:blob.index(b"\0", start)].decode()
            node.properties[name] = blob[at + 8:at + 8 + length]
            if name == "phandle":
                phandles[node.cells(name)[0]] = node
            at = (at + 8 + length + 3) & ~3
        elif token == 9:  # FDT_END
            return root, phandles


def compile_tree(tree, source):
    """A device tree that includes `source`; None if that takes more than the file itself has."""
    prefixes = tree / "scripts/dtc/include-prefixes"
    flags = ["-nostdinc", "-undef", "-x", "assembler-with-cpp", "-D__DTS__"]
    text = subprocess.run(
        ["cpp", *flags, "-I", prefixes, "-I", tree / QCOM, "-"], check=True,
        input=f'/dts-v1/;\n#include "{source}"\n'.encode(), stdout=subprocess.PIPE).stdout
    # What refers to the nodes of a board is of no interest here.
    result = subprocess.run(["dtc", "-f", "-q", "-q", "-I", "dts", "-O", "dtb"], input=text,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return result.stdout if result.returncode == 0 else None


def soc_trees(tree):
    """The name and the compiled device tree of each SoC that has banks."""
    files = sorted((tree / QCOM).glob("*.dtsi"))
    for file in files:
        if BANK not in file.read_text():
            continue
        blob = compile_tree(tree, file.name)
        if blob is None:
            include = f'#include "{file.name}"'
            boards = sorted(b for b in (tree / QCOM).glob("*.dts") if include in b.read_text())
            blob = next(filter(None, (compile_tree(tree, b.name) for b in boards)), None)
        if blob is None:
            sys.exit(f"error: {file.name} can't be compiled")
        yield file.stem, blob


def streams(bank, phandles):
    """The streams of a bank, one by one."""
    cells, ids = bank.cells("iommus"), []
    while cells:
        width = phandles[cells[0]].cells("#iommu-cells")[0]
        stream, mask = (cells[1:1 + width] + [0])[:2]
        cells = cells[1 + width:]
        covered = [stream & ~mask]
        for bit in (1 << n for n in range(16)):
            if mask & bit:
                covered += [known | bit for known in covered]
        ids += [known for known in covered if known not in ids]
    return ids


class Dsp:
    """A FastRPC node."""

    def __init__(self, node, phandles):
        self.node = node
        self.label = node.string("label")
        self.banks = [(child, streams(child, phandles)) for child in node.children
                      if BANK in child.strings("compatible")]
        self.streams = {stream for _, ids in self.banks for stream in ids}
        region = node.cells("memory-region")
        self.region = phandles[region[0]] if region else None

    def identity(self):
        return self.label, tuple((bank.name, *ids) for bank, ids in self.banks)

    def text(self, number, region):
        node = self.node
        compatible = ", ".join(f'"{name}"' for name in node.strings("compatible"))
        out = [
            "\t\tfastrpc {",
            f"\t\t\tcompatible = {compatible};",
            '\t\t\tqcom,glink-channels = "fastrpcglink-apps-dsp";',
            f'\t\t\tlabel = "{self.label}";',
            "\t\t\t#address-cells = <1>;",
            "\t\t\t#size-cells = <0>;",
        ]
        if "qcom,non-secure-domain" in node.properties:
            out.append("\t\t\tqcom,non-secure-domain;")
        if region:
            out.append(f"\t\t\tmemory-region = <&region{number}>;")
        for bank, ids in self.banks:
            out += ["", f"\t\t\t{bank.name} {{", f'\t\t\t\tcompatible = "{BANK}";',
                    f"\t\t\t\treg = <{bank.cells('reg')[0]}>;"]
            if ids:
                out.append("\t\t\t\tiommus = "
                           + ", ".join(f"<&smmu {stream:#06x}>" for stream in ids) + ";")
            if "qcom,nsessions" in bank.properties:
                out.append(f"\t\t\t\tqcom,nsessions = <{bank.cells('qcom,nsessions')[0]}>;")
            if "dma-coherent" in bank.properties:
                out.append("\t\t\t\tdma-coherent;")
            if "status" in bank.properties:
                out.append(f'\t\t\t\tstatus = "{bank.string("status")}";')
            out.append("\t\t\t};")
        return out + ["\t\t};"]


def region_text(number, node, base):
    """A reserved region like `node`, at `base`; its text and its size."""
    cells = node.cells("size") or node.cells("reg")[-2:]
    size = (cells[-2] << 32 if len(cells) > 1 else 0) | cells[-1]
    size = (size + REGION_ALIGN - 1) // REGION_ALIGN * REGION_ALIGN
    out = [f"\t\tregion{number}: region@{base:x} {{", f"\t\t\treg = <0 {base:#x} 0 {size:#x}>;"]
    if "compatible" in node.properties:
        out.append(f'\t\t\tcompatible = "{node.string("compatible")}";')
    out += [f"\t\t\t{flag};" for flag in ("no-map", "reusable") if flag in node.properties]
    return out + ["\t\t};", ""], size


def board_text(soc, dsps):
    """A board with some DSPs of a SoC."""
    reserved, edges, base = [], [], REGIONS
    for number, dsp in enumerate(dsps):
        if dsp.region:
            text, size = region_text(number, dsp.region, base)
            reserved += text
            base += size
        at = EDGES + number * EDGE_SIZE
        edges += [
            "", f"\tram{number}: sram@{at:x} {{", '\t\tcompatible = "qcom,rpm-msg-ram";',
            f"\t\treg = <0 {at:#x} 0 0x10000>;", "\t};", "",
            f"\tmbox{number}: mailbox@{at + 0x10000:x} {{",
            '\t\tcompatible = "qcom,sdm845-apss-shared";',
            f"\t\treg = <0 {at + 0x10000:#x} 0 0x2000>;", "\t\t#mbox-cells = <1>;", "\t};", "",
            f"\t{dsp.label}-edge {{", '\t\tcompatible = "qcom,glink-rpm";',
            f'\t\tlabel = "{dsp.label}";', f"\t\tinterrupts = <0 {200 + number} 1>;",
            f"\t\tqcom,rpm-msg-ram = <&ram{number}>;", f"\t\tmboxes = <&mbox{number} 4>;", "",
            *dsp.text(number, dsp.region), "\t};",
        ]
    return "\n".join([
        f"/* DSPs of {soc}, made by socs.py. */", "", "/ {", "\treserved-memory {",
        "\t\t#address-cells = <2>;", "\t\t#size-cells = <2>;", "\t\tranges;", "", *reserved,
        f"\t\tdsp@{EDGES:x} {{", f"\t\t\treg = <0 {EDGES:#x} 0 0x200000>;", "\t\t\tno-map;",
        "\t\t};", "\t};", *edges, "};", ""])


def boards(dsps):
    """Groups of DSPs that have no stream in common."""
    groups = []
    for dsp in dsps:
        for group in groups:
            if all(dsp.streams.isdisjoint(other.streams) for other in group):
                group.append(dsp)
                break
        else:
            groups.append([dsp])
    return groups


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    tree, directory, wanted = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.dtsi"):
        old.unlink()
    seen = {}
    for soc, blob in soc_trees(tree):
        root, phandles = parse(blob)
        dsps = [Dsp(node, phandles) for node in root.walk()
                if any(BANK in child.strings("compatible") for child in node.children)]
        # One SoC's file may include another's.
        text = (tree / QCOM / f"{soc}.dtsi").read_text()
        known = {dsp for other, dsps in seen.items() if f'"{other}.dtsi"' in text for dsp in dsps}
        dsps = [dsp for dsp in dsps if dsp.identity() not in known]
        seen[soc] = {dsp.identity() for dsp in dsps}
        if wanted and soc not in wanted:
            continue
        for number, group in enumerate(boards(dsps)):
            name = soc if number == 0 else f"{soc}-{number + 1}"
            (directory / f"{name}.dtsi").write_text(board_text(soc, group))
            left_out = [LEFT_OUT.get((soc, dsp.label)) for dsp in group]
            print(name, "+".join(dsp.label + (f"-{bank}" if bank else "")
                                 for dsp, bank in zip(group, left_out)))


main()
