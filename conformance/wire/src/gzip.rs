//! gzip, as gRPC compresses messages. Pure.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

/// The bytes, compressed.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default() // a vector takes everything
}

/// What was compressed; an error says why it is not gzip, or that it is larger than `most`.
pub fn gunzip(bytes: &[u8], most: usize) -> Result<Bytes, String> {
    let mut plain = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    GzDecoder::new(bytes)
        .take(limit)
        .read_to_end(&mut plain)
        .map_err(|error| format!("a compressed message that is not gzip: {error}"))?;
    if plain.len() > most {
        return Err(format!("a compressed message of more than {most} bytes"));
    }
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back_up_to_a_limit() {
        let text = b"a message ".repeat(100);
        let small = gzip(&text);
        assert!(small.len() < text.len() / 2);
        assert_eq!(gunzip(&small, text.len()).unwrap(), text);
        assert!(gunzip(&small, text.len() - 1).unwrap_err().contains("more than"));
        assert!(gunzip(&text, 10_000).unwrap_err().contains("not gzip"));
    }
}
