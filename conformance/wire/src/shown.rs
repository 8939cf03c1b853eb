//! How text and bytes from the other side appear in evidence and in reasons. Pure.

/// Text as it appears in evidence and reasons: quoted, control characters escaped, at most `limit` characters.
pub fn quote(text: &str, limit: usize) -> String {
    let count = text.chars().count();
    if count <= limit {
        return format!("{text:?}");
    }
    let cut: String = text.chars().take(limit).collect();
    format!("{cut:?}… ({count} characters)")
}

/// Bytes as they appear in evidence: hexadecimal, at most 32 of them.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in bytes.iter().take(32) {
        let _ = write!(text, "{byte:02x}");
    }
    if bytes.len() > 32 {
        let _ = write!(text, "… ({} bytes)", bytes.len());
    }
    text
}
