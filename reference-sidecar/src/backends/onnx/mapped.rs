//! Data files are not the server's to keep: whoever truncates one that is mapped into memory ends the process with SIGBUS,
//! and whoever writes to it changes what is served.
//!
//! ONNX Runtime maps them, copies most of what it needs into an order of its own, and keeps the rest mapped. That rest is
//! copied here, into the same place. While a model loads, a page that is gone from its file is read as zeros, and then
//! the load fails, because the file has changed.
//!
//! Why it is sound: a copy has the length and the content of what it replaces, the kernel exchanges both in one step, and
//! nobody writes to a mapping of weights. Whoever unmaps the old one later unmaps the copy.

#![expect(unsafe_code, reason = "mappings of a C library are exchanged")]

use std::{
    ffi::{c_int, c_void},
    io,
    path::PathBuf,
    ptr,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
};

use procfs::process::{MMPermissions, MMapPath, Process};

/// Copies what is mapped of these files, which must have no links in their paths. Bytes that were copied.
pub(super) fn copy(files: &[PathBuf]) -> io::Result<usize> {
    let maps = Process::myself().and_then(|own| own.maps()).map_err(io::Error::other)?;
    let mut copied = 0;
    for map in maps {
        let MMapPath::Path(path) = &map.pathname else { continue };
        if !files.contains(path) {
            continue;
        }
        let protection = [(MMPermissions::READ, libc::PROT_READ), (MMPermissions::WRITE, libc::PROT_WRITE)];
        let allowed = protection.iter().filter(|(has, _)| map.perms.contains(*has));
        let allowed = allowed.fold(0, |all, (_, one)| all | one);
        let (mut at, end) = map.address;
        while at < end {
            let len = (end - at).min(CHUNK) as usize;
            exchange(ptr::with_exposed_provenance_mut(at as usize), len, allowed)?;
            at += len as u64;
            copied += len;
        }
    }
    Ok(copied)
}

/// Puts a copy of these pages in their place.
fn exchange(pages: *mut c_void, len: usize, protection: c_int) -> io::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the pages are mapped by a library that only reads them, and a file that has shrunk is caught by `Guard`.
    unsafe {
        let copy = done(libc::mmap(ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0))?;
        copy.cast::<u8>().copy_from_nonoverlapping(pages.cast::<u8>(), len);
        libc::mprotect(copy, len, protection);
        done(libc::mremap(copy, len, len, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, pages))?;
    }
    Ok(())
}

fn done(mapping: *mut c_void) -> io::Result<*mut c_void> {
    if mapping == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(mapping) }
}

/// While one exists, pages that are gone from a mapped file are zeros.
pub(super) struct Guard;

impl Guard {
    pub(super) fn new() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            // SAFETY: the handler calls nothing but what may be called in one.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_bus_error as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
            }
        });
        LOADING.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        LOADING.fetch_sub(1, Ordering::SeqCst);
    }
}

static LOADING: AtomicUsize = AtomicUsize::new(0);

/// Puts a page of zeros where the file has none; whatever else SIGBUS means ends the process, as it would without this.
extern "C" fn on_bus_error(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: `info` is the kernel's; the page is one that cannot be read anyway.
    unsafe {
        if (*info).si_code == libc::BUS_ADRERR && LOADING.load(Ordering::SeqCst) > 0 {
            let page = (*info).si_addr().map_addr(|address| address & !(PAGE - 1));
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            if libc::mmap(page, PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) != libc::MAP_FAILED {
                return;
            }
        }
        libc::signal(libc::SIGBUS, libc::SIG_DFL);
    }
}

/// So much is in memory twice while it is copied.
const CHUNK: u64 = 16 << 20;
/// The smallest page; a larger one takes several of these.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd as _};

    use super::*;

    fn map(file: &File, len: usize) -> *const u8 {
        // SAFETY: a fresh mapping.
        let at = unsafe {
            libc::mmap(ptr::null_mut(), len, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
        };
        done(at).unwrap().cast()
    }

    #[test]
    fn a_copied_file_may_be_overwritten_and_truncated() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let len = 3 * PAGE + 7;
        std::fs::write(file.path(), vec![7; len]).unwrap();
        let mapped = map(file.as_file(), len);
        assert_eq!(copy(&[file.path().canonicalize().unwrap()]).unwrap(), 4 * PAGE);
        std::fs::write(file.path(), [1]).unwrap();
        // SAFETY: mapped above, and never unmapped.
        let seen = unsafe { std::slice::from_raw_parts(mapped, len) };
        assert!(seen.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn pages_that_are_gone_are_zeros_while_a_model_loads() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![7; 3 * PAGE]).unwrap();
        let mapped = map(file.as_file(), 3 * PAGE);
        let _guard = Guard::new();
        file.as_file().set_len(PAGE as u64).unwrap();
        // SAFETY: mapped above; the guard makes the pages that are gone.
        let seen = unsafe { [0, PAGE + 1, 3 * PAGE - 1].map(|at| mapped.add(at).read_volatile()) };
        assert_eq!(seen, [7, 0, 0]);
    }
}
