// SPDX-License-Identifier: GPL-2.0

//! What `/proc/<pid>/fdinfo/<fd>` tells about an open file.

use crate::{
    gem::Account,
    session::Session, //
};
use kernel::{
    fmt,
    prelude::*, //
};

/// Prints what there is to tell about the file of `session`, one `key:\tvalue` a line.
pub(crate) fn show(session: &Session, account: &Account, print: impl Fn(fmt::Arguments<'_>)) {
    let channel = session.channel();

    print(fmt!("qda-dsp:\t{}\n", &*channel.name));
    print(fmt!("qda-buffers:\t{} KiB\n", account.bytes() / 1024));
    print(fmt!("qda-calls:\t{}\n", channel.calls.outstanding()));
    if let Ok(queue) = session.queue() {
        print(fmt!("qda-submissions:\t{}\n", queue.outstanding()));
    }
    print(fmt!("qda-pd-exits:\t{}\n", channel.calls.exits()));
    if let Ok((client_id, bank)) = session.identity() {
        print(fmt!("qda-client:\t{}\n", client_id));
        print(fmt!("qda-bank:\t{}\n", bank));
    }
}
