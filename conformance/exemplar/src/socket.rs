//! A Unix socket that is listened on: a stale file in its place is replaced, and its own file is removed at the end.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    os::unix::net::UnixStream as Blocking,
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};

/// A listening socket; its file is removed when it is dropped, unless another program has replaced it.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    _file: SocketFile,
}

/// The file of a socket.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode: whether the file is still the same one.
    id: Option<(u64, u64)>,
}

impl Socket {
    /// Listens there, with this mode of the file; a stale file is replaced unless it is to be left alone.
    pub(crate) fn bind(path: &Path, mode: u32, replace: bool) -> io::Result<Self> {
        if replace {
            remove_stale(path)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        let file = SocketFile { path: path.to_owned(), id: id(path) };
        Ok(Self { listener, _file: file })
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.id.is_some() && id(&self.path) == self.id {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that no program listens on. Anything else stays, for `bind` to refuse.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match Blocking::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Ok(()),
    }
}

fn id(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_the_own_one_removed() {
        let place = std::env::temp_dir().join(format!("exemplar-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let path = place.join("a.sock");
        // A program that was killed leaves its file.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = Socket::bind(&path, 0o660, true).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        assert!(Socket::bind(&path, 0o660, true).is_err(), "one that is listened on is not taken away");
        drop(socket);
        assert!(!path.exists());
        // A file that is no socket is not removed.
        fs::write(&path, "text").unwrap();
        assert!(Socket::bind(&path, 0o660, true).is_err() && path.exists());
        fs::remove_dir_all(&place).unwrap();
    }
}
