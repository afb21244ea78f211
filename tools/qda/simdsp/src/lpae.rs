// SPDX-License-Identifier: GPL-2.0

//! The walk through AArch64 (LPAE) stage 1 tables: pure, over anything that reads physical memory.
//!
//! Granules of 4, 16 and 64 KiB, any input size, block entries, hierarchical and leaf permissions,
//! access flag. The walk is of an unprivileged access through TTB0, as a DSP's is.

/// Reads physical memory for table walks.
pub trait Physical {
    /// The little-endian doubleword at `pa` (8-byte aligned), or `None` outside memory.
    fn read_u64(&self, pa: u64) -> Option<u64>;
}

/// What a context descriptor says about a translation table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Physical address of the first table.
    pub root: u64,
    /// Bits of an I/O virtual address.
    pub input_bits: u32,
    /// Bits of a physical address.
    pub output_bits: u32,
    /// Log2 of the granule in bytes: 12, 14 or 16.
    pub granule: u32,
    /// Take a clear access flag as set (AFFD or hardware update).
    pub ignore_access_flag: bool,
    /// Table descriptors carry no permissions.
    pub flat_permissions: bool,
    /// Read-only entries with the dirty-bit modifier are writable (hardware update).
    pub dirty_update: bool,
}

/// A page or block that the walk arrived at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// First I/O virtual address of the page or block.
    pub iova: u64,
    /// Physical address behind it.
    pub pa: u64,
    /// Length in bytes.
    pub len: u64,
    /// Whether an unprivileged access may read.
    pub readable: bool,
    /// Whether an unprivileged access may write.
    pub writable: bool,
    /// Level of the entry, 3 for a page.
    pub level: u8,
}

/// Why the walk stopped, by the event name of the SMMUv3, and at which level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// e.g. `F_TRANSLATION`.
    pub kind: &'static str,
    /// Level at which it stopped.
    pub level: u8,
}

const VALID: u64 = 1 << 0;
const TABLE_OR_PAGE: u64 = 1 << 1;
const AP_UNPRIVILEGED: u64 = 1 << 6;
const AP_READ_ONLY: u64 = 1 << 7;
const ACCESS_FLAG: u64 = 1 << 10;
const DIRTY_MODIFIER: u64 = 1 << 51;
const TABLE_NO_UNPRIVILEGED: u64 = 1 << 61;
const TABLE_READ_ONLY: u64 = 1 << 62;

/// Permissions taken away by table descriptors on the way down.
#[derive(Clone, Copy, Default)]
struct Taken {
    unprivileged: bool,
    write: bool,
}

/// What one descriptor is.
enum Entry {
    Invalid,
    Table(u64, Taken),
    Leaf(Leaf),
}

impl Table {
    /// Bits that one level resolves.
    fn stride(&self) -> u32 {
        self.granule - 3
    }

    /// Lowest address bit that `level` resolves.
    fn shift(&self, level: u8) -> u32 {
        self.granule + (3 - u32::from(level)) * self.stride()
    }

    /// Level at which the walk starts.
    fn first_level(&self) -> u8 {
        let bits = self.input_bits.saturating_sub(self.granule).max(1);
        (4 - bits.div_ceil(self.stride()).min(4)) as u8
    }

    /// Number of entries of the table at `level`.
    fn entries(&self, level: u8) -> u64 {
        let bits = if level == self.first_level() {
            self.input_bits.saturating_sub(self.shift(level))
        } else {
            self.stride()
        };
        1 << bits
    }

    /// The address in a descriptor whose lowest address bit is `low`.
    fn address(&self, descriptor: u64, low: u32) -> u64 {
        let mask = ((1u64 << 48) - 1) & !((1u64 << low) - 1);
        let mut pa = descriptor & mask;
        if self.granule == 16 && self.output_bits > 48 {
            pa |= (descriptor >> 12 & 0xf) << 48;
        }
        pa
    }

    /// Whether `level` can hold blocks.
    fn has_blocks(&self, level: u8) -> bool {
        match self.granule {
            12 => level == 1 || level == 2,
            16 if self.output_bits > 48 => level == 1 || level == 2,
            _ => level == 2,
        }
    }

