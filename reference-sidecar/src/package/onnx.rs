//! As much of an ONNX file as it takes to find, and to rename, the data files that its tensors lie in. All else is passed on
//! as it is, byte for byte.
//!
//! Numbers are those of `onnx.proto`.

use bytes::{Buf as _, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

/// The model with each of its data files called what `rename` says; `None` where all keep their names. An error says what is
/// wrong with the model.
pub(super) fn rename_data_files(
    model: &Bytes,
    rename: &mut dyn FnMut(&str) -> String,
) -> Result<Option<Bytes>, String> {
    message(Kind::Model, model.clone(), rename, 0)
}

/// The messages on the way to a data file's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
    Tensor,
    /// `StringStringEntryProto`, of a tensor's `external_data`.
    Entry,
}

impl Kind {
    /// What a field of this message is, if a name may be in it.
    const fn of_field(self, tag: u32) -> Option<Self> {
        Some(match (self, tag) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) => Self::Tensor,
            (Self::Tensor, 13) => Self::Entry,
            _ => return None,
        })
    }
}

/// A field of a message: its number, its content if it has a length, and all of it with its key.
struct Field {
    tag: u32,
    content: Bytes,
    whole: Bytes,
}

fn message(
    kind: Kind,
    content: Bytes,
    rename: &mut dyn FnMut(&str) -> String,
    depth: usize,
) -> Result<Option<Bytes>, String> {
    if depth > MOST_DEPTH {
        return Err(format!("its graphs lie in each other more than {MOST_DEPTH} deep"));
    }
    let fields = fields(content).ok_or("it is no ONNX model, or is cut short")?;
    if kind == Kind::Entry {
        return entry(&fields, rename);
    }
    // A tensor that lies in the model may have entries too.
    let outside = |field: &Field| field.tag == DATA_LOCATION && field.whole.last() == Some(&EXTERNAL);
    if kind == Kind::Tensor && !fields.iter().any(outside) {
        return Ok(None);
    }
    let mut renamed = Vec::new();
    for (at, field) in fields.iter().enumerate() {
        if let Some(inner) = kind.of_field(field.tag)
            && let Some(other) = message(inner, field.content.clone(), rename, depth + 1)?
        {
            renamed.push((at, other));
        }
    }
    Ok(exchanged(&fields, &renamed))
}

fn entry(fields: &[Field], rename: &mut dyn FnMut(&str) -> String) -> Result<Option<Bytes>, String> {
    let text = |tag| fields.iter().enumerate().rfind(|(_, field)| field.tag == tag);
    let (Some((_, key)), Some((at, value))) = (text(1), text(2)) else { return Ok(None) };
    if key.content != "location" {
        return Ok(None);
    }
    let name = str::from_utf8(&value.content).map_err(|_| "the name of a data file is not UTF-8")?;
    let other = rename(name);
    Ok(if other == name { None } else { exchanged(fields, &[(at, other.into())]) })
}

/// The message with other contents in these fields.
fn exchanged(fields: &[Field], others: &[(usize, Bytes)]) -> Option<Bytes> {
    if others.is_empty() {
        return None;
    }
    let mut others = others.iter().peekable();
    let mut out = Vec::new();
    for (at, field) in fields.iter().enumerate() {
        if let Some((_, other)) = others.next_if(|(place, _)| *place == at) {
            encode_key(field.tag, WireType::LengthDelimited, &mut out);
            encode_varint(other.len() as u64, &mut out);
            out.extend_from_slice(other);
        } else {
            out.extend_from_slice(&field.whole);
        }
    }
    Some(out.into())
}

fn fields(mut message: Bytes) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while message.has_remaining() {
        let start = message.clone();
        let (tag, wire) = decode_key(&mut message).ok()?;
        let len = match wire {
            WireType::Varint => decode_varint(&mut message).ok().map(|_| 0)?,
            WireType::LengthDelimited => usize::try_from(decode_varint(&mut message).ok()?).ok()?,
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        if len > message.remaining() {
            return None;
        }
        let content = message.split_to(len);
        let whole = start.slice(..start.len() - message.len());
        fields.push(Field { tag, content, whole });
    }
    Some(fields)
}

/// `TensorProto.data_location`, and its value for a tensor in a file.
const DATA_LOCATION: u32 = 14;
const EXTERNAL: u8 = 1;
/// Far above any model: a graph in a node of a graph, and so on.
const MOST_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn field(tag: u32, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_key(tag, WireType::LengthDelimited, &mut out);
        encode_varint(content.len() as u64, &mut out);
        out.extend_from_slice(content);
        out
    }

    fn tensor(location: &str, external: bool) -> Vec<u8> {
        let entry = |key: &str, value: &str| {
            field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
        };
        let mut place = Vec::new();
        encode_key(DATA_LOCATION, WireType::Varint, &mut place);
        encode_varint(u64::from(external), &mut place);
        [field(8, b"its name"), entry("offset", "64"), entry("location", location), place].concat()
    }

    /// Tensors among the initializers, in a node's attribute, and in a graph in a node; one that is not outside.
    fn model(names: [&str; 3]) -> Bytes {
        let inner = field(5, &tensor(names[2], true));
        let attribute = [field(5, &tensor(names[1], true)), field(6, &inner)].concat();
        let graph = [
            field(1, &field(5, &attribute)),
            field(5, &tensor(names[0], true)),
            field(5, &tensor("inside", false)),
            field(2, b"the graph's name"),
        ];
        [field(2, b"the maker's name"), field(7, &graph.concat())].concat().into()
    }

    #[test]
    fn data_files_are_found_and_renamed_wherever_tensors_are() {
        let mut found = Vec::new();
        let same = rename_data_files(&model(["a", "b", "c"]), &mut |name| {
            found.push(name.to_owned());
            name.to_owned()
        });
        assert_eq!(same, Ok(None));
        found.sort();
        assert_eq!(found, ["a", "b", "c"]);
        let renamed = rename_data_files(&model(["a", "b", "c"]), &mut |name| format!("a longer {name}"));
        assert_eq!(renamed, Ok(Some(model(["a longer a", "a longer b", "a longer c"]))));
    }

    #[test]
    fn what_is_no_model_is_said() {
        let no_name = &mut |name: &str| name.to_owned();
        assert!(rename_data_files(&Bytes::from_static(b"\x3a\xff\x01 cut short"), no_name).is_err());
        let mut graph = field(5, &tensor("deep", true));
        for _ in 0..MOST_DEPTH {
            graph = field(1, &field(5, &field(6, &graph)));
        }
        let why = rename_data_files(&field(7, &graph).into(), no_name).unwrap_err();
        assert!(why.contains("deep"), "{why}");
    }
}
