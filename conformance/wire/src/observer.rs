//! Who is told what goes over the wire.

use std::time::Duration;

/// Keeps what calls send and receive. The suite's evidence is made from it.
pub trait Observer: Send + Sync {
    /// The number of a call that is about to be opened, from 1.
    fn next_call(&self) -> u32;

    /// This side sent something, in one line.
    fn sent(&self, call: u32, what: String);

    /// The target sent something, in one line.
    fn received(&self, call: u32, what: String);

    /// Nothing came while the call waited.
    fn waited(&self, call: u32, patience: Duration);

    /// The call of this path was told this by the target beside its messages: metadata, or the text of an HTTP error,
    /// under its name.
    fn told(&self, _path: &str, _name: &str, _value: &str) {}

    /// So many bytes more, or fewer, are held of messages that are not whole. Whether that may go on.
    fn holds(&self, _more: isize) -> bool {
        true
    }

    /// The connection was lost, or none could be made.
    fn lost(&self) {}

    /// This side's own library ended a call: what follows from it is not the target's fault.
    fn own_fault(&self) {}
}
