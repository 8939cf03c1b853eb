//! Whether a document is well-formed, and holds nothing that its template does not have.

/// The document parses, holds no character that XML forbids, and no markup that its template does not have.
pub(crate) fn assert_xml(text: &str, scripts: Option<usize>) {
    use quick_xml::{Reader, events::Event as Xml};
    let allowed = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
    assert!(text.chars().all(|c| allowed(c) && c != '\u{fffe}' && c != '\u{ffff}'), "{text:?}");
    let mut reader = Reader::from_str(text);
    let (mut depth, mut seen) = (0_i32, 0);
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error} in {text}")) {
            Xml::Start(tag) | Xml::Empty(tag) if tag.name().as_ref() == b"script" => {
                seen += 1;
                depth += 1;
            }
            Xml::Start(tag) => {
                depth += 1;
                check_attributes(&tag);
            }
            Xml::Empty(tag) => check_attributes(&tag),
            Xml::End(_) => depth -= 1,
            Xml::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "every element is closed");
    assert_eq!(seen, scripts.unwrap_or_default(), "scripts");
}

fn check_attributes(tag: &quick_xml::events::BytesStart<'_>) {
    for attribute in tag.attributes() {
        let attribute = attribute.expect("a well-formed attribute");
        assert!(!attribute.key.as_ref().starts_with(b"on"), "no event handlers in the markup");
    }
}
