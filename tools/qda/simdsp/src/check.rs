// SPDX-License-Identifier: GPL-2.0

//! The checks of one call's words and tables: pure, they only report.

use crate::meta::{Argument, Layout, Meta, Value};
use crate::port::Bank;
use crate::strict::Rule;
use crate::wire::{Address, Request, PAGE};

/// What the checks need to know of a DSP.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// Bit at which the bank number starts.
    pub sid_pos: u32,
    /// Width of the addresses of a bank, in bits.
    pub dma_bits: u32,
    /// The DSP's banks.
    pub banks: &'a [Bank],
    /// Pairs of them that have a stream id in common, either way round.
    pub aliases: &'a [(Bank, Bank)],
}

/// Takes what a check found.
pub type Sink<'a> = dyn FnMut(Rule, String) + 'a;

impl Shape<'_> {
    /// Whether two banks are one address space.
    pub fn is_one_context(&self, one: Bank, other: Bank) -> bool {
        one == other || self.aliases.contains(&(one, other))
    }

    /// Checks the bank number and the width of a range; gives the split address.
    pub fn address(&self, what: &str, raw: u64, len: u64, sink: &mut Sink<'_>) -> Address {
        let addr = Address::split(raw, self.sid_pos);
        if !self.banks.contains(&addr.bank) {
            sink(
                Rule::NoSuchBank,
                format!("{what} {raw:#x}: bank {}", addr.bank),
            );
        }
        let end = addr.iova.checked_add(len);
        if end.is_none_or(|end| end > 1 << self.dma_bits) {
            sink(
                Rule::AddressTooWide,
                format!("{what} {raw:#x} + {len:#x}: over {} bits", self.dma_bits),
            );
        }
        addr
    }

    /// Checks the words of a request.
    pub fn request(&self, request: &Request, sink: &mut Sink<'_>) -> Address {
        if request.ctx & 0xf0 != 0 {
            sink(Rule::ContextReserved, format!("ctx {:#x}", request.ctx));
        }
        if request.pd() > 2 {
            sink(
                Rule::PdBits,
                format!("ctx {:#x}: no such domain", request.ctx),
            );
        }
        if request.addr % PAGE != 0 {
            sink(Rule::MetaUnaligned, format!("addr {:#x}", request.addr));
        }
        if request.size % PAGE != 0 {
            sink(Rule::SizeUnaligned, format!("size {:#x}", request.size));
        }
        let need = Layout::new(request.sc).end();
        if request.size < need {
            sink(
                Rule::SizeTooSmall,
                format!("size {:#x}, tables end at {need:#x}", request.size),
            );
        }
        self.address("metadata", request.addr, request.size, sink)
    }

    /// Checks the tables of a call; `request` has been checked.
    pub fn meta(&self, request: &Request, meta: &Meta, sink: &mut Sink<'_>) {
        let layout = Layout::new(request.sc);
        if meta.poll != 0 || meta.fdlist.iter().any(|fd| *fd != 0) {
            sink(
                Rule::StaleTail,
                format!("poll {:#x}, numbers {:x?}", meta.poll, meta.fdlist),
            );
        }
        let mut inline = Vec::new();
        for (i, arg) in meta.arguments.iter().enumerate() {
            self.argument(request, i, arg, sink);
            let Some(data) = arg.data() else { continue };
            let end = data.saturating_add(arg.len());
            let is_inline =
                data >= request.addr && data < request.addr.saturating_add(request.size);
            if arg.is_empty() || !is_inline {
                continue;
            }
            if end > request.addr + request.size {
                sink(Rule::SizeTooSmall, format!("argument {i} ends at {end:#x}"));
            }
            if data < request.addr + layout.end() {
                sink(Rule::ArgumentOnTables, format!("argument {i} at {data:#x}"));
            }
            if let Value::Buffer { pv, .. } = arg.value {
                let iova = Address::split(data, self.sid_pos).iova;
                if pv != iova {
                    sink(
                        Rule::PvNotIova,
                        format!("argument {i}: pv {pv:#x}, data {iova:#x}"),
                    );
                }
            }
            inline.push((data, end, i));
        }
        let ends = inline.iter().map(|(_, end, _)| end - request.addr);
        let need = ends.fold(layout.end(), u64::max);
        if request.size > need.next_multiple_of(PAGE) {
            sink(
                Rule::SizeTooLarge,
                format!("size {:#x}, all ends at {need:#x}", request.size),
            );
        }
        inline.sort_unstable();
        for pair in inline.windows(2) {
            if pair[1].0 < pair[0].1 {
                sink(
                    Rule::ArgumentsOverlap,
                    format!("arguments {} and {}", pair[0].2, pair[1].2),
                );
            }
        }
    }

    fn argument(&self, request: &Request, i: usize, arg: &Argument, sink: &mut Sink<'_>) {
        let wanted = u32::from(!arg.is_empty());
        if arg.num != wanted {
            sink(
                Rule::ListNumber,
                format!("argument {i}: {} bytes, num {}", arg.len(), arg.num),
            );
        }
        if arg.is_empty() {
            return;
        }
        let Some(page) = arg.page else {
            if arg.num != 0 {
                sink(
                    Rule::PageIndex,
                    format!("argument {i}: pgidx {}", arg.pgidx),
                );
            }
            return;
        };
        let addr = self.address(&format!("argument {i}"), page.addr, page.size, sink);
        if !self.is_one_context(addr.bank, Address::split(request.addr, self.sid_pos).bank) {
            sink(
                Rule::BankMixed,
                format!(
                    "argument {i}: bank {}, call at {:#x}",
                    addr.bank, request.addr
                ),
            );
        }
        if page.addr % PAGE != 0 {
            sink(
                Rule::PageUnaligned,
                format!("argument {i}: page {:#x}", page.addr),
            );
        }
        let covered = arg
            .offset()
            .checked_add(arg.len())
            .is_some_and(|end| end <= page.size);
        let range = format!(
            "argument {i}: {:#x} + {:#x} of {:#x}",
            arg.offset(),
            arg.len(),
            page.size
        );
        let Value::Buffer { pv, .. } = arg.value else {
            if !covered {
                sink(Rule::HandleRange, range);
            }
            return;
        };
        if pv == 0 {
            sink(Rule::PvZero, format!("argument {i}: {} bytes", arg.len()));
        }
        // Both kernel halves of arm64 and x86 start with a one.
        if pv >> 63 != 0 {
            sink(Rule::KernelPointer, format!("argument {i}: pv {pv:#x}"));
        }
        if !covered {
            sink(Rule::PageTooSmall, range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::{Kind, Page};
    use crate::wire::Scalars;

    const SHAPE: Shape<'static> = Shape {
        sid_pos: 32,
        dma_bits: 32,
        banks: &[1, 2, 4],
        aliases: &[(1, 4), (4, 1)],
    };

    fn request() -> Request {
        Request {
            client_id: 1,
            tid: 5,
            ctx: 0x1_0101,
            handle: 30,
            sc: Scalars::new(2, 1, 1, 0, 0),
            addr: 0x1_fff0_0000,
            size: 4096,
        }
    }

    fn meta() -> Meta {
        let arg = |kind, at: u64| Argument {
            kind,
            value: Value::Buffer { pv: at, len: 16 },
            num: 1,
            pgidx: 0,
            page: Some(Page {
                addr: 0x1_fff0_0000,
                size: 4096,
            }),
        };
        Meta {
            arguments: vec![arg(Kind::In, 0xfff0_0200), arg(Kind::Out, 0xfff0_0280)],
            fdlist: [0; 16],
            poll: 0,
        }
    }

    fn judged(request: &Request, meta: &Meta) -> Vec<Rule> {
        let mut found = Vec::new();
        let mut sink = |rule, _| found.push(rule);
        SHAPE.request(request, &mut sink);
        SHAPE.meta(request, meta, &mut sink);
        found.dedup();
        found
    }

    #[test]
    fn a_good_call_breaks_nothing() {
        assert_eq!(judged(&request(), &meta()), []);
        // Bank 4 is bank 1 by another number.
        let mut meta = meta();
        meta.arguments[1].page = Some(Page {
            addr: 0x4_fff0_0000,
            size: 4096,
        });
        assert_eq!(judged(&request(), &meta), []);
    }

    /// Each edit of the good call breaks the rules at its side, and no others.
    #[test]
    fn each_defect_is_named() {
        type Edit = fn(&mut Request, &mut Meta);
        fn buffer(meta: &mut Meta, pv: u64, len: u64) {
            meta.arguments[1].value = Value::Buffer { pv, len };
        }
        let cases: &[(Edit, &[Rule])] = &[
            (|r, _| r.ctx |= 0x10, &[Rule::ContextReserved]),
            (|r, _| r.ctx |= 0x3, &[Rule::PdBits]),
            (
                |r, _| r.size = 5000,
                &[Rule::SizeUnaligned, Rule::SizeTooLarge],
            ),
            (|r, _| r.size = 8192, &[Rule::SizeTooLarge]),
            (|_, m| m.poll = 1, &[Rule::StaleTail]),
            (|_, m| m.fdlist[3] = 9, &[Rule::StaleTail]),
            (|_, m| m.arguments[1].num = 2, &[Rule::ListNumber]),
            (
                |_, m| buffer(m, 0, 16),
                &[Rule::PvZero, Rule::ArgumentOnTables, Rule::PvNotIova],
            ),
            (
                |_, m| buffer(m, 0xffff_8000_0000_0280, 16),
                &[Rule::KernelPointer, Rule::PvNotIova],
            ),
            (|_, m| buffer(m, 0xfff0_0208, 16), &[Rule::ArgumentsOverlap]),
            (
                |_, m| buffer(m, 0xfff0_0280, 0xe00),
                &[Rule::PageTooSmall, Rule::SizeTooSmall],
            ),
            (|_, m| buffer(m, 0xfff0_0100, 16), &[Rule::ArgumentOnTables]),
            (|_, m| m.arguments[1].page = None, &[Rule::PageIndex]),
            (
                |_, m| {
                    m.arguments[1].page = Some(Page {
                        addr: 0x2_0000_0000,
                        size: 4096,
                    })
                },
                &[Rule::BankMixed],
            ),
            (
                |_, m| {
                    m.arguments[1].page = Some(Page {
                        addr: 0x3_0000_0000,
                        size: 4096,
                    })
                },
                &[Rule::NoSuchBank, Rule::BankMixed],
            ),
            (
                |_, m| {
                    m.arguments[1].page = Some(Page {
                        addr: 0x1_ffff_f000,
                        size: 8192,
                    })
                },
                &[Rule::AddressTooWide],
            ),
            (
                |_, m| {
                    m.arguments[1].page = Some(Page {
                        addr: 0x1_0000_0040,
                        size: 4096,
                    })
                },
                &[Rule::PageUnaligned],
            ),
            (
                |r, _| r.addr += 0x40,
                &[Rule::MetaUnaligned, Rule::ArgumentOnTables],
            ),
            (
                |_, m| {
                    m.arguments[1].value = Value::Handle {
                        fd: 3,
                        offset: 4090,
                        len: 16,
                    }
                },
                &[Rule::HandleRange, Rule::SizeTooSmall],
            ),
        ];
        for (i, (edit, rules)) in cases.iter().enumerate() {
            let (mut r, mut m) = (request(), meta());
            edit(&mut r, &mut m);
            assert_eq!(judged(&r, &m), *rules, "case {i}");
        }
    }
}
