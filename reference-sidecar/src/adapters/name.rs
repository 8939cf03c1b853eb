//! Which names may become paths: decided on the name alone (ERROR-009).

/// True for one or more plain components, such as `french` or `team/french`: nothing that could lead out of the root, or
/// to what is not meant to be seen.
pub(super) fn is_plain(name: &str) -> bool {
    name.len() <= MOST_BYTES
        && !name.contains(|c: char| c.is_control() || c == '\\')
        && name.split('/').all(|component| !component.is_empty() && !component.starts_with('.'))
}

/// Longer than any sensible name, and as long as the usual file systems let one component be.
const MOST_BYTES: usize = 255;

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_names_are_plain() {
        for name in ["french", "team/french", "v1.2", "a b", "中文", "x.safetensors"] {
            assert!(is_plain(name), "{name:?}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        let long = "x".repeat(256);
        let names = [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/..",
            ".",
            "./a",
            "a/.",
            ".git",
            "a/.b",
            "a//b",
            "a/",
            "a\0b",
            "a\nb",
            "..\\x",
            "~/../x",
            &long,
        ];
        for name in names {
            assert!(!is_plain(name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn a_plain_name_has_normal_components_only(name in r"[a./\\~\x00 ]{0,12}") {
            let normal = Path::new(&name).components().all(|c| matches!(c, Component::Normal(_)));
            prop_assert!(!is_plain(&name) || normal);
        }
    }
}
