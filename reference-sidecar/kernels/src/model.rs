//! As much of an ONNX model's file as it takes to exchange some of its nodes: what is not understood is passed on as it
//! is, byte for byte.
//!
//! Field numbers are those of `onnx.proto`. `None` everywhere means: not as expected, leave this model to ONNX Runtime,
//! which will also say what is wrong with it.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use bytes::{Buf as _, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

/// `ModelProto.opset_import`.
pub(crate) const OPSET_IMPORT: u32 = 8;
/// `ModelProto.graph`.
pub(crate) const GRAPH: u32 = 7;
/// `GraphProto.node`.
pub(crate) const NODE: u32 = 1;
/// `GraphProto.initializer`.
pub(crate) const INITIALIZER: u32 = 5;
/// `GraphProto.input`.
pub(crate) const INPUT: u32 = 11;
/// `GraphProto.output`.
pub(crate) const OUTPUT: u32 = 12;

/// The domain of ONNX Runtime's own operators.
pub(crate) const MICROSOFT: &str = "com.microsoft";

/// A field of a message: its number, its content if it has a length, and all of it with its key.
pub(crate) struct Field {
    pub(crate) tag: u32,
    pub(crate) content: Bytes,
    pub(crate) whole: Bytes,
}

/// The fields of a message.
pub(crate) fn fields(mut message: Bytes) -> Option<Vec<Field>> {
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

/// Appends a field with a length.
pub(crate) fn put_field(tag: u32, content: &[u8], into: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, into);
    encode_varint(content.len() as u64, into);
    into.extend_from_slice(content);
}

/// `OperatorSetIdProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OperatorSet {
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

/// `ValueInfoProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) kind: Option<Kind>,
}

/// `TypeProto`, of tensors.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorKind>,
}

/// `TypeProto.Tensor`.
#[derive(Clone, PartialEq, prost::Message)]
struct TensorKind {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

/// `TensorShapeProto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dims: Vec<Dimension>,
}

/// `TensorShapeProto.Dimension`.
#[derive(Clone, PartialEq, prost::Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    value: Option<i64>,
}

impl ValueInfo {
    /// Of a tensor of floats: its dimensions, `None` for those that are not fixed.
    pub(crate) fn floats(&self) -> Option<Vec<Option<i64>>> {
        let tensor = self.kind.as_ref()?.tensor.as_ref()?;
        let dims = tensor.shape.as_ref()?.dims.iter().map(|dim| dim.value).collect();
        (tensor.element == Tensor::FLOAT).then_some(dims)
    }
}

/// `NodeProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(crate) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(crate) domain: String,
}

/// `AttributeProto`, numbers only.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(float, optional, tag = "2")]
    pub(crate) f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub(crate) i: Option<i64>,
    #[prost(int32, tag = "20")]
    pub(crate) kind: i32,
}

impl Attribute {
    pub(crate) fn int(name: &str, value: i64) -> Self {
        Self { name: name.to_owned(), f: None, i: Some(value), kind: 2 }
    }

    pub(crate) fn float(name: &str, value: f32) -> Self {
        Self { name: name.to_owned(), f: Some(value), i: None, kind: 1 }
    }
}

impl Node {
    pub(crate) fn is(&self, domain: &str, op_type: &str) -> bool {
        self.domain == domain && self.op_type == op_type
    }

    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        self.attribute.iter().find(|attribute| attribute.name == name)?.i
    }

    pub(crate) fn float(&self, name: &str) -> Option<f32> {
        self.attribute.iter().find(|attribute| attribute.name == name)?.f
    }

    /// An input; `None` also for one that is left out.
    pub(crate) fn input(&self, at: usize) -> Option<&str> {
        self.input.get(at).map(String::as_str).filter(|name| !name.is_empty())
    }
}

/// `TensorProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "bytes", tag = "9")]
    raw_data: Bytes,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Entry>,
    #[prost(int32, tag = "14")]
    data_location: i32,
}

/// `StringStringEntryProto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl Tensor {
    /// `TensorProto.FLOAT`.
    pub(crate) const FLOAT: i32 = 1;
    /// `TensorProto.UINT8`.
    pub(crate) const UINT8: i32 = 2;
    /// `TensorProto.EXTERNAL`.
    const EXTERNAL: i32 = 1;

    #[cfg(test)]
    pub(crate) fn of(name: String, data_type: i32, bytes: Vec<u8>) -> Self {
        Self { name, data_type, raw_data: bytes.into(), ..Self::default() }
    }

    /// Its bytes, `expected` many; read from a file beside the model where they are kept there.
    pub(crate) fn bytes(&self, directory: &Path, expected: usize) -> Option<Bytes> {
        let bytes = if self.data_location == Self::EXTERNAL {
            let entry = |key: &str| self.external_data.iter().find(|entry| entry.key == key);
            let location = Path::new(&entry("location")?.value);
            if location.file_name() != Some(location.as_os_str()) {
                return None;
            }
            let mut file = File::open(directory.join(location)).ok()?;
            let offset: u64 = entry("offset").map_or(Ok(0), |entry| entry.value.parse()).ok()?;
            // Before room is made for them.
            if file.metadata().ok()?.len().checked_sub(offset)? < expected as u64 {
                return None;
            }
            file.seek(SeekFrom::Start(offset)).ok()?;
            let mut bytes = Vec::with_capacity(expected);
            file.take(expected as u64).read_to_end(&mut bytes).ok()?;
            bytes.into()
        } else {
            self.raw_data.clone()
        };
        (bytes.len() == expected).then_some(bytes)
    }
}
