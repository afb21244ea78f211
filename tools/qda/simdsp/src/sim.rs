// SPDX-License-Identifier: GPL-2.0

//! The whole simulation: a machine whose links lead to simulated DSPs, with its control port.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::Context;

use crate::control::Server;
use crate::dsp;
use crate::dsp::Dsp;
use crate::glink::Endpoint;
use crate::machine::Config;
use crate::machine::Machine;
use crate::machine::Running;
use crate::machine::Seat;
use crate::port::Memory;
use crate::strict::Profile;

/// How the DSPs behave.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whose driver is in the guest.
    pub profile: Profile,
    /// Directory of the scripts that tests load by name.
    pub scripts: Option<PathBuf>,
}

/// A machine and its DSPs.
pub struct Sim {
    /// The machine. Fields drop in order: it ends before its DSPs do.
    pub machine: Machine,
    /// Its DSPs, in tree order.
    pub dsps: Vec<Arc<Dsp>>,
    /// What the control port serves, for the host's own use.
    pub server: Arc<Server>,
}

impl Sim {
    /// Starts a machine with simulated DSPs and serves its control port.
    ///
    /// # Errors
    ///
    /// As [`Machine::start`].
    pub fn start(config: &Config, options: &Options) -> anyhow::Result<Self> {
        Self::build(options, |factory| Machine::start(config, factory))
    }

    /// Serves the DSPs and the control port of a machine that somebody else started.
    ///
    /// # Errors
    ///
    /// As [`Machine::join`].
    pub fn join(running: &Running, options: &Options) -> anyhow::Result<Self> {
        Self::build(options, |factory| Machine::join(running, factory))
    }

    fn build(
        options: &Options,
        make: impl FnOnce(&mut crate::machine::Factory<'_>) -> anyhow::Result<Machine>,
    ) -> anyhow::Result<Self> {
        let mut dsps = Vec::new();
        let mut machine = make(&mut |seat: Seat<'_>| {
            let config = dsp::Config {
                label: seat.label.to_owned(),
                sid_pos: seat.node.sid_pos,
                heap: seat.node.reserved.map(|region| (region.base, region.len)),
                banks: seat.memory.banks().keys().copied().collect(),
                profile: options.profile,
                ..dsp::Config::default()
            };
            let dsp = Dsp::new(config, seat.memory as Arc<dyn Memory>);
            dsps.push(Arc::clone(&dsp));
            Ok(dsp as Arc<dyn Endpoint>)
        })?;
        let mut server = Server::new(dsps.clone())
            .with_edus(machine.edus())
            .with_paces(machine.paces());
        for dsp in machine.dsps() {
            server = server.with_restarter(&dsp.label, dsp.restarter.clone());
        }
        if let Some(scripts) = &options.scripts {
            server = server.with_scripts(scripts);
        }
        let server = Arc::new(server);
        if let Some(port) = machine.take_control() {
            let server = Arc::clone(&server);
            thread::Builder::new()
                .name("control".into())
                .spawn(move || {
                    if let Err(error) = server.serve(port) {
                        log::debug!("control port: {error}");
                    }
                })
                .context("start the control thread")?;
        }
        Ok(Self {
            machine,
            dsps,
            server,
        })
    }

    /// Logs the walks that were recorded since the last time.
    pub fn log_walks(&self) {
        for walk in self.machine.trace().take() {
            log::info!("walked {walk}");
        }
    }
}