    fn fetch(
        &self,
        memory: &impl Physical,
        table: u64,
        index: u64,
        level: u8,
        taken: Taken,
        iova: u64,
    ) -> Result<Entry, Stop> {
        let stop = |kind| Stop { kind, level };
        let descriptor = memory
            .read_u64(table + 8 * index)
            .ok_or(stop("F_WALK_EABT"))?;
        if descriptor & VALID == 0 {
            return Ok(Entry::Invalid);
        }
        let upper = descriptor & TABLE_OR_PAGE != 0;
        let fits = |pa: u64| {
            (pa >> self.output_bits == 0)
                .then_some(pa)
                .ok_or(stop("F_ADDR_SIZE"))
        };
        if level < 3 && upper {
            let next = fits(self.address(descriptor, self.granule))?;
            let taken = if self.flat_permissions {
                taken
            } else {
                Taken {
                    unprivileged: taken.unprivileged || descriptor & TABLE_NO_UNPRIVILEGED != 0,
                    write: taken.write || descriptor & TABLE_READ_ONLY != 0,
                }
            };
            return Ok(Entry::Table(next, taken));
        }
        if upper != (level == 3) || (level < 3 && !self.has_blocks(level)) {
            return Ok(Entry::Invalid);
        }
        let pa = fits(self.address(descriptor, self.shift(level)))?;
        if descriptor & ACCESS_FLAG == 0 && !self.ignore_access_flag {
            return Err(stop("F_ACCESS"));
        }
        let readable = descriptor & AP_UNPRIVILEGED != 0 && !taken.unprivileged;
        let read_only = descriptor & AP_READ_ONLY != 0
            && !(self.dirty_update && descriptor & DIRTY_MODIFIER != 0);
        let len = 1u64 << self.shift(level);
        Ok(Entry::Leaf(Leaf {
            iova: iova & !(len - 1),
            pa,
            len,
            readable,
            writable: readable && !read_only && !taken.write,
            level,
        }))
    }

    /// Finds the page or block for `iova`; permissions are the caller's to check.
    ///
    /// # Errors
    ///
    /// `F_TRANSLATION`, `F_ADDR_SIZE`, `F_ACCESS`, `F_WALK_EABT`.
    pub fn walk(&self, memory: &impl Physical, iova: u64) -> Result<Leaf, Stop> {
        let mut level = self.first_level();
        if self.input_bits < 64 && iova >> self.input_bits != 0 {
            return Err(Stop {
                kind: "F_TRANSLATION",
                level,
            });
        }
        let mut table = self.root;
        let mut taken = Taken::default();
        loop {
            let index = iova >> self.shift(level) & (self.entries(level) - 1);
            match self.fetch(memory, table, index, level, taken, iova)? {
                Entry::Invalid => {
                    return Err(Stop {
                        kind: "F_TRANSLATION",
                        level,
                    })
                }
                Entry::Leaf(leaf) => return Ok(leaf),
                Entry::Table(next, now) => {
                    table = next;
                    taken = now;
                    level += 1;
                }
            }
        }
    }

    /// Calls `found` for every page and block, in address order.
    ///
    /// # Errors
    ///
    /// As [`Table::walk`], when a table is broken; with the address at which it is.
    pub fn enumerate(
        &self,
        memory: &impl Physical,
        found: &mut impl FnMut(Leaf),
    ) -> Result<(), (Stop, u64)> {
        self.enumerate_table(
            memory,
            self.root,
            self.first_level(),
            0,
            Taken::default(),
            found,
        )
    }

