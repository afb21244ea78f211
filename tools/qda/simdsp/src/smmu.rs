// SPDX-License-Identifier: GPL-2.0

//! The SMMUv3 as the DSP meets it: from stream id to physical address.
//!
//! Everything is read from the tables in guest RAM that the guest's own driver wrote: stream table
//! (linear and two-level), context descriptor ([`crate::stream`]), translation tables
//! ([`crate::lpae`]). There is no TLB. Only the registers that say where the stream table is are
//! cached, for [`REGISTER_AGE`], since they are read through QEMU; they are read afresh before any
//! fault is reported, so a stale copy can't invent one, and a guest that turns its SMMU off is
//! believed after that time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use crate::board::DspNode;
use crate::lpae::Leaf;
use crate::lpae::Physical;
use crate::lpae::Stop;
use crate::port::Bank;
use crate::port::Fault;
use crate::port::Mapping;
use crate::port::Memory;
use crate::qtest::Qtest;
use crate::ram::Ram;
use crate::stream::find_context;
use crate::stream::stop;
use crate::stream::Context;
use crate::stream::Registers;
use crate::trace::FaultLog;
use crate::trace::Trace;
use crate::trace::Walk;

/// How long the registers are taken as unchanged.
pub const REGISTER_AGE: Duration = Duration::from_millis(20);

/// Reads the registers of the SMMU.
pub trait RegisterFile: Send + Sync {
    /// All of them, now.
    ///
    /// # Errors
    ///
    /// When the machine is gone.
    fn registers(&self) -> anyhow::Result<Registers>;
}

/// The registers of QEMU's SMMUv3, read over qtest.
pub struct QtestRegisters {
    /// The connection.
    pub qtest: Arc<Qtest>,
    /// First address of the register page.
    pub base: u64,
}

impl RegisterFile for QtestRegisters {
    fn registers(&self) -> anyhow::Result<Registers> {
        const CR0: u64 = 0x20;
        const GBPA: u64 = 0x44;
        const STRTAB_BASE: u64 = 0x80;
        const STRTAB_BASE_CFG: u64 = 0x88;
        let enabled = self.qtest.readl(self.base + CR0)? & 1 != 0;
        if !enabled {
            let abort = self.qtest.readl(self.base + GBPA)? & 1 << 20 != 0;
            return Ok(Registers {
                abort,
                ..Registers::default()
            });
        }
        Ok(Registers {
            enabled,
            abort: false,
            strtab_base: self.qtest.readq(self.base + STRTAB_BASE)?,
            strtab_cfg: self.qtest.readl(self.base + STRTAB_BASE_CFG)?,
        })
    }
}

impl Physical for Ram {
    fn read_u64(&self, pa: u64) -> Option<u64> {
        self.load_u64(pa).ok()
    }
}

/// The SMMU of a machine.
pub struct Smmu {
    ram: Arc<Ram>,
    file: Box<dyn RegisterFile>,
    cache: Mutex<Option<(Instant, Registers)>>,
}

impl Smmu {
    /// An SMMU with tables in `ram` and registers in `file`.
    pub fn new(ram: Arc<Ram>, file: Box<dyn RegisterFile>) -> Self {
        Self {
            ram,
            file,
            cache: Mutex::new(None),
        }
    }

    /// The registers, and whether they were read just now.
    fn registers(&self, afresh: bool) -> Result<(Registers, bool), Stop> {
        let mut cache = self.cache.lock().expect("register cache");
        match *cache {
            Some((at, regs)) if !afresh && regs.enabled && at.elapsed() < REGISTER_AGE => {
                Ok((regs, false))
            }
            _ => {
                let regs = self.file.registers().map_err(|error| {
                    log::warn!("SMMU registers: {error:#}");
                    stop("EXTERNAL_ABORT")
                })?;
                *cache = Some((Instant::now(), regs));
                Ok((regs, true))
            }
        }
    }

