//! From DATA frames to messages, which frames may cut anywhere.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{message::Chunk, record::Outcome};
use crate::probe::wire::{PREFIX, deframe};

/// Takes whole messages out of a frame and of what earlier ones left in `buffer`.
pub(super) fn each_message(
    data: Bytes,
    buffer: &mut BytesMut,
    mut take: impl FnMut(&[u8]) -> Result<(), Outcome>,
) -> Result<(), Outcome> {
    // A frame is usually one whole message: then nothing is copied.
    match whole(&data) {
        Some(message) if buffer.is_empty() => take(message),
        _ => {
            buffer.put(data);
            while let Some(message) = deframe(buffer, MOST_MESSAGE).map_err(Outcome::Broken)? {
                take(&message)?;
            }
            Ok(())
        }
    }
}

/// A message, as far as it is needed.
pub(super) fn read(message: &[u8]) -> Result<Chunk<'_>, Outcome> {
    Chunk::read(message).ok_or_else(|| Outcome::Broken("a message is not protobuf".to_owned()))
}

/// The one message that a frame is made of.
fn whole(data: &[u8]) -> Option<&[u8]> {
    let (head, message) = data.split_first_chunk::<PREFIX>()?;
    let [0, length @ ..] = *head else { return None };
    (u32::from_be_bytes(length) as usize == message.len()).then_some(message)
}

/// A chunk is a token's text.
const MOST_MESSAGE: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::wire::framed;

    #[test]
    fn messages_are_found_however_frames_cut_them() {
        let bytes = [framed(b"one"), framed(b""), framed(b"three")].concat();
        for size in 1..=bytes.len() {
            let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
            for piece in bytes.chunks(size) {
                each_message(Bytes::copy_from_slice(piece), &mut buffer, |message| {
                    found.push(message.to_vec());
                    Ok(())
                })
                .unwrap();
            }
            assert_eq!(found, [&b"one"[..], b"", b"three"], "in pieces of {size}");
        }
        assert_eq!(whole(&framed(b"one")), Some(&b"one"[..]));
        assert_eq!(whole(&bytes), None);
        let compressed = Bytes::from_static(&[1, 0, 0, 0, 0]);
        assert!(each_message(compressed, &mut BytesMut::new(), |_| Ok(())).is_err());
    }
}
