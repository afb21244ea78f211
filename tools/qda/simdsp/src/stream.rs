// SPDX-License-Identifier: GPL-2.0

//! From stream id to translation table: stream table and context descriptor of the SMMUv3, pure.

use crate::lpae::Physical;
use crate::lpae::Stop;
use crate::lpae::Table;

/// The registers that matter for a translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registers {
    /// CR0.SMMUEN.
    pub enabled: bool,
    /// GBPA.ABORT: what a disabled SMMU does with accesses.
    pub abort: bool,
    /// STRTAB_BASE.
    pub strtab_base: u64,
    /// STRTAB_BASE_CFG.
    pub strtab_cfg: u32,
}

/// What the tables say about a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Addresses are physical.
    Bypass,
    /// Stage 1 through these tables.
    Stage1(Table),
}

/// Bits `low..=high` of `word`.
fn bits(word: u64, high: u32, low: u32) -> u64 {
    word >> low & ((1u64 << (high - low + 1)) - 1)
}

/// Address bits `high..=low`, in place.
fn address(word: u64, high: u32, low: u32) -> u64 {
    bits(word, high, low) << low
}

pub(crate) const fn stop(kind: &'static str) -> Stop {
    Stop { kind, level: 0 }
}

/// Finds the stream table entry of `sid`.
fn find_ste(memory: &impl Physical, regs: &Registers, sid: u32) -> Result<u64, Stop> {
    const BAD: Stop = stop("C_BAD_STREAMID");
    let cfg = u64::from(regs.strtab_cfg);
    let base = address(regs.strtab_base, 51, 6);
    let sid = u64::from(sid);
    if sid >> bits(cfg, 5, 0) != 0 {
        return Err(BAD);
    }
    match bits(cfg, 17, 16) {
        0 => Ok(base + 64 * sid),
        1 => {
            let split = bits(cfg, 10, 6);
            let first = memory
                .read_u64(base + 8 * (sid >> split))
                .ok_or(stop("F_STE_FETCH"))?;
            let index = sid & ((1 << split) - 1);
            match bits(first, 4, 0) {
                0 => Err(BAD),
                span if index >> (span - 1) != 0 => Err(BAD),
                _ => Ok(address(first, 51, 6) + 64 * index),
            }
        }
        _ => Err(BAD),
    }
}

/// Finds the context of a stream: register, stream table entry, context descriptor.
///
/// # Errors
///
/// The event that the SMMU would record, at level 0; `STE_ABORT` and `GBPA_ABORT` where it aborts
/// without recording one.
pub fn find_context(memory: &impl Physical, regs: &Registers, sid: u32) -> Result<Context, Stop> {
    if !regs.enabled {
        return if regs.abort {
            Err(stop("GBPA_ABORT"))
        } else {
            Ok(Context::Bypass)
        };
    }
    let at = find_ste(memory, regs, sid)?;
    let ste = memory.read_u64(at).ok_or(stop("F_STE_FETCH"))?;
    let ste1 = memory.read_u64(at + 8).ok_or(stop("F_STE_FETCH"))?;
    if ste & 1 == 0 {
        return Err(stop("C_BAD_STE"));
    }
    match bits(ste, 3, 1) {
        0..=3 => return Err(stop("STE_ABORT")),
        4 => return Ok(Context::Bypass),
        5 => {}
        // Stage 2 is a hypervisor's; the guest has none here.
        _ => return Err(stop("C_BAD_STE")),
    }

    let mut cd = address(ste, 51, 6);
    let substreams = bits(ste, 63, 59) != 0;
    if substreams {
        match bits(ste1, 1, 0) {
            0 => return Err(stop("F_STREAM_DISABLED")),
            1 => return Ok(Context::Bypass),
            2 => {}
            _ => return Err(stop("C_BAD_STE")),
        }
        if bits(ste, 5, 4) != 0 {
            let first = memory.read_u64(cd).ok_or(stop("F_CD_FETCH"))?;
            if first & 1 == 0 {
                return Err(stop("C_BAD_CD"));
            }
            cd = address(first, 51, 12);
        }
    }
    read_cd(memory, cd).map(Context::Stage1)
}

