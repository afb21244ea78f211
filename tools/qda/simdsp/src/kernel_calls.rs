// SPDX-License-Identifier: GPL-2.0

//! Calls that the guest's kernel builds itself: processes and their memory (handle 1), and the
//! capability query (handle 2). Numbers are lines of `drivers/misc/fastrpc.c`.

use crate::call::{words, Abort, Call};
use crate::dsp::Dsp;
use crate::process::{Domain, Mapped, Process};
use crate::stats::count;
use crate::strict::{kernel_scalars, Rule};
use crate::wire::{status, Address, Request};
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// Handle of the calls about processes.
pub const INIT: u32 = 1;
/// Handle of the DSP's utilities.
pub const UTILITIES: u32 = 2;
/// Flag of MMAP: memory for the process' heap (74).
const ADD_PAGES: u32 = 0x1000;
/// The same for memory that may be kept in the system cache: what the user library passes.
const ADD_PAGES_LLC: u32 = 0x3000;
/// Flag of MEM_MAP: the buffer becomes known by its number, but gets no address
/// (uapi/misc/fastrpc.h).
const FD_NOMAP: u32 = 16;
/// Bytes of a page entry, which MMAP and MEM_MAP give as `num` (2097, 2229).
const PAGE_ENTRY: u32 = 16;
/// Attributes that a DSP has, 1 to 255 (1886).
pub const ATTRIBUTES: usize = 255;

type Done = Result<i32, Abort>;

/// Serves a call on handle 1 or 2.
///
/// # Errors
///
/// [`Abort`] when the arguments can't be read or are wrong.
pub fn invoke(dsp: &Arc<Dsp>, call: &Arc<Call>) -> Done {
    if call.request.handle == UTILITIES {
        return capabilities(dsp, call);
    }
    let sc = call.request.sc;
    if call.request.client_id != 0 {
        // Reported when it came in; no process may command others.
        return Ok(status::UNSUPPORTED);
    }
    match kernel_scalars(sc.method()) {
        Some(wanted) if wanted == sc => {}
        Some(wanted) => {
            dsp.judge()
                .report(Rule::KernelScalars, format!("{sc:?}, not {wanted:?}"));
            return Ok(status::BAD_PARAMETER);
        }
        None => {
            dsp.judge()
                .report(Rule::KernelScalars, format!("{sc:?}: no such method"));
            return Ok(status::UNSUPPORTED);
        }
    }
    match sc.method() {
        0 => attach(dsp, call),
        1 => release(dsp, call),
        4 => mmap(dsp, call),
        5 => munmap(dsp, call),
        6 | 7 => create(dsp, call),
        8 => create_static(dsp, call),
        10 => mem_map(dsp, call),
        _ => mem_unmap(dsp, call),
    }
}

/// Whether a message ends a process.
pub(crate) fn is_release(request: &Request) -> bool {
    (request.handle, request.client_id, request.sc.method()) == (INIT, 0, 1)
}

/// In buffer `i`, which must have exactly `len` bytes.
fn exactly(dsp: &Dsp, call: &Call, i: usize, len: usize) -> Result<Vec<u8>, Abort> {
    let data = dsp.in_buf(call, i)?;
    if data.len() != len {
        let what = format!(
            "{:?} in {i}: {} bytes, not {len}",
            call.request.sc,
            data.len()
        );
        dsp.judge().report(Rule::KernelSize, &*what);
        return Err(Abort::Bad(what));
    }
    Ok(data)
}

/// The words of in buffer `i`, which must have exactly `4 N` bytes.
fn fields<const N: usize>(dsp: &Dsp, call: &Call, i: usize) -> Result<[u32; N], Abort> {
    words(&exactly(dsp, call, i, 4 * N)?).ok_or_else(|| Abort::bad("short"))
}

