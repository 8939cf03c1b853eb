//! gRPC's framing: a flag, a length and a message. Pure.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Bytes before each message: the flag and the length.
pub const PREFIX: usize = 5;

/// A message in gRPC's framing.
pub fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// Takes one message of `most` bytes at most out of gRPC's framing, if it is whole; an error says what is not gRPC.
pub(crate) fn deframe(buffer: &mut BytesMut, most: usize) -> Result<Option<Bytes>, String> {
    let Some(length) = whole(buffer, most)? else { return Ok(None) };
    buffer.advance(PREFIX);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// How long the message is that the bytes begin with, behind its prefix; `None` while it is not whole.
pub fn whole(bytes: &[u8], most: usize) -> Result<Option<usize>, String> {
    let Some((&[flag, ref length @ ..], rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    match flag {
        0 => {}
        1 => return Err("a compressed message, though the client offered no compression".to_owned()),
        _ => return Err(format!("a message prefix with the flag byte {flag}, which is neither 0 nor 1")),
    }
    let length = u32::from_be_bytes(*length) as usize;
    if length > most {
        return Err(format!("a message prefix that announces {length} bytes"));
    }
    Ok((length <= rest.len()).then_some(length))
}
