// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the layout of a call, with vectors taken from the protocol.

use crate::layout::{
    Arg,
    BankPrefix,
    Layout,
    MAX_INLINE, //
};
use kernel::prelude::*;

#[kunit_tests(qda_layout)]
mod cases {
    use super::*;

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(core::array::from_fn(|i| bytes[at + i]))
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(core::array::from_fn(|i| bytes[at + i]))
    }

    /// The tables of a call in bank 3, whose number starts at bit 32.
    fn encode(args: &[Arg], base: u64) -> Result<KVec<u8>> {
        let layout = Layout::new(args)?;
        let mut tables = KVec::from_elem(0u64, layout.entry_words(), GFP_KERNEL)?;
        let mut bytes = KVec::new();

        layout.encode(args, base, BankPrefix::new(3, 32)?, &mut tables)?;
        bytes.extend_from_slice(tables.as_bytes(), GFP_KERNEL)?;
        Ok(bytes)
    }

    /// hexagonrpcd opening a file.
    #[test]
    fn four_inline_arguments() -> Result {
        let args = [8, 22, 8, 256].map(|len| Arg::Inline { len });
        let layout = Layout::new(&args)?;
        let tables = encode(&args, 0x8000_0000)?;

        assert_eq!(layout.tables_len(), 548);
        assert_eq!(layout.fdlist(), 160..288);
        assert_eq!(layout.poll_word(), 544..548);
        assert_eq!(layout.size(), 4096);
        for (index, place) in layout.inline(&args) {
            let start = [640, 768, 896, 1024][index];
            let len = [8, 22, 8, 256][index];

            assert_eq!(place, start..start + len);
            assert_eq!(u64_at(&tables, 16 * index), 0x8000_0000 + start as u64);
            assert_eq!(u64_at(&tables, 16 * index + 8), len as u64);
            assert_eq!(u32_at(&tables, 64 + 8 * index), 1);
            assert_eq!(u32_at(&tables, 64 + 8 * index + 4), index as u32);
            assert_eq!(u64_at(&tables, 96 + 16 * index), 0x3_8000_0000);
            assert_eq!(u64_at(&tables, 96 + 16 * index + 8), 4096);
        }
        assert_eq!(layout.trailer(), 160..548);
        Ok(())
    }

    #[test]
    fn no_arguments() -> Result {
        let layout = Layout::new(&[])?;

        assert_eq!(layout.tables_len(), 388);
        assert_eq!(layout.size(), 4096);
        assert_eq!(layout.fdlist(), 0..128);
        assert_eq!(layout.poll_word(), 384..388);
        Ok(())
    }

    /// Whatever the kernel's page size is: the protocol's is 4096 bytes.
    #[test]
    fn size_is_in_units_of_4096() -> Result {
        // One argument begins at 512.
        for (len, size) in [(3584, 4096), (3585, 8192), (7680, 8192), (7681, 12288)] {
            assert_eq!(Layout::new(&[Arg::Inline { len }])?.size(), size);
        }
        Ok(())
    }

    /// An inline argument that begins in another page than the tables.
    #[test]
    fn page_of_an_inline_argument_is_its_own() -> Result {
        let args = [Arg::Inline { len: 4000 }, Arg::Inline { len: 5000 }];
        let tables = encode(&args, 0x1_0000)?;

        // The second begins at 512 + 4000, rounded up to 4608, and ends at 9608.
        assert_eq!(u64_at(&tables, 16), 0x1_1200);
        assert_eq!(u64_at(&tables, 48 + 16), 0x3_0001_1000);
        assert_eq!(u64_at(&tables, 48 + 24), 8192);
        Ok(())
    }

    #[test]
    fn argument_without_bytes_has_no_entries() -> Result {
        let tables = encode(&[Arg::Empty, Arg::Inline { len: 1 }], 0x1000)?;

        assert_eq!(u64_at(&tables, 0), 0);
        assert_eq!(u64_at(&tables, 8), 0);
        assert_eq!(u64_at(&tables, 32), 0);
        assert_eq!(u64_at(&tables, 48), 0);
        assert_eq!(u64_at(&tables, 56), 0);
        // The other one uses the entry of its own index.
        assert_eq!(u64_at(&tables, 40), 1 << 32 | 1);
        assert_eq!(u64_at(&tables, 64), 0x3_0000_1000);
        Ok(())
    }

    #[test]
    fn buffer_is_told_by_its_page_and_the_users_pointer() -> Result {
        let args = [Arg::Buffer {
            pv: 0xffff_8765_4abc,
            address: 0x4000_5abc,
            len: 0x1545,
        }];
        let tables = encode(&args, 0x1000)?;

        assert_eq!(u64_at(&tables, 0), 0xffff_8765_4abc);
        assert_eq!(u64_at(&tables, 8), 0x1545);
        assert_eq!(u64_at(&tables, 24), 0x3_4000_5000);
        // One byte past the second page.
        assert_eq!(u64_at(&tables, 32), 0x3000);
        assert_eq!(Layout::new(&args)?.size(), 4096);
        Ok(())
    }

    #[test]
    fn ambiguous_buffers_are_refused() {
        let buffer = |pv, address| Arg::Buffer {
            pv,
            address,
            len: 1,
        };

        assert!(encode(&[buffer(0x7001, 0x5001)], 0x1000).is_ok());
        assert_eq!(
            encode(&[buffer(0x7001, 0x5000)], 0x1000).err(),
            Some(EINVAL)
        );
        assert_eq!(
            encode(&[buffer(0x7001, 0x5801)], 0x1000).err(),
            Some(EINVAL)
        );
        assert_eq!(encode(&[buffer(0, 0x5000)], 0x1000).err(), Some(EINVAL));
    }

    #[test]
    fn memory_must_be_a_page_that_is_not_0() {
        assert_eq!(encode(&[], 0).err(), Some(EINVAL));
        assert_eq!(encode(&[], 0x1800).err(), Some(EINVAL));
        assert!(encode(&[], 0x1000).is_ok());
    }

    #[test]
    fn room_for_the_tables_is_checked() -> Result {
        let args = [Arg::Inline { len: 1 }];
        let layout = Layout::new(&args)?;
        let mut tables = KVec::from_elem(0u64, layout.entry_words() - 1, GFP_KERNEL)?;

        assert_eq!(
            layout.encode(&args, 0x1000, BankPrefix::new(3, 32)?, &mut tables),
            Err(EINVAL)
        );
        Ok(())
    }

    #[test]
    fn inline_data_is_limited_to_64_mib() {
        let half = Arg::Inline {
            len: MAX_INLINE / 2,
        };

        assert_eq!(MAX_INLINE, 64 << 20);
        assert!(Layout::new(&[half, half]).is_ok());
        assert_eq!(
            Layout::new(&[half, Arg::Inline { len: 1 }, half]).err(),
            Some(E2BIG)
        );
        assert_eq!(
            Layout::new(&[half, Arg::Inline { len: usize::MAX }]).err(),
            Some(E2BIG)
        );
    }

    #[test]
    fn prefix_is_above_the_address() -> Result {
        assert_eq!(BankPrefix::new(5, 32)?.apply(0x1234_5000)?, 0x5_1234_5000);
        assert_eq!(
            BankPrefix::new(5, 56)?.apply(0x3_1234_5000)?,
            0x0500_0003_1234_5000
        );
        assert_eq!(BankPrefix::new(0, 32)?.apply(0x1000)?, 0x1000);
        assert_eq!(BankPrefix::new(5, 32)?.apply(1 << 32), Err(EINVAL));
        assert_eq!(BankPrefix::new(256, 56).err(), Some(EINVAL));
        assert_eq!(BankPrefix::new(1, 64).err(), Some(EINVAL));
        Ok(())
    }
}