fn wide(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// A page entry in in buffer `i`.
fn page(dsp: &Dsp, call: &Call, i: usize) -> Result<(u64, u64), Abort> {
    let [a, b, c, d] = fields(dsp, call, i)?;
    Ok((wide(a, b), wide(c, d)))
}

fn expect(dsp: &Dsp, holds: bool, what: impl FnOnce() -> String) -> Result<(), Abort> {
    if holds {
        return Ok(());
    }
    let what = what();
    dsp.judge().report(Rule::KernelField, &*what);
    Err(Abort::Bad(what))
}

/// The live process that a call is about; checks the call's domain against it.
fn process(dsp: &Dsp, call: &Call, client: u32) -> Result<Arc<Process>, Abort> {
    let Some(process) = dsp.process(client as i32) else {
        let what = format!("{:?}: client {client}", call.request.sc);
        dsp.judge().report(Rule::UnknownClient, &*what);
        return Err(Abort::Bad(what));
    };
    check_pd(dsp, call, process.domain);
    Ok(process)
}

fn check_pd(dsp: &Dsp, call: &Call, domain: Domain) {
    if call.request.pd() != domain.pd() {
        dsp.judge().report(
            Rule::PdBits,
            format!(
                "{:?}: ctx {:#x} for a {domain:?} process",
                call.request.sc, call.request.ctx
            ),
        );
    }
}

/// Makes a process, unless its id is taken.
fn new_process(dsp: &Dsp, call: &Call, client: u32, domain: Domain, at: Option<Address>) -> Done {
    check_pd(dsp, call, domain);
    let client = client as i32;
    expect(dsp, client != 0, || {
        format!("{:?}: client 0", call.request.sc)
    })?;
    let process = Process::new(client, domain, at.map(|at| at.bank));
    if !dsp.add_process(process) {
        dsp.judge()
            .report(Rule::ClientReused, format!("client {client} is alive"));
        return Ok(status::ALREADY);
    }
    Ok(0)
}

/// A range that the guest hands over: its bank must exist and map all of it.
fn handed_over(dsp: &Dsp, call: &Call, what: &str, addr: u64, size: u64) -> Result<Address, Abort> {
    let at = dsp.shape().address(what, addr, size, &mut |rule, detail| {
        dsp.judge().report(rule, detail)
    });
    dsp.probe(call, what, at, size)?;
    Ok(at)
}

/// Reports memory that is not in the bank of its process.
fn check_bank(dsp: &Dsp, process: &Process, what: &str, at: Address) {
    if !dsp.is_one_context(process.bank(at.bank), at.bank) {
        dsp.judge().report(
            Rule::BankMixed,
            format!("{what}: bank {}, client {}", at.bank, process.client),
        );
    }
}

/// Method 0 (1829): in 0 s32 client.
fn attach(dsp: &Dsp, call: &Call) -> Done {
    let [client] = fields(dsp, call, 0)?;
    let domain = match call.request.pd() {
        2 => Domain::Sensors,
        _ => Domain::Root,
    };
    new_process(dsp, call, client, domain, None)
}

/// Method 1 (1708): in 0 s32 client. Answered 0 also for clients that never were: the file of the
/// client may have been opened and closed, no more (1730).
fn release(dsp: &Arc<Dsp>, call: &Call) -> Done {
    let [client] = fields(dsp, call, 0)?;
    if let Some(process) = dsp.process(client as i32) {
        check_pd(dsp, call, process.domain);
        dsp.release_process(&process);
    }
    Ok(0)
}

/// Bytes that a process begins with (1616).
fn process_memory(image_len: u32) -> u64 {
    (4 * u64::from(image_len))
        .max(2 << 20)
        .next_multiple_of(1 << 20)
}

/// Methods 6 and 7 (1559): in 0 {s32 client, u32 name, image, pages, attributes, signature},
/// in 1 name, in 2 image, in 3 {u64 addr, u64 size} of the memory to start with.
fn create(dsp: &Dsp, call: &Call) -> Done {
    let [client, name_len, image_len, pages, attributes, signature_len] = fields(dsp, call, 0)?;
    let name = exactly(dsp, call, 1, name_len as usize)?;
    let image = exactly(dsp, call, 2, image_len as usize)?;
    let (addr, size) = page(dsp, call, 3)?;
    expect(dsp, name.last() == Some(&0), || {
        format!("name {name:x?} without NUL")
    })?;
    expect(dsp, pages == 1, || format!("{pages} pages"))?;
    expect(
        dsp,
        attributes == 0 || call.request.sc.method() == 7,
        || format!("attributes {attributes:#x} by method 6"),
    )?;
    expect(dsp, size != 0 && addr % 4096 == 0, || {
        format!("memory {addr:#x} + {size:#x}")
    })?;
    let wanted = process_memory(image_len);
    if size != wanted {
        let what = format!("{size:#x} for an image of {image_len:#x}, not {wanted:#x}");
        dsp.judge().report(Rule::ProcessMemory, what);
    }
    if signature_len > image_len {
        let what = format!("{signature_len:#x} of an image of {image_len:#x}");
        dsp.judge().report(Rule::SignatureLength, what);
    }
    let at = handed_over(dsp, call, "process memory", addr, size)?;
    if !image.is_empty() && !image.starts_with(b"\x7fELF") {
        log::info!("{}: client {client}: not an ELF image", dsp.label());
        return Ok(status::CANNOT_LOAD);
    }
    let status = new_process(dsp, call, client, Domain::User, Some(at))?;
    if let (0, Some(process)) = (status, dsp.process(client as i32)) {
        process.set_memory(addr, size);
    }
    Ok(status)
}

/// Method 8 (1453): in 0 {s32 client, u32 name, pages}, in 1 name, in 2 {u64 addr, u64 size} of
/// the heap: physical, and only the first time (1510). A heap that comes with a process that is
/// refused counts as not handed over (1546).
fn create_static(dsp: &Dsp, call: &Call) -> Done {
    let [client, name_len, pages] = fields(dsp, call, 0)?;
    let _name = exactly(dsp, call, 1, name_len as usize)?;
    let (addr, size) = page(dsp, call, 2)?;
    expect(dsp, pages <= 1 && (pages == 1) == (size != 0), || {
        format!("{pages} pages, heap {addr:#x} + {size:#x}")
    })?;
    if Address::split(addr, dsp.shape().sid_pos).bank != 0 {
        dsp.judge()
            .report(Rule::HeapHasBank, format!("heap {addr:#x}"));
    }
    let given = pages == 1;
    if given && dsp.config().heap.is_some_and(|heap| heap != (addr, size)) {
        dsp.judge()
            .report(Rule::HeapWrong, format!("heap {addr:#x} + {size:#x}"));
    }
    if given && dsp.reachable_heap().is_some_and(|len| len != size) {
        dsp.judge()
            .report(Rule::HeapUnreachable, format!("heap {addr:#x} + {size:#x}"));
    }
    if given == dsp.inner().has_heap {
        let what = match given {
            true => "handed over again",
            false => "never handed over",
        };
        dsp.judge().report(Rule::HeapOnce, what);
        return Ok(status::BAD_PARAMETER);
    }
    let done = new_process(dsp, call, client, Domain::Static, None)?;
    if given && done == 0 {
        count(&dsp.counters.heaps);
        dsp.inner().has_heap = true;
    }
    Ok(done)
}

/// Method 4 (2061): in 0 {s32 client, u32 flags, u64 vaddr, s32 num, pad}, in 1 {u64 addr, u64
/// size}; out 0 u64 address on the DSP.
fn mmap(dsp: &Dsp, call: &Call) -> Done {
    let [client, flags, _, _, num, _] = fields(dsp, call, 0)?;
    let (addr, size) = page(dsp, call, 1)?;
    let process = process(dsp, call, client)?;
    expect(dsp, num == PAGE_ENTRY, || format!("num {num}"))?;
    expect(dsp, matches!(flags, ADD_PAGES | ADD_PAGES_LLC), || {
        format!("flags {flags:#x}")
    })?;
    let at = handed_over(dsp, call, "heap", addr, size)?;
    check_bank(dsp, &process, "heap", at);
    let vaddr = dsp.new_vaddr(size);
    dsp.put_exact(call, 0, &vaddr.to_le_bytes())?;
    process.grow(Mapped { addr, size, vaddr });
    Ok(0)
}

/// Method 5 (1997): in 0 {s32 client, pad, u64 vaddr, u64 size}.
fn munmap(dsp: &Dsp, call: &Call) -> Done {
    let [client, _, v0, v1, s0, s1] = fields(dsp, call, 0)?;
    let process = process(dsp, call, client)?;
    let (vaddr, size) = (wide(v0, v1), wide(s0, s1));
    if !process.shrink(vaddr, size) {
        let what = format!("heap {vaddr:#x} + {size:#x} of client {client}");
        dsp.judge().report(Rule::UnknownMapping, &*what);
        return Err(Abort::Bad(what));
    }
    Ok(0)
}

/// Method 10 (2200): in 0 {s32 client, s32 number, s32 offset, u32 flags, u64 vaddr, s32 num, s32
/// data length}, in 1 {u64 addr, u64 size}, in 2 empty; out 0 u64 address on the DSP. The offset
/// and the first address are the program's, and mean nothing to the kernel.
fn mem_map(dsp: &Dsp, call: &Call) -> Done {
    let [client, number, _, flags, _, _, num, data_len] = fields(dsp, call, 0)?;
    let (addr, size) = page(dsp, call, 1)?;
    let process = process(dsp, call, client)?;
    exactly(dsp, call, 2, 0)?;
    expect(dsp, num == PAGE_ENTRY && data_len == 0, || {
        format!("num {num}, data length {data_len}")
    })?;
    let at = handed_over(dsp, call, "mapped buffer", addr, size)?;
    check_bank(dsp, &process, "mapped buffer", at);
    let vaddr = match flags {
        FD_NOMAP => 0,
        _ => dsp.new_vaddr(size),
    };
    if !process.map(number as i32, Mapped { addr, size, vaddr }) {
        dsp.judge().report(
            Rule::MappedTwice,
            format!("number {} of client {client}", number as i32),
        );
        return Ok(status::ALREADY);
    }
    if let Err(abort) = dsp.put_exact(call, 0, &vaddr.to_le_bytes()) {
        process.unmap(number as i32);
        return Err(abort);
    }
    Ok(0)
}

/// Method 11 (2146): in 0 {s32 client, s32 number, u64 vaddr, u64 length}.
fn mem_unmap(dsp: &Dsp, call: &Call) -> Done {
    let [client, number, v0, v1, l0, l1] = fields(dsp, call, 0)?;
    let process = process(dsp, call, client)?;
    let (vaddr, len) = (wide(v0, v1), wide(l0, l1));
    match process.mapped(number as i32) {
        Some(mapped) if mapped.vaddr == vaddr && mapped.size == len => {
            process.unmap(number as i32);
            Ok(0)
        }
        mapped => {
            let what = format!(
                "number {}: {vaddr:#x} + {len:#x}, is {mapped:x?}",
                number as i32
            );
            dsp.judge().report(Rule::UnknownMapping, &*what);
            Err(Abort::Bad(what))
        }
    }
}

/// Handle 2, method 0 (1875): in 0 u32 255; out 0 u32\[255\], attributes 1 to 255.
fn capabilities(dsp: &Dsp, call: &Call) -> Done {
    if call.request.sc.0 != 0x0001_0100 {
        dsp.judge().report(
            Rule::KernelScalars,
            format!("{:?} on handle 2", call.request.sc),
        );
        return Ok(status::UNSUPPORTED);
    }
    let [number] = fields(dsp, call, 0)?;
    expect(dsp, number as usize == ATTRIBUTES, || {
        format!("{number} attributes")
    })?;
    let out: Vec<u8> = (1..=ATTRIBUTES as u32)
        .flat_map(|id| attribute(id).to_le_bytes())
        .collect();
    dsp.put_exact(call, 0, &out)?;
    dsp.counters
        .query_pd
        .store(call.request.pd().into(), Ordering::Relaxed);
    count(&dsp.counters.queries);
    Ok(0)
}

/// What this DSP answers for an attribute: unsigned domains (1), architecture (6), and two marks
/// at the end, by which a test sees that nothing is shifted.
pub const fn attribute(id: u32) -> u32 {
    match id {
        1 => 1,
        6 => 0x73,
        254 => 0xfe51_0254,
        255 => 0xff51_0255,
        _ => 0,
    }
}
