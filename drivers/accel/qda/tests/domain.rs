// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the names of DSPs.

use crate::domain::{
    Domain,
    Domains, //
};
use kernel::prelude::*;

#[kunit_tests(qda_domain)]
mod cases {
    use super::*;

    #[test]
    fn a_name_begins_with_its_sort() {
        assert_eq!(Domain::of(b"cdsp"), Ok(Domain::Cdsp));
        assert_eq!(Domain::of(b"gdsp0"), Ok(Domain::Gdsp));
        assert_eq!(Domain::of(b"dsp"), Err(EINVAL));
        assert_eq!(Domain::of(b""), Err(EINVAL));
    }

    #[test]
    fn nobody_has_said_who_has_them() {
        assert_eq!(Domains(-1).have(b"cdsp"), None);
        assert_eq!(Domains(i32::MIN).have(b"what"), None);
    }

    #[test]
    fn each_has_a_bit() {
        let of_bits = [
            (0x1, &b"adsp"[..]),
            (0x2, b"mdsp"),
            (0x4, b"sdsp"),
            (0x8, b"cdsp"),
            (0x10, b"gdsp"),
            (0x10, b"gdsp0"),
            (0x800, b"cdsp1"),
            (0x1000, b"gdsp1"),
            (0x0800_0000, b"cdsp3"),
        ];

        for (bit, name) in of_bits {
            assert_eq!(Domains(bit).have(name), Some(true));
            assert_eq!(Domains(i32::MAX ^ bit).have(name), Some(false));
        }
    }

    #[test]
    fn others_have_none() {
        for name in [&b"cdsp4"[..], b"cdsp10", b"cdsp-x", b"dsp", b""] {
            assert_eq!(Domains(i32::MAX).have(name), Some(false));
        }
    }
}
