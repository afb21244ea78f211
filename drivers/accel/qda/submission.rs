// SPDX-License-Identifier: GPL-2.0

//! The ioctls of submissions: `DRM_QDA_QUEUE_CREATE` to `DRM_QDA_REAP`.

use crate::{
    driver::QdaDevice,
    file::{
        DrmFile,
        FileNames,
        QdaFile, //
    },
    invoke::{
        read_nothing,
        Invoke, //
    },
    queue::{
        Queue,
        Record, //
    },
    ring::MAX_DEPTH,
    threads::MAX_THREADS,
    words::{
        halves,
        whole, //
    }, //
};
use core::mem::offset_of;
use kernel::{
    drm::Ioctl,
    prelude::*,
    time::{
        Instant,
        Monotonic, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    uapi, //
};

/// Largest size that a program may say a submission, or a completion, has.
const MAX_SIZE: usize = 4096;

/// Size of `struct drm_qda_submission`.
const SUBMISSION_LEN: usize = size_of::<uapi::drm_qda_submission>();

/// Size of `struct drm_qda_completion`.
const COMPLETION_LEN: usize = size_of::<uapi::drm_qda_completion>();

/// Entry number `index` of a program's array at `address`, whose entries have `size` bytes.
fn entry(address: u64, index: usize, size: usize) -> Result<UserPtr> {
    let offset = index.checked_mul(size).ok_or(EFAULT)?;
    let start = usize::try_from(address).map_err(|_| EFAULT)?;

    Ok(UserPtr::from_addr(start.checked_add(offset).ok_or(EFAULT)?))
}

/// The size of a program's entries, of which `known` bytes are known here.
fn entry_size(size: u32, known: usize) -> Result<usize> {
    match size as usize {
        size if size < known => Err(EINVAL),
        size if size > MAX_SIZE => Err(E2BIG),
        size => Ok(size),
    }
}

/// Reads a submission.
fn read(address: UserPtr, size: usize) -> Result<uapi::drm_qda_submission> {
    let mut reader = UserSlice::new(address, size).reader();
    // In the order of the fields.
    let [user_data, args, id, target, rest]: [u64; SUBMISSION_LEN / 8] = reader.read()?;
    let [handle, scalars] = halves(target);
    let [arg_count, flags] = halves(rest);

    let left = reader.len();
    read_nothing(&mut reader, left)?;
    if id != 0 || flags != 0 {
        return Err(EINVAL);
    }
    Ok(uapi::drm_qda_submission {
        user_data,
        args,
        id,
        handle,
        scalars,
        arg_count,
        flags,
    })
}

/// Writes a completion, and nothing behind it. The id comes last: whoever finds one has it all.
fn write(address: UserPtr, size: usize, record: &Record) -> Result {
    let (error, status) = match record.result {
        Ok(status) => (0, status),
        Err(error) => (error.to_errno(), 0),
    };
    let start = offset_of!(uapi::drm_qda_completion, user_data);
    let rest = address.wrapping_byte_add(start);
    let mut writer = UserSlice::new(rest, size - start).writer();

    // In the order of the fields. CAST: the bits of signed numbers.
    let result = whole([error as u32, status as u32]);
    let words: [u64; COMPLETION_LEN / 8 - 1] = [record.user_data, result];
    writer.write(&words)?;
    while !writer.is_empty() {
        let len = writer.len().min(COMPLETION_LEN);

        writer.write_slice(&[0u8; COMPLETION_LEN][..len])?;
    }
    UserSlice::new(address, size_of::<u64>())
        .writer()
        .write(&record.id)
}

/// Accepts the submission at `address`.
fn submit(
    queue: &Queue,
    args: &uapi::drm_qda_submit,
    address: UserPtr,
    size: usize,
    names: &FileNames<'_>,
) -> Result {
    let submission = read(address, size)?;
    let call = uapi::drm_qda_call {
        handle: submission.handle,
        scalars: submission.scalars,
        args: submission.args,
        arg_count: submission.arg_count,
        arg_size: args.arg_size,
        flags: 0,
        status: 0,
    };
    let mut frame = queue.frame()?;
    let invoke = Invoke::read_call(&call, &mut frame)?;

    queue.submit(invoke, submission.user_data, frame, names, |id| {
        let at = address.wrapping_byte_add(offset_of!(uapi::drm_qda_submission, id));
        let mut writer = UserSlice::new(at, size_of::<u64>()).writer();

        writer.write(&id)
    })
}

impl QdaFile {
    /// `DRM_QDA_QUEUE_CREATE`.
    pub(crate) fn queue_create(
        _dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_queue_create,
        file: &DrmFile,
    ) -> Result<i32> {
        let depth = args.depth as usize;
        if args.flags != 0 || args.pad != 0 {
            return Err(EINVAL);
        }
        if !(1..=MAX_DEPTH).contains(&depth) || !(1..=MAX_THREADS).contains(&args.threads) {
            return Err(EINVAL);
        }

        Self::session(file).create_queue(depth, args.threads)?;
        Ok(0)
    }

    /// `DRM_QDA_SUBMIT`.
    pub(crate) fn submit(
        dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_submit,
        file: &DrmFile,
    ) -> Result<i32> {
        let queue = Self::session(file).queue()?;
        let names = FileNames { dev, file };
        if args.flags != 0 || args.accepted != 0 || args.pad != 0 || args.count == 0 {
            return Err(EINVAL);
        }
        let size = entry_size(args.submission_size, SUBMISSION_LEN)?;
        queue.check_client()?;

        // While others take completions there could be room without end.
        for index in 0..queue.depth().min(args.count as usize) {
            let accepted = entry(args.submissions, index, size)
                .and_then(|address| submit(queue, args, address, size, &names));
            if let Err(error) = accepted {
                // Who submits the rest hears of it then.
                return if index == 0 { Err(error) } else { Ok(0) };
            }
            args.accepted += 1;
        }
        Ok(0)
    }

    /// `DRM_QDA_CANCEL`.
    pub(crate) fn cancel(
        _dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_cancel,
        file: &DrmFile,
    ) -> Result<i32> {
        if args.flags != 0 || args.pad != 0 {
            return Err(EINVAL);
        }

        Self::session(file).queue()?.cancel(args.id)?;
        Ok(0)
    }

    /// `DRM_QDA_REAP`.
    pub(crate) fn reap(
        _dev: &QdaDevice<Ioctl>,
        args: &mut uapi::drm_qda_reap,
        file: &DrmFile,
    ) -> Result<i32> {
        let queue = Self::session(file).queue()?;
        if args.flags != 0 || args.reaped != 0 || args.pad != 0 {
            return Err(EINVAL);
        }
        if args.max_count == 0 || args.min_count > args.max_count {
            return Err(EINVAL);
        }
        let size = entry_size(args.completion_size, COMPLETION_LEN)?;
        let deadline = Instant::<Monotonic>::from_nanos(args.timeout_ns).ok_or(EINVAL)?;
        queue.check_client()?;

        let in_time = queue.wait(args.min_count as usize, deadline)?;
        let most = queue.depth().min(args.max_count as usize);
        let reaped = queue.reap(most, |index, record| {
            write(entry(args.completions, index, size)?, size, &record)
        })?;
        if reaped == 0 && !in_time {
            return Err(ETIME);
        }
        // CAST: not above the number that the program gave.
        args.reaped = reaped as u32;
        Ok(0)
    }
}