    /// Runs `look` on the registers, again on fresh ones when it stops on cached ones.
    fn with_registers<T>(&self, look: impl Fn(&Registers) -> Result<T, Stop>) -> Result<T, Stop> {
        let (regs, fresh) = self.registers(false)?;
        match look(&regs) {
            Err(_) if !fresh => look(&self.registers(true)?.0),
            result => result,
        }
    }

    /// The context of a stream.
    ///
    /// # Errors
    ///
    /// As [`find_context`].
    pub fn context(&self, sid: u32) -> Result<Context, Stop> {
        self.with_registers(|regs| find_context(&*self.ram, regs, sid))
    }

    /// Translates one address of a stream and checks permission; a bypassed stream has one leaf,
    /// all of guest RAM.
    ///
    /// # Errors
    ///
    /// As [`find_context`] and [`Table::walk`], and `F_PERMISSION`.
    pub fn translate(&self, sid: u32, iova: u64, write: bool) -> Result<Leaf, Stop> {
        self.with_registers(|regs| match find_context(&*self.ram, regs, sid)? {
            Context::Bypass => Ok(self.identity()),
            Context::Stage1(table) => {
                let leaf = table.walk(&*self.ram, iova)?;
                let allowed = if write { leaf.writable } else { leaf.readable };
                if allowed {
                    Ok(leaf)
                } else {
                    Err(Stop {
                        kind: "F_PERMISSION",
                        level: leaf.level,
                    })
                }
            }
        })
    }

    fn identity(&self) -> Leaf {
        Leaf {
            iova: self.ram.base(),
            pa: self.ram.base(),
            len: self.ram.len(),
            readable: true,
            writable: true,
            level: 0,
        }
    }
}

/// The memory of one DSP: its banks, behind the SMMU. All faults go to the fault log.
pub struct DspMemory {
    label: String,
    smmu: Arc<Smmu>,
    /// Stream ids by bank number.
    banks: BTreeMap<Bank, Vec<u32>>,
    /// Stream ids of the processor itself.
    processor: Vec<u32>,
    faults: FaultLog,
    trace: Trace,
}

impl DspMemory {
    /// The memory of the DSP `node`, called `label` in the logs. Banks without `reg` don't exist
    /// for the DSP; of two with the same number the first counts.
    pub fn new(
        node: &DspNode,
        label: &str,
        smmu: Arc<Smmu>,
        faults: FaultLog,
        trace: Trace,
    ) -> Self {
        let mut banks = BTreeMap::new();
        for bank in &node.banks {
            let Some(reg) = bank.reg else {
                log::info!("{label}: {} has no reg", bank.name);
                continue;
            };
            if banks.contains_key(&reg) {
                log::info!("{label}: {} is a second bank {reg}", bank.name);
                continue;
            }
            banks.insert(reg, bank.sids.clone());
        }
        Self {
            label: label.to_owned(),
            smmu,
            banks,
            processor: node.processor.clone(),
            faults,
            trace,
        }
    }

    /// Bank numbers and their stream ids.
    pub fn banks(&self) -> &BTreeMap<Bank, Vec<u32>> {
        &self.banks
    }

    /// Leaf for one address of a bank. All stream ids of a bank must lead to the same place, as
    /// the DSP uses any of them.
    fn leaf(&self, bank: Bank, iova: u64, write: bool) -> Result<(Leaf, Option<u32>), Fault> {
        let fault = |sid: u32, stop: Stop| Fault {
            kind: stop.kind,
            sid,
            iova,
            level: stop.level,
            write,
        };
        let sids = self
            .banks
            .get(&bank)
            .ok_or_else(|| fault(bank, stop("NO_SUCH_BANK")))?;
        let Some((first, others)) = sids.split_first() else {
            return Ok((self.smmu.identity(), None));
        };
        let translate = |sid: u32| {
            self.smmu
                .translate(sid, iova, write)
                .map_err(|stop| fault(sid, stop))
        };
        let leaf = translate(*first)?;
        for sid in others {
            if translate(*sid)? != leaf {
                return Err(fault(*sid, stop("STREAMS_DISAGREE")));
            }
        }
        Ok((leaf, Some(*first)))
    }

