// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of streams and address spaces, with banks of device trees.

use crate::streams::{
    place,
    Place,
    Stream, //
};
use kernel::prelude::*;

const fn stream(id: u64, mask: u64) -> Stream {
    Stream { iommu: 1, id, mask }
}

/// Of sm8750's CDSP.
const BANK_13: [Stream; 5] = [
    stream(0x196d, 0),
    stream(0x0c0d, 0x20),
    stream(0x0c2e, 0),
    stream(0x0c4d, 0),
    stream(0x19cd, 0),
];
const BANK_14: [Stream; 3] = [stream(0x196e, 0), stream(0x0c0e, 0x20), stream(0x19ce, 0)];

#[kunit_tests(qda_streams)]
mod cases {
    use super::*;

    fn among(streams: &[Stream], spaces: &[&[Stream]]) -> Place {
        place(streams, spaces.iter().copied())
    }

    #[test]
    fn a_bank_with_streams_of_its_own_is_new() {
        assert_eq!(among(&BANK_13, &[]), Place::New);
        assert_eq!(among(&[stream(4, 0)], &[&BANK_13, &BANK_14]), Place::New);
        // Without an IOMMU.
        assert_eq!(among(&[], &[&BANK_13, &[]]), Place::New);
    }

    #[test]
    fn a_bank_with_the_streams_of_another_shares() {
        assert_eq!(among(&BANK_14, &[&BANK_13[..2], &BANK_14]), Place::Known(1));
        assert_eq!(among(&[stream(0x0c2d, 0)], &[&BANK_13]), Place::Known(0));
    }

    #[test]
    fn a_bank_with_some_of_anothers_can_not() {
        assert_eq!(among(&BANK_14, &[&BANK_13]), Place::Split(0));
        assert_eq!(among(&BANK_13, &[&BANK_14]), Place::Split(0));
        // The other has fewer.
        assert_eq!(among(&[stream(0x0c0d, 0x60)], &[&BANK_13]), Place::Split(0));
        // Those of two.
        let both = [BANK_13[0], BANK_14[0]];
        assert_eq!(among(&both, &[&BANK_13[..2], &BANK_14]), Place::Split(0));
    }

    #[test]
    fn iommus_have_streams_of_their_own() {
        let other = Stream {
            iommu: 2,
            ..BANK_14[0]
        };

        assert_eq!(among(&[other], &[&BANK_14]), Place::New);
        assert_eq!(among(&[BANK_14[0], other], &[&BANK_14]), Place::Split(0));
    }
}