    fn enumerate_table(
        &self,
        memory: &impl Physical,
        table: u64,
        level: u8,
        base: u64,
        taken: Taken,
        found: &mut impl FnMut(Leaf),
    ) -> Result<(), (Stop, u64)> {
        for index in 0..self.entries(level) {
            let iova = base | index << self.shift(level);
            match self
                .fetch(memory, table, index, level, taken, iova)
                .map_err(|stop| (stop, iova))?
            {
                Entry::Invalid => {}
                Entry::Leaf(leaf) => found(leaf),
                Entry::Table(next, now) => {
                    self.enumerate_table(memory, next, level + 1, iova, now, found)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::collections::HashMap;

    /// Sparse physical memory; tables come from 1 GiB up.
    #[derive(Default)]
    pub(crate) struct Sparse {
        pub(crate) words: HashMap<u64, u64>,
        tables: u64,
    }

    impl Physical for Sparse {
        fn read_u64(&self, pa: u64) -> Option<u64> {
            assert_eq!(pa % 8, 0);
            (pa < 1 << 40).then(|| self.words.get(&pa).copied().unwrap_or(0))
        }
    }

    impl Sparse {
        /// A fresh, empty table of 64 KiB, enough for any granule.
        pub(crate) fn table(&mut self) -> u64 {
            self.tables += 1;
            0x4000_0000 + self.tables * 0x1_0000
        }

        /// Maps one leaf the way a driver does it: recursively from the bottom level's view,
        /// splitting the address into decimal digits of the table size rather than shifting down.
        pub(crate) fn map(
            &mut self,
            root: u64,
            geometry: (u32, u32),
            iova: u64,
            pa: u64,
            level: u32,
            flags: u64,
        ) {
            let (granule, bits) = geometry;
            let per_table = 1u64 << (granule - 3);
            let mut digits = Vec::new();
            let mut rest = iova >> granule;
            let mut left = bits - granule;
            while left > 0 {
                let width = left.min(granule - 3);
                digits.push(rest % (per_table.min(1 << width)));
                rest /= 1 << width;
                left -= width;
            }
            assert_eq!(rest, 0, "iova fits");
            let mut table = root;
            let first = 4 - digits.len() as u32;
            for (at, digit) in (first..).zip(digits.into_iter().rev()) {
                let slot = table + 8 * digit;
                if at == level {
                    let kind = if level == 3 { 3 } else { 1 };
                    assert!(self.words.insert(slot, pa | flags | kind).is_none());
                    return;
                }
                let next = match self.words.get(&slot) {
                    Some(d) => d & 0xffff_ffff_f000,
                    None => {
                        let next = self.table();
                        self.words.insert(slot, next | 3);
                        next
                    }
                };
                table = next;
            }
        }
    }

    pub(crate) const RW: u64 = ACCESS_FLAG | AP_UNPRIVILEGED;
    const RO: u64 = RW | AP_READ_ONLY;

    fn table(root: u64, granule: u32, bits: u32) -> Table {
        Table {
            root,
            input_bits: bits,
            output_bits: 44,
            granule,
            ignore_access_flag: false,
            flat_permissions: false,
            dirty_update: false,
        }
    }

    #[derive(Debug, Clone)]
    struct Case {
        granule: u32,
        bits: u32,
        leaves: BTreeMap<u64, (u64, bool, bool)>,
    }

    /// Pages and second-level blocks at random places, none overlapping.
    fn case() -> impl Strategy<Value = Case> {
        let geometry = prop_oneof![
            (Just(12u32), 25u32..=48),
            (Just(14u32), 26u32..=48),
            (Just(16u32), 30u32..=48),
        ];
        (
            geometry,
            proptest::collection::vec(
                (any::<u64>(), any::<u64>(), any::<bool>(), any::<bool>()),
                1..20,
            ),
        )
            .prop_map(|((granule, bits), raw)| {
                let block = 2 * granule - 3;
                let mut leaves = BTreeMap::new();
                let mut blocks = BTreeMap::<u64, bool>::new();
                for (iova, pa, write, large) in raw {
                    let large = large && bits > block;
                    let shift = if large { block } else { granule };
                    let iova = (iova % (1 << bits)) >> shift << shift;
                    let region = iova >> block;
                    // A region is either one block or holds pages.
                    match blocks.get(&region) {
                        Some(_) if large => continue,
                        Some(true) => continue,
                        _ => {}
                    }
                    blocks.insert(region, large);
                    let pa = (pa % (1 << 44)) >> shift << shift;
                    leaves.insert(iova, (pa, write, large));
                }
                Case {
                    granule,
                    bits,
                    leaves,
                }
            })
    }

    fn build(case: &Case) -> (Sparse, Table) {
        let mut memory = Sparse::default();
        let root = memory.table();
        for (iova, (pa, write, large)) in &case.leaves {
            let flags = if *write { RW } else { RO };
            let level = if *large { 2 } else { 3 };
            memory.map(root, (case.granule, case.bits), *iova, *pa, level, flags);
        }
        (memory, table(root, case.granule, case.bits))
    }

    proptest! {
        #[test]
        fn walks_to_what_was_mapped(case in case(), inside in any::<u64>()) {
            let (memory, table) = build(&case);
            for (iova, (pa, write, large)) in &case.leaves {
                let shift = if *large { 2 * case.granule - 3 } else { case.granule };
                let leaf = table.walk(&memory, iova + inside % (1 << shift)).unwrap();
                prop_assert_eq!(leaf, Leaf {
                    iova: *iova, pa: *pa, len: 1 << shift,
                    readable: true, writable: *write, level: if *large { 2 } else { 3 },
                });
            }
        }

        #[test]
        fn faults_where_nothing_is(case in case(), at in any::<u64>()) {
            let (memory, table) = build(&case);
            let at = at % (1 << case.bits);
            let mapped = case.leaves.range(..=at).next_back().is_some_and(|(iova, (_, _, large))| {
                at - iova < 1 << if *large { 2 * case.granule - 3 } else { case.granule }
            });
            match table.walk(&memory, at) {
                Ok(_) => prop_assert!(mapped),
                Err(stop) => {
                    prop_assert!(!mapped);
                    prop_assert_eq!(stop.kind, "F_TRANSLATION");
                }
            }
            if case.bits < 64 {
                prop_assert!(table.walk(&memory, at | 1 << case.bits).is_err());
            }
        }

        #[test]
        fn enumerates_all_in_order(case in case()) {
            let (memory, table) = build(&case);
            let mut seen = Vec::new();
            table
                .enumerate(&memory, &mut |leaf| seen.push((leaf.iova, leaf.pa, leaf.writable)))
                .unwrap();
            let want: Vec<_> = case.leaves.iter().map(|(i, (p, w, _))| (*i, *p, *w)).collect();
            prop_assert_eq!(seen, want);
        }

        #[test]
        fn any_memory_ends(
            words in proptest::collection::vec(any::<u64>(), 512),
            iova in any::<u64>(),
        ) {
            let mut memory = Sparse::default();
            for (i, w) in words.iter().enumerate() {
                // Point back into the same table, often.
                let w = if i % 2 == 0 { 0x4000_0000 | w & 0xfff } else { *w };
                memory.words.insert(0x4000_0000 + 8 * i as u64, w);
            }
            let _ = table(0x4000_0000, 12, 39).walk(&memory, iova);
        }
    }

    #[test]
    fn permissions_by_leaf_and_by_table() {
        let mut memory = Sparse::default();
        let root = memory.table();
        let t = table(root, 12, 39);
        let geometry = (12, 39);
        memory.map(root, geometry, 0x1000, 0x9000, 3, RW & !AP_UNPRIVILEGED);
        memory.map(root, geometry, 0x2000, 0xa000, 3, RW & !ACCESS_FLAG);
        memory.map(root, geometry, 0x3000, 0xb000, 3, RO | DIRTY_MODIFIER);
        memory.map(root, geometry, 0x4000, 0xc000, 3, RW);
        memory.map(root, geometry, 0x5000, 1 << 45, 3, RW);
        let leaf = t.walk(&memory, 0x1000).unwrap();
        assert!(!leaf.readable && !leaf.writable);
        let kind = |t: &Table, iova| t.walk(&memory, iova).unwrap_err();
        assert_eq!(
            (kind(&t, 0x2000).kind, kind(&t, 0x2000).level),
            ("F_ACCESS", 3)
        );
        assert_eq!(kind(&t, 0x5000).kind, "F_ADDR_SIZE");
        let lenient = Table {
            ignore_access_flag: true,
            dirty_update: true,
            ..t
        };
        assert!(lenient.walk(&memory, 0x2000).unwrap().writable);
        assert!(lenient.walk(&memory, 0x3000).unwrap().writable);
        assert!(!t.walk(&memory, 0x3000).unwrap().writable);

        for (bit, readable) in [(TABLE_READ_ONLY, true), (TABLE_NO_UNPRIVILEGED, false)] {
            let before = memory.words[&root];
            memory.words.insert(root, before | bit);
            let leaf = t.walk(&memory, 0x4000).unwrap();
            assert_eq!((leaf.readable, leaf.writable), (readable, false));
            let flat = Table {
                flat_permissions: true,
                ..t
            };
            assert!(flat.walk(&memory, 0x4000).unwrap().writable);
            memory.words.insert(root, before);
        }
    }

    #[test]
    fn broken_tables() {
        let mut memory = Sparse::default();
        let root = memory.table();
        memory.words.insert(root, 1 << 41 | 3);
        let t = Table {
            output_bits: 48,
            ..table(root, 12, 39)
        };
        let stop = t.walk(&memory, 0).unwrap_err();
        assert_eq!((stop.kind, stop.level), ("F_WALK_EABT", 2));
        // A block where there are none, and the reserved encoding of level 3.
        let t = table(root, 12, 48);
        memory.words.insert(root, RW | 1);
        assert_eq!(
            t.walk(&memory, 0).unwrap_err(),
            Stop {
                kind: "F_TRANSLATION",
                level: 0
            }
        );
        let t = table(root, 12, 21);
        memory.words.insert(root, RW | 1);
        assert_eq!(
            t.walk(&memory, 0).unwrap_err(),
            Stop {
                kind: "F_TRANSLATION",
                level: 3
            }
        );
    }

    #[test]
    fn large_physical_addresses_of_64k_pages() {
        let mut memory = Sparse::default();
        let root = memory.table();
        memory.map(root, (16, 42), 0x1_0000, 0xe_0000 | 0x5 << 12, 3, RW);
        let t = Table {
            output_bits: 52,
            ..table(root, 16, 42)
        };
        assert_eq!(t.walk(&memory, 0x1_0000).unwrap().pa, 5 << 48 | 0xe_0000);
    }
}