    /// Cuts `iova..iova + len` at leaf borders and calls `touch(offset, pa, piece)` on each piece.
    fn pieces(
        &self,
        bank: Bank,
        iova: u64,
        len: usize,
        write: bool,
        mut touch: impl FnMut(usize, u64, usize) -> bool,
    ) -> Result<(), Fault> {
        let mut done = 0;
        while done < len {
            let at = iova.wrapping_add(done as u64);
            let (leaf, sid) = self.leaf(bank, at, write)?;
            let aborted = Fault {
                kind: "EXTERNAL_ABORT",
                sid: sid.unwrap_or(0),
                iova: at,
                level: leaf.level,
                write,
            };
            let Some(inside) = at.checked_sub(leaf.iova).filter(|i| *i < leaf.len) else {
                return Err(aborted);
            };
            let piece = (leaf.len - inside).min((len - done) as u64) as usize;
            let pa = leaf.pa + inside;
            if !touch(done, pa, piece) {
                return Err(aborted);
            }
            self.trace.record(Walk {
                dsp: self.label.clone(),
                bank,
                sid,
                iova: at,
                pa,
                len: piece as u64,
                write,
            });
            done += piece;
        }
        Ok(())
    }

    fn logged(&self, bank: Bank, result: Result<(), Fault>) -> Result<(), Fault> {
        if let Err(fault) = &result {
            self.faults.push(&self.label, bank, fault);
        }
        result
    }

    /// What the first of `sids` reaches; all of memory without one.
    fn reach(&self, sids: &[u32]) -> Result<Vec<Mapping>, Fault> {
        let mut list: Vec<Mapping> = Vec::new();
        let mut add = |leaf: Leaf| {
            if !leaf.readable {
                return;
            }
            if let Some(last) = list.last_mut() {
                if last.iova + last.len == leaf.iova
                    && last.pa + last.len == leaf.pa
                    && last.writable == leaf.writable
                {
                    last.len += leaf.len;
                    return;
                }
            }
            list.push(Mapping {
                iova: leaf.iova,
                pa: leaf.pa,
                len: leaf.len,
                writable: leaf.writable,
            });
        };
        let Some(sid) = sids.first() else {
            add(self.smmu.identity());
            return Ok(list);
        };
        match self.smmu.context(*sid) {
            Ok(Context::Bypass) => add(self.smmu.identity()),
            Ok(Context::Stage1(table)) => {
                table
                    .enumerate(&*self.smmu.ram, &mut add)
                    .map_err(|(stop, iova)| Fault {
                        kind: stop.kind,
                        sid: *sid,
                        iova,
                        level: stop.level,
                        write: false,
                    })?
            }
            // A stream that the guest has not set up, or has shut, reaches nothing.
            Err(_) => {}
        }
        Ok(list)
    }
}

impl Memory for DspMemory {
    fn read(&self, bank: Bank, iova: u64, buf: &mut [u8]) -> Result<(), Fault> {
        let ram = &self.smmu.ram;
        let result = self.pieces(bank, iova, buf.len(), false, |at, pa, len| {
            ram.read(pa, &mut buf[at..at + len]).is_ok()
        });
        self.logged(bank, result)
    }

    fn write(&self, bank: Bank, iova: u64, data: &[u8]) -> Result<(), Fault> {
        let ram = &self.smmu.ram;
        let result = self.pieces(bank, iova, data.len(), true, |at, pa, len| {
            ram.write(pa, &data[at..at + len]).is_ok()
        });
        self.logged(bank, result)
    }

    fn mappings(&self, bank: Bank) -> Result<Vec<Mapping>, Fault> {
        match self.banks.get(&bank) {
            Some(sids) => self.reach(sids),
            None => Ok(Vec::new()),
        }
    }