fn read_cd(memory: &impl Physical, at: u64) -> Result<Table, Stop> {
    const VALID: u64 = 1 << 31;
    const AA64: u64 = 1 << 41;
    const EPD0: u64 = 1 << 14;
    const AFFD: u64 = 1 << 35;
    const HD: u64 = 1 << 42;
    const HA: u64 = 1 << 43;
    const HAD0: u64 = 1 << 1;
    const BAD: Stop = stop("C_BAD_CD");

    let cd = memory.read_u64(at).ok_or(stop("F_CD_FETCH"))?;
    let cd1 = memory.read_u64(at + 8).ok_or(stop("F_CD_FETCH"))?;
    if cd & VALID == 0 || cd & AA64 == 0 {
        return Err(BAD);
    }
    if cd & EPD0 != 0 {
        return Err(stop("F_TRANSLATION"));
    }
    let granule = match bits(cd, 7, 6) {
        0 => 12,
        1 => 16,
        2 => 14,
        _ => return Err(BAD),
    };
    let t0sz = bits(cd, 5, 0) as u32;
    let least = if granule == 16 { 12 } else { 16 };
    if !(least..=39).contains(&t0sz) {
        return Err(BAD);
    }
    let output_bits = match bits(cd, 34, 32) {
        0 => 32,
        1 => 36,
        2 => 40,
        3 => 42,
        4 => 44,
        5 => 48,
        _ => 52,
    };
    let root = address(cd1, 51, 4);
    if root >> output_bits != 0 {
        return Err(BAD);
    }
    Ok(Table {
        root,
        input_bits: 64 - t0sz,
        output_bits,
        granule,
        ignore_access_flag: cd & (AFFD | HA) != 0,
        flat_permissions: cd1 & HAD0 != 0,
        dirty_update: cd & HD != 0,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::lpae::tests::Sparse;
    use proptest::prelude::*;

    const CD: u64 = 0x10_0000;
    pub(crate) const TTB: u64 = 0x20_0000;
    pub(crate) const STRTAB: u64 = 0x30_0000;

    /// Stage 1, 39 bits in, 44 out, 4 KiB granule, as Linux sets it up.
    pub(crate) fn cd_words(root: u64) -> [u64; 2] {
        [25 | 1 << 30 | 1 << 31 | 4 << 32 | 1 << 41, root]
    }

    pub(crate) fn linear() -> Registers {
        Registers {
            enabled: true,
            abort: false,
            strtab_base: STRTAB,
            strtab_cfg: 4,
        }
    }

    fn put(memory: &mut Sparse, at: u64, words: &[u64]) {
        for (i, w) in words.iter().enumerate() {
            memory.words.insert(at + 8 * i as u64, *w);
        }
    }

    fn kind(memory: &Sparse, regs: &Registers, sid: u32) -> &'static str {
        find_context(memory, regs, sid).unwrap_err().kind
    }

    #[test]
    fn stream_configurations() {
        let mut memory = Sparse::default();
        let regs = linear();
        put(&mut memory, CD, &cd_words(TTB));
        let ste = STRTAB + 64 * 3;
        assert_eq!(kind(&memory, &regs, 3), "C_BAD_STE");
        assert_eq!(kind(&memory, &regs, 16), "C_BAD_STREAMID");
        put(&mut memory, ste, &[1]);
        assert_eq!(kind(&memory, &regs, 3), "STE_ABORT");
        put(&mut memory, ste, &[1 | 6 << 1 | CD]);
        assert_eq!(kind(&memory, &regs, 3), "C_BAD_STE");
        put(&mut memory, ste, &[1 | 4 << 1]);
        assert_eq!(find_context(&memory, &regs, 3), Ok(Context::Bypass));
        put(&mut memory, ste, &[1 | 5 << 1 | CD]);
        let Ok(Context::Stage1(table)) = find_context(&memory, &regs, 3) else {
            panic!()
        };
        assert_eq!(
            (table.root, table.input_bits, table.output_bits),
            (TTB, 39, 44)
        );
        let far = Registers {
            strtab_base: 1 << 44,
            ..regs
        };
        assert_eq!(kind(&memory, &far, 3), "F_STE_FETCH");
        put(&mut memory, ste, &[1 | 5 << 1 | 1 << 44]);
        assert_eq!(kind(&memory, &regs, 3), "F_CD_FETCH");
    }

    #[test]
    fn substreams() {
        let mut memory = Sparse::default();
        let regs = linear();
        put(&mut memory, CD, &cd_words(TTB));
        let ste = STRTAB + 64;
        let base = 1 | 5 << 1 | 4 << 59;
        put(&mut memory, ste, &[base | CD, 0]);
        assert_eq!(kind(&memory, &regs, 1), "F_STREAM_DISABLED");
        put(&mut memory, ste, &[base | CD, 1]);
        assert_eq!(find_context(&memory, &regs, 1), Ok(Context::Bypass));
        put(&mut memory, ste, &[base | CD, 2]);
        let linear = find_context(&memory, &regs, 1);
        assert!(matches!(linear, Ok(Context::Stage1(t)) if t.root == TTB));
        let first = 0x40_0000;
        put(&mut memory, ste, &[base | 2 << 4 | first, 2]);
        assert_eq!(kind(&memory, &regs, 1), "C_BAD_CD");
        put(&mut memory, first, &[CD | 1]);
        assert_eq!(find_context(&memory, &regs, 1), linear);
    }

    #[test]
    fn context_descriptors() {
        let mut memory = Sparse::default();
        let regs = linear();
        put(&mut memory, STRTAB, &[1 | 5 << 1 | CD]);
        let good = cd_words(TTB);
        let mut expect = |cd: [u64; 2], what: Option<&str>| {
            put(&mut memory, CD, &cd);
            let got = find_context(&memory, &regs, 0).err().map(|s| s.kind);
            assert_eq!(got, what, "{cd:x?}");
        };
        expect(good, None);
        expect([good[0] & !(1 << 31), good[1]], Some("C_BAD_CD"));
        expect([good[0] & !(1 << 41), good[1]], Some("C_BAD_CD"));
        expect([good[0] | 3 << 6, good[1]], Some("C_BAD_CD"));
        expect([good[0] & !0x3f | 40, good[1]], Some("C_BAD_CD"));
        expect([good[0] | 1 << 14, good[1]], Some("F_TRANSLATION"));
        expect([good[0], 1 << 45], Some("C_BAD_CD"));
        put(&mut memory, CD, &[good[0] & !0x3f | 22 | 1 << 6, TTB]);
        let context = find_context(&memory, &regs, 0);
        assert!(matches!(context, Ok(Context::Stage1(t)) if t.granule == 16 && t.input_bits == 42));
    }

    #[test]
    fn disabled() {
        let memory = Sparse::default();
        let off = Registers::default();
        assert_eq!(find_context(&memory, &off, 9), Ok(Context::Bypass));
        let abort = Registers { abort: true, ..off };
        assert_eq!(kind(&memory, &abort, 9), "GBPA_ABORT");
    }

    proptest! {
        /// The two formats give the same entry for every stream id that has one.
        #[test]
        fn two_level_tables(split in prop_oneof![Just(6u32), Just(8), Just(10)], sid in 0u32..0x1_0000,
                            span in 1u64..12) {
            let mut memory = Sparse::default();
            let leaf_table = 0x500_0000;
            let regs = Registers {
                strtab_cfg: 16 | split << 6 | 1 << 16,
                ..linear()
            };
            prop_assert_eq!(kind(&memory, &regs, sid), "C_BAD_STREAMID");
            put(&mut memory, STRTAB + 8 * u64::from(sid >> split), &[leaf_table | span]);
            let index = u64::from(sid) % (1 << split);
            put(&mut memory, leaf_table + 64 * index, &[1 | 4 << 1]);
            let got = find_context(&memory, &regs, sid);
            if index < 1 << (span - 1) {
                prop_assert_eq!(got, Ok(Context::Bypass));
            } else {
                prop_assert_eq!(got, Err(stop("C_BAD_STREAMID")));
            }
            prop_assert_eq!(kind(&memory, &regs, sid | 0x1_0000), "C_BAD_STREAMID");
        }
    }
}
