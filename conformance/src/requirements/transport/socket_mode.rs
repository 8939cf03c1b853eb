//! TRANSPORT-005.

use std::os::unix::fs::MetadataExt as _;

use crate::{
    exemplar::Behaviour,
    probe::{Probe, wire::Address},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// The Unix socket is not open to every user (mode 0660 or tighter).
    ///
    /// # Why it matters
    /// Whoever can write to the socket can use the model, and unload it. A socket in /tmp that is open to every user is a server
    /// without a door.
    ///
    /// # How it is checked
    /// The run starts an instance of its own, and looks at the file of each of its Unix sockets: other users may neither
    /// read, write nor execute it. The folder that it lies in is not looked at, since another deployment has another one. A
    /// target without a Unix socket is skipped.
    ///
    /// # What a violation looks like
    /// Mode 0777, which is what a server gets that does not set its umask or the file's mode.
    ///
    /// # References
    /// Contract, TRANSPORT-005; unix(7), "Pathname socket ownership and permissions".
    id: "TRANSPORT-005",
    level: Should,
    dialects: [Contract, CyLlm],
    needs: [Managed],
    isolation: Exclusive,
    since: "0.1.0",
    title: "the Unix socket is not open to every user",
    check: check,
    mutant: OpenToAll, fault: "the socket has the mode 0777", seen_as: "has the mode 0777",
}

const OTHERS: u32 = 0o007;
const ALL_BITS: u32 = 0o777;

async fn check(probe: &Probe) -> Judgement {
    let managed = probe.listening().await?;
    let modes: Vec<_> = managed.probe.endpoint().addresses.iter().filter_map(mode).collect();
    managed.stop().await;
    if modes.is_empty() {
        return Err(NotPassed::Skip("the target listens on no Unix socket".to_owned()));
    }
    for (path, mode) in modes {
        probe.assert(mode & OTHERS == 0, || {
            format!("the socket {path} has the mode {mode:04o}: every user of the machine may use it; 0660 or tighter is right")
        })?;
    }
    Ok(())
}

fn mode(address: &Address) -> Option<(String, u32)> {
    let Address::Unix(path) = address else { return None };
    let file = std::fs::metadata(path).ok()?;
    Some((path.display().to_string(), file.mode() & ALL_BITS))
}

#[derive(Default)]
struct OpenToAll;

impl Behaviour for OpenToAll {
    fn socket_mode(&self) -> u32 {
        0o777
    }
}
