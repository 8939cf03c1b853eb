//! gRPC's framing: a flag, a length and a message. Pure.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::gzip::gunzip;

/// Bytes before each message: the flag and the length.
pub const PREFIX: usize = 5;

/// A message in gRPC's framing.
pub fn framed(message: &[u8]) -> Bytes {
    prefixed(0, message)
}

/// Bytes behind a prefix with this flag, which may be one that gRPC does not know.
pub fn prefixed(flag: u8, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(flag);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// Takes one message of `most` bytes at most out of gRPC's framing, if it is whole; an error says what is not gRPC. A
/// compressed message is taken where the client offered gzip.
pub(crate) fn deframe(
    buffer: &mut BytesMut,
    most: usize,
    offers_gzip: bool,
) -> Result<Option<Bytes>, String> {
    let compressed = offers_gzip && buffer.first() == Some(&COMPRESSED);
    if compressed {
        buffer[0] = 0; // from here on as any other
    }
    let Some(length) = whole(buffer, most)? else {
        if compressed {
            buffer[0] = COMPRESSED;
        }
        return Ok(None);
    };
    buffer.advance(PREFIX);
    let message = buffer.split_to(length).freeze();
    if compressed { gunzip(&message, most).map(Some) } else { Ok(Some(message)) }
}

/// How long the message is that the bytes begin with, behind its prefix; `None` while it is not whole.
pub fn whole(bytes: &[u8], most: usize) -> Result<Option<usize>, String> {
    let Some((&[flag, ref length @ ..], rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    match flag {
        0 => {}
        COMPRESSED => return Err("a compressed message, though the client offered no compression".to_owned()),
        _ => return Err(format!("a message prefix with the flag byte {flag}, which is neither 0 nor 1")),
    }
    let length = u32::from_be_bytes(*length) as usize;
    if length > most {
        return Err(format!("a message prefix that announces {length} bytes"));
    }
    Ok((length <= rest.len()).then_some(length))
}

/// The flag of a compressed message.
const COMPRESSED: u8 = 1;