    fn entries(&self, bank: Bank, iova: u64, len: u64) -> Result<u64, Fault> {
        let (mut done, mut count) = (0, 0);
        while done < len {
            let at = iova.wrapping_add(done);
            let (leaf, sid) = self.leaf(bank, at, false)?;
            let Some(inside) = at.checked_sub(leaf.iova).filter(|i| *i < leaf.len) else {
                return Err(Fault {
                    kind: "EXTERNAL_ABORT",
                    sid: sid.unwrap_or(0),
                    iova: at,
                    level: leaf.level,
                    write: false,
                });
            };
            done = done.saturating_add(leaf.len - inside);
            count += 1;
        }
        Ok(count)
    }

    fn own_mappings(&self) -> Result<Option<Vec<Mapping>>, Fault> {
        match self.processor.is_empty() {
            true => Ok(None),
            false => self.reach(&self.processor).map(Some),
        }
    }

    fn streams(&self, bank: Bank) -> Vec<u32> {
        self.banks.get(&bank).cloned().unwrap_or_default()
    }

    fn tables(&self, bank: Bank) -> Vec<(u32, u64)> {
        let root = |sid: u32| match self.smmu.context(sid) {
            Ok(Context::Stage1(table)) => Some((sid, table.root)),
            _ => None,
        };
        self.streams(bank).into_iter().filter_map(root).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::BankNode;
    use crate::lpae::tests::RW;
    use crate::ram::VIRT_RAM_BASE;
    use crate::stream::tests::cd_words;
    use crate::stream::tests::linear;
    use crate::stream::tests::STRTAB;
    use crate::stream::tests::TTB;

    /// Registers that a test changes under the cache.
    struct Switch(Arc<Mutex<(Registers, usize)>>);

    impl RegisterFile for Switch {
        fn registers(&self) -> anyhow::Result<Registers> {
            let mut s = self.0.lock().unwrap();
            s.1 += 1;
            Ok(s.0)
        }
    }

    struct Bench {
        ram: Arc<Ram>,
        switch: Arc<Mutex<(Registers, usize)>>,
        memory: DspMemory,
        faults: FaultLog,
        trace: Trace,
    }

    /// Banks: 1 (one stream), 2 (two streams), 3 (none); stream ids 1, 2, 3.
    fn bench() -> Bench {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ram = Arc::new(Ram::create(file.path(), VIRT_RAM_BASE, 0x100_0000).unwrap());
        let regs = Registers {
            strtab_base: VIRT_RAM_BASE + STRTAB,
            ..linear()
        };
        let switch = Arc::new(Mutex::new((regs, 0)));
        let bank = |reg, sids: &[u32]| BankNode {
            name: format!("compute-cb@{reg}"),
            reg: Some(reg),
            sids: sids.to_vec(),
            sessions: 1,
            coherent: true,
        };
        let node = DspNode {
            label: Some("cdsp".into()),
            compatible: "qcom,fastrpc".into(),
            channel: "x".into(),
            sid_pos: 32,
            non_secure: true,
            reserved: None,
            processor: Vec::new(),
            banks: vec![bank(1, &[1]), bank(2, &[2, 3]), bank(3, &[]), bank(1, &[9])],
        };
        let (faults, trace) = (FaultLog::default(), Trace::default());
        let smmu = Smmu::new(Arc::clone(&ram), Box::new(Switch(Arc::clone(&switch))));
        let memory = DspMemory::new(&node, "cdsp", Arc::new(smmu), faults.clone(), trace.clone());
        Bench {
            ram,
            switch,
            memory,
            faults,
            trace,
        }
    }

    impl Bench {
        fn put(&self, offset: u64, words: &[u64]) {
            for (i, w) in words.iter().enumerate() {
                let pa = VIRT_RAM_BASE + offset + 8 * i as u64;
                self.ram.write(pa, &w.to_le_bytes()).unwrap();
            }
        }

        /// Gives `sid` a table at `root` (three levels of 4 KiB from there).
        fn stream(&self, sid: u64, root: u64) {
            let cd = 0x8_0000 + 0x1000 * sid;
            self.put(cd, &cd_words(VIRT_RAM_BASE + root));
            self.put(STRTAB + 64 * sid, &[1 | 5 << 1 | (VIRT_RAM_BASE + cd)]);
            self.put(root, &[(VIRT_RAM_BASE + root + 0x1000) | 3]);
            self.put(root + 0x1000, &[(VIRT_RAM_BASE + root + 0x2000) | 3]);
        }

        fn page(&self, root: u64, iova: u64, to: u64, flags: u64) {
            self.put(
                root + 0x2000 + 8 * (iova >> 12),
                &[(VIRT_RAM_BASE + to) | flags | 3],
            );
        }
    }

    #[test]
    fn reads_and_writes_page_by_page() {
        let b = bench();
        b.stream(1, TTB);
        b.page(TTB, 0x1000, 0x60_0000, RW);
        b.page(TTB, 0x2000, 0x50_0000, RW | 1 << 7);
        b.trace.set(true);
        b.ram.write(VIRT_RAM_BASE + 0x60_0ff8, b"abcdefgh").unwrap();
        b.ram.write(VIRT_RAM_BASE + 0x50_0000, b"ijkl").unwrap();
        let mut buf = [0; 12];
        b.memory.read(1, 0x1ff8, &mut buf).unwrap();
        assert_eq!(&buf, b"abcdefghijkl");
        b.memory.write(1, 0x1000, b"xyz").unwrap();
        let fault = b.memory.write(1, 0x1ffe, b"1234").unwrap_err();
        assert_eq!(
            fault.to_string(),
            "F_PERMISSION sid 0x1 iova 0x2000 level 3 (write)"
        );
        let fault = b.memory.read(1, 0x3000, &mut buf).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "F_TRANSLATION sid 0x1 iova 0x3000 level 3"
        );
        assert_eq!(b.faults.list().len(), 2);
        assert_eq!(b.trace.take().len(), 3);
        let map = b.memory.mappings(1).unwrap();
        assert_eq!(map.len(), 2);
        assert_eq!(
            (map[0].iova, map[0].pa, map[0].writable),
            (0x1000, VIRT_RAM_BASE + 0x60_0000, true)
        );
        assert!(!map[1].writable);
        assert_eq!(b.memory.tables(1), [(1, VIRT_RAM_BASE + TTB)]);
    }

