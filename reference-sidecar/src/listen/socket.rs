//! Binding what `--listen` names, and leaving nothing behind.

use std::{
    fs::{self, File},
    io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    net::{TcpListener, UnixListener},
    time::sleep,
};

use super::{Incoming, Places, incoming::Door};
use crate::config::{Address, Tls};

/// A bound address. The socket file goes when it is dropped.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener, SocketFile),
}

/// An address that cannot be listened on.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The system refused.
    #[error("failed to listen on {address}: {error}")]
    System {
        /// The address to listen on.
        address: Address,
        /// The error of the system.
        error: io::Error,
    },
    /// TRANSPORT-004: another server's.
    #[error("{address} belongs to a running server: stop that one, or name another address with --listen")]
    InUse {
        /// The address that is in use.
        address: Address,
    },
    /// A file that no server made.
    #[error(
        "{address} is taken by a file that is not a socket: move it away, or name another address with --listen"
    )]
    NotASocket {
        /// The address of the file.
        address: Address,
    },
}

impl Listener {
    /// Binds; a socket file that no process serves any more is replaced (TRANSPORT-004).
    pub async fn bind(address: &Address) -> Result<Self, ListenError> {
        let system = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { address: address.clone() },
            _ => ListenError::System { address: address.clone(), error },
        };
        match address {
            Address::Tcp(tcp) => Ok(Self::Tcp(TcpListener::bind(tcp).await.map_err(system)?)),
            Address::Unix(path) => {
                // Of two servers that start at once, the second sees the first one's socket and not the stale one.
                let _turn = turn(path).await;
                remove_stale(path, address)?;
                let listener = UnixListener::bind(path).map_err(system)?;
                // TRANSPORT-005: the owner and the group.
                fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(system)?;
                let file = SocketFile::new(path).map_err(system)?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// Where it listens, with the port that the system chose for port 0.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => Ok(Address::Tcp(listener.local_addr()?.to_string())),
            Self::Unix(_, file) => Ok(Address::Unix(file.path.clone())),
        }
    }

    /// What comes in. TLS is for TCP only: a socket's file is guarded by its mode, and its bytes leave no machine.
    pub fn incoming(self, tls: Option<&Tls>, places: Places) -> Incoming {
        let door = match (self, tls) {
            (Self::Unix(listener, file), _) => Door::Unix(listener, file),
            (Self::Tcp(listener), Some(tls)) => Door::Tls(listener, tls.acceptor()),
            (Self::Tcp(listener), None) => Door::Tcp(listener),
        };
        Incoming::new(door, places)
    }
}

/// The file of a socket that we bound; removed on drop if it is still that one.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let file = Self { path: path.to_owned(), identity: identity(path)? };
        let mut bound = BOUND.lock().unwrap_or_else(PoisonError::into_inner);
        bound.push((file.path.clone(), file.identity));
        Ok(file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let mut bound = BOUND.lock().unwrap_or_else(PoisonError::into_inner);
        bound.retain(|(_, identity)| *identity != self.identity);
        remove(&self.path, self.identity);
    }
}

/// The files of all sockets that are bound, for an end that drops nothing.
static BOUND: Mutex<Vec<(PathBuf, (u64, u64))>> = Mutex::new(Vec::new());

/// Removes the socket files of this process, which is about to end at once.
pub fn remove_socket_files() {
    let bound = BOUND.lock().unwrap_or_else(PoisonError::into_inner);
    bound.iter().for_each(|(path, identity)| remove(path, *identity));
}

fn remove(path: &Path, bound: (u64, u64)) {
    if identity(path).is_ok_and(|found| found == bound) {
        let _ = fs::remove_file(path);
    }
}

/// The only process that looks at socket files in this directory now; without a lock, where another one holds it for long.
async fn turn(path: &Path) -> Option<File> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = File::open(directory).ok()?;
    for _ in 0..TRIES {
        if directory.try_lock().is_ok() {
            return Some(directory);
        }
        sleep(BETWEEN_TRIES).await;
    }
    None
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn remove_stale(path: &Path, address: &Address) -> Result<(), ListenError> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(ListenError::NotASocket { address: address.clone() });
    }
    match UnixStream::connect(path) {
        // No process listens: the last server died without removing it.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let removed = fs::remove_file(path);
            removed.map_err(|error| ListenError::System { address: address.clone(), error })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(ListenError::InUse { address: address.clone() }),
    }
}

/// Binding takes milliseconds; a process that locks the directory for longer has something else in mind.
const TRIES: u32 = 200;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);
