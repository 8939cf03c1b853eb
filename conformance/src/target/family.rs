//! A process and everything that it started: found, signalled and ended whole, also what left its group or its session.
//!
//! On Linux this program is the subreaper of what it starts, so that orphans become its children and can be found below
//! it: a descendant is known by its parents, by its process group, or by a variable in its environment. Elsewhere the
//! process group is all that there is.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

/// A process that this program started in a group of its own, and what came from it.
#[derive(Debug)]
pub(super) struct Family {
    root: Pid,
    marker: String,
}

impl Family {
    /// Must come before the process is started: makes this program the parent of orphans.
    pub(super) fn prepare() {
        #[cfg(target_os = "linux")]
        {
            inherited();
            // Without it, a child with a session of its own is found only while its parents live.
            let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        }
    }

    /// The family of `root`, whose environment has [`MARKER`]`=marker`.
    pub(super) fn of(root: Pid, marker: String) -> Self {
        roots().push(root.as_raw_pid());
        Self { root, marker }
    }

    /// Sends a signal to all of them.
    pub(super) fn signal(&self, signal: Signal) {
        let members = self.members();
        // At once to the group, so that no child of it is born in between.
        if members.as_ref().is_none_or(|members| !members.is_empty()) {
            let _ = kill_process_group(self.root, signal);
        }
        for member in members.into_iter().flatten().filter(|m| m.group != self.root.as_raw_pid()) {
            if let Some(pid) = Pid::from_raw(member.pid) {
                let _ = rustix::process::kill_process(pid, signal);
            }
        }
    }

    /// Whether any of them runs.
    pub(super) fn lives(&self) -> bool {
        match self.members() {
            Some(members) => !members.is_empty(),
            None => rustix::process::test_kill_process_group(self.root).is_ok(),
        }
    }

    /// How many of them run, where that can be known.
    pub(super) fn count(&self) -> Option<usize> {
        self.members().map(|members| members.len())
    }

    /// Bytes of memory that they hold together, where that can be known.
    pub(super) fn resident(&self) -> Option<u64> {
        let pages = |member: &Member| {
            let statm = std::fs::read_to_string(format!("/proc/{}/statm", member.pid)).ok()?;
            statm.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        let pages: u64 = self.members()?.iter().filter_map(pages).sum();
        Some(pages * rustix::param::page_size() as u64)
    }

    /// SIGKILL until none of them is left. Blocks for a moment at most.
    pub(super) fn end(&self) {
        let deadline = Instant::now() + KILL_LIMIT;
        while self.lives() && Instant::now() < deadline {
            self.signal(Signal::KILL);
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "on Linux it is used")]
    fn members(&self) -> Option<Vec<Member>> {
        None
    }

    /// The living ones; the dead ones among them that wait to be reaped are reaped.
    #[cfg(target_os = "linux")]
    fn members(&self) -> Option<Vec<Member>> {
        let all = Member::all().ok()?;
        let (root, own) = (self.root.as_raw_pid(), rustix::process::getpid().as_raw_pid());
        let own_group = rustix::process::getpgrp().as_raw_pid();
        let roots = roots().clone();
        let orphan = |member: &Member| {
            let adopted = member.parent == own && member.group != own_group;
            adopted && !roots.contains(&member.pid) && !inherited().contains(&member.pid) && {
                match member.marker() {
                    Some(marker) => marker == self.marker,
                    // It cleared its environment, or is dead: ours if nothing else was started.
                    None => roots.len() == 1,
                }
            }
        };
        let mut found: Vec<i32> = all
            .iter()
            .filter(|m| m.pid == root || m.group == root || orphan(m))
            .map(|member| member.pid)
            .collect();
        let mut looked_at = 0;
        while let Some(parent) = found.get(looked_at).copied() {
            let children = all.iter().filter(|member| member.parent == parent).map(|member| member.pid);
            let new: Vec<_> = children.filter(|pid| !found.contains(pid)).collect();
            found.extend(new);
            looked_at += 1;
        }
        let (dead, living): (Vec<_>, Vec<_>) =
            all.into_iter().filter(|member| found.contains(&member.pid)).partition(|member| member.dead);
        let reaped_elsewhere = |pid| roots.contains(&pid) || inherited().contains(&pid);
        for orphan in dead.iter().filter(|member| member.parent == own && !reaped_elsewhere(member.pid)) {
            if let Some(pid) = Pid::from_raw(orphan.pid) {
                let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
            }
        }
        Some(living)
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let root = self.root.as_raw_pid();
        roots().retain(|pid| *pid != root);
    }
}

/// A process, as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    pid: i32,
    parent: i32,
    group: i32,
    dead: bool,
}

#[cfg(target_os = "linux")]
impl Member {
    fn all() -> std::io::Result<Vec<Self>> {
        let pids = std::fs::read_dir("/proc")?.flatten();
        let stats = pids.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit());
        // One that ends meanwhile is no longer there.
        Ok(stats
            .filter_map(|entry| std::fs::read(entry.path().join("stat")).ok())
            .filter_map(|stat| Self::parse(&String::from_utf8_lossy(&stat)))
            .collect())
    }

    /// `pid (name) state parent group …`, where the name may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let (pid, rest) = stat.split_once(" (")?;
        let mut fields = rest.rsplit_once(") ")?.1.split(' ');
        let dead = matches!(fields.next()?, "Z" | "X");
        let (parent, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { pid: pid.parse().ok()?, parent, group, dead })
    }

    /// The family that its environment names.
    fn marker(self) -> Option<String> {
        let environment = std::fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        let prefix = format!("{MARKER}=");
        environment
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(prefix.as_bytes()))
            .map(|marker| String::from_utf8_lossy(marker).into_owned())
    }
}

/// The children that this program had before it started any: a shell that runs it by `exec` leaves it its own.
#[cfg(target_os = "linux")]
fn inherited() -> &'static [i32] {
    static INHERITED: std::sync::OnceLock<Vec<i32>> = std::sync::OnceLock::new();
    INHERITED.get_or_init(|| {
        let own = rustix::process::getpid().as_raw_pid();
        let all = Member::all().unwrap_or_default();
        all.into_iter().filter(|member| member.parent == own).map(|member| member.pid).collect()
    })
}

/// The processes that this program started as targets.
fn roots() -> std::sync::MutexGuard<'static, Vec<i32>> {
    static ROOTS: Mutex<Vec<i32>> = Mutex::new(Vec::new());
    ROOTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The environment variable that a target's processes inherit.
pub(super) const MARKER: &str = "CONFORMANCE_TARGET_ID";
/// A process that SIGKILL does not end by then hangs in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(3);

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let member = Member::parse("17 (a) b (c) Z 3 4 5 6").unwrap();
        assert_eq!(member, Member { pid: 17, parent: 3, group: 4, dead: true });
        assert!(Member::all().unwrap().iter().any(|m| m.pid == rustix::process::getpid().as_raw_pid()));
    }
}