    #[test]
    fn banks_with_two_streams_and_with_none() {
        let b = bench();
        let mut buf = [0; 4];
        assert_eq!(b.memory.mappings(2).unwrap(), []);
        assert_eq!(
            b.memory.read(2, 0x1000, &mut buf).unwrap_err().kind,
            "C_BAD_STE"
        );
        b.stream(2, TTB);
        b.page(TTB, 0x1000, 0x60_0000, RW);
        let fault = b.memory.read(2, 0x1000, &mut buf).unwrap_err();
        assert_eq!((fault.kind, fault.sid), ("C_BAD_STE", 3));
        b.stream(3, TTB);
        b.memory.read(2, 0x1000, &mut buf).unwrap();
        b.stream(3, 0x70_0000);
        b.page(0x70_0000, 0x1000, 0x61_0000, RW);
        assert_eq!(b.memory.streams(2), [2, 3]);
        assert_eq!(
            b.memory.tables(2),
            [(2, VIRT_RAM_BASE + TTB), (3, VIRT_RAM_BASE + 0x70_0000)]
        );
        assert!(b.memory.tables(3).is_empty() && b.memory.streams(3).is_empty());
        assert_eq!(
            b.memory.read(2, 0x1000, &mut buf).unwrap_err().kind,
            "STREAMS_DISAGREE"
        );

        b.memory
            .write(3, VIRT_RAM_BASE + 0x60_0000, b"phys")
            .unwrap();
        assert_eq!(b.memory.mappings(3).unwrap()[0].len, 0x100_0000);
        assert_eq!(
            b.memory.read(3, 0x1000, &mut buf).unwrap_err().kind,
            "EXTERNAL_ABORT"
        );
        assert_eq!(
            b.memory.read(7, 0x1000, &mut buf).unwrap_err().kind,
            "NO_SUCH_BANK"
        );
        assert_eq!(
            b.memory.read(3, u64::MAX, &mut buf).unwrap_err().kind,
            "EXTERNAL_ABORT"
        );
    }

