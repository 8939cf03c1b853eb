//! TRANSPORT-004.

use std::{
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    exemplar::Behaviour,
    probe::{
        Managed, Probe,
        wire::{Address, time},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A stale socket file from a dead process does not stop a start; a live one is not stolen.
    ///
    /// # Why it matters
    /// A server that was killed leaves its socket's file behind. One that cannot start again until a person removes it stays
    /// down for the night; and one that removes whatever is there takes a running server's clients away from it.
    ///
    /// # How it is checked
    /// The run starts an instance of its own that listens on a Unix socket, and kills it with SIGKILL. A second one must start
    /// and serve at the same path. While it runs, a third one is started, and given five seconds: then the socket's file must
    /// still be the second one's, and Health there must be answered, also when the third one has been killed. A
    /// target without a Unix socket is skipped.
    ///
    /// # What a violation looks like
    /// "address already in use", and no server.
    ///
    /// # References
    /// Contract, TRANSPORT-004.
    id: "TRANSPORT-004",
    level: Should,
    dialects: [Contract, CyLlm],
    needs: [Managed],
    isolation: Exclusive,
    since: "0.1.0",
    title: "a stale socket is replaced and a live one is not stolen",
    check: check,
    mutant: AddressInUse, fault: "a stale socket stops a start", seen_as: "did not start",
}

/// For the third instance, to end or to take the socket.
const THIRD: Duration = Duration::from_secs(5);

async fn check(probe: &Probe) -> Judgement {
    let first = probe.started().await?;
    let Some(path) = socket(&first) else {
        first.stop().await;
        return Err(NotPassed::Skip("the target listens on no Unix socket".to_owned()));
    };
    first.kill().await;
    let stale = is_socket(&path);
    let second = probe.started().await.map_err(|why| match why {
        NotPassed::Inconclusive(why) if stale => NotPassed::Fail(format!(
            "a server that was killed left its socket {}, and the next one did not start: {why}",
            path.display()
        )),
        other => other,
    })?;
    probe.assert(true, String::new)?;
    let judged = stays(probe, &second, &path).await;
    second.stop().await;
    judged
}

/// The socket stays the second instance's while a third one comes and goes.
async fn stays(probe: &Probe, second: &Managed, path: &Path) -> Judgement {
    let before = id(path);
    let mut third = probe.start_beside().await?;
    let ended = third.exited_within(THIRD).await;
    let same = id(path) == before;
    third.kill();
    third.exited_within(THIRD).await;
    third.stop().await;
    probe.assert(same, || {
        format!("a server that was started beside a live one took its socket {} away", path.display())
    })?;
    let own = second.probe.at(&Address::Unix(path.to_owned()));
    let health = own.health(&own.trace_id()).await;
    let answered = health.as_ref().is_ok_and(|health| health.end.is_ok());
    probe.assert(answered, || {
        let how = match ended {
            Some(status) => format!("ended with {status}"),
            None => format!("was killed after {}", time(THIRD)),
        };
        format!(
            "a server was started beside a live one and {how}; the live one is no longer reached at its socket {}",
            path.display()
        )
    })
}

fn socket(managed: &Managed) -> Option<PathBuf> {
    managed.probe.endpoint().addresses.iter().find_map(|address| match address {
        Address::Unix(path) => Some(path.clone()),
        _ => None,
    })
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Whether it is still the same file.
fn id(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[derive(Default)]
struct AddressInUse;

impl Behaviour for AddressInUse {
    fn replaces_stale_sockets(&self) -> bool {
        false
    }
}