    /// A block of 2 MiB counts as one, like each page, however little of it is asked for.
    #[test]
    fn entries_of_a_range() {
        const BLOCK: u64 = 2 << 20;
        let b = bench();
        b.stream(1, TTB);
        for page in 1..512 {
            b.page(TTB, page << 12, 0x60_0000 + (page << 12), RW);
        }
        // The two blocks behind the table of pages.
        let block = |to: u64| (VIRT_RAM_BASE + to) | RW | 1;
        b.put(TTB + 0x1000 + 8, &[block(BLOCK), block(2 * BLOCK)]);
        let entries = |iova, len| b.memory.entries(1, iova, len).unwrap();
        assert_eq!(entries(0x1000, 0), 0);
        assert_eq!(entries(0x1000, 0x1000), 1);
        assert_eq!(entries(0x1fff, 2), 2);
        assert_eq!(entries(BLOCK, 2 * BLOCK), 2);
        assert_eq!(entries(BLOCK + 0x5000, 1), 1);
        assert_eq!(entries(BLOCK - 0x2000, 0x2000 + BLOCK), 3);
        assert_eq!(entries(0x1000, 3 * BLOCK - 0x1000), 511 + 2);
        let fault = b.memory.entries(1, 0, 0x2000).unwrap_err();
        assert_eq!((fault.kind, fault.iova), ("F_TRANSLATION", 0));
        let fault = b.memory.entries(1, 3 * BLOCK - 1, 2).unwrap_err();
        assert_eq!((fault.kind, fault.iova), ("F_TRANSLATION", 3 * BLOCK));
        assert!(b.memory.entries(1, u64::MAX - 1, 4).is_err());
        assert_eq!(b.memory.entries(3, VIRT_RAM_BASE, BLOCK).unwrap(), 1);
        assert!(b.memory.entries(3, 0, 1).is_err());
        assert_eq!(b.faults.total(), 0);
    }

    #[test]
    fn register_cache() {
        let b = bench();
        b.stream(1, TTB);
        b.page(TTB, 0x1000, 0x60_0000, RW);
        let on = b.switch.lock().unwrap().0;
        // Off: never cached, so enabling is seen at once.
        b.switch.lock().unwrap().0 = Registers::default();
        let mut buf = [0; 4];
        b.memory.read(1, VIRT_RAM_BASE, &mut buf).unwrap();
        b.switch.lock().unwrap().0 = on;
        b.memory.read(1, 0x1000, &mut buf).unwrap();
        let reads = b.switch.lock().unwrap().1;
        for _ in 0..20 {
            b.memory.read(1, 0x1000, &mut buf).unwrap();
        }
        assert!(b.switch.lock().unwrap().1 <= reads + 2, "cached");
        // Moved: the cached address finds nothing, which is looked at again before it is a fault.
        b.put(0xa0_0000 + 64, &[1 | 5 << 1 | (VIRT_RAM_BASE + 0x8_1000)]);
        b.put(STRTAB + 64, &[0]);
        b.switch.lock().unwrap().0.strtab_base = VIRT_RAM_BASE + 0xa0_0000;
        b.memory.read(1, 0x1000, &mut buf).unwrap();
        assert_eq!(b.faults.total(), 0);
    }
}
