//! Wire compatibility of two schemas: what breaks old bytes, and nothing else.
//!
//! Names do not matter on the wire and additions are compatible (WIRE-003); a field whose number has another encoding,
//! a field that moved to another number, and a method with another streaming shape are not.

use std::collections::{BTreeMap, BTreeSet};

use ai_inference_proto::Dialect;
use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

/// Every wire-breaking difference between the dialect's schema and the one in `files`, in words.
pub fn differences(dialect: Dialect, files: &[FileDescriptorProto]) -> Vec<String> {
    let documented = match FileDescriptorSet::decode(dialect.descriptor_set()) {
        Ok(set) => set.file,
        Err(error) => return vec![format!("the suite's own schema is broken: {error}")],
    };
    let documented = Schema::new(&documented);
    let seen = Schema::new(files);
    let mut comparison =
        Comparison { documented: &documented, seen: &seen, found: Vec::new(), done: BTreeSet::new() };
    comparison.service(dialect.service());
    comparison.found
}

/// Messages and methods by their full names.
struct Schema<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    methods: BTreeMap<(String, String), &'a MethodDescriptorProto>,
}

impl<'a> Schema<'a> {
    fn new(files: &'a [FileDescriptorProto]) -> Schema<'a> {
        let mut schema = Schema { messages: BTreeMap::new(), methods: BTreeMap::new() };
        for file in files {
            let scope =
                if file.package().is_empty() { String::new() } else { format!(".{}", file.package()) };
            for message in &file.message_type {
                schema.add(&scope, message);
            }
            for service in &file.service {
                let service_name = format!("{scope}.{}", service.name()).trim_start_matches('.').to_owned();
                for method in &service.method {
                    schema.methods.insert((service_name.clone(), method.name().to_owned()), method);
                }
            }
        }
        schema
    }

    fn add(&mut self, scope: &str, message: &'a DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        for nested in &message.nested_type {
            self.add(&name, nested);
        }
        self.messages.insert(name, message);
    }
}

struct Comparison<'a> {
    documented: &'a Schema<'a>,
    seen: &'a Schema<'a>,
    found: Vec<String>,
    done: BTreeSet<(String, String)>,
}

impl Comparison<'_> {
    fn service(&mut self, service: &str) {
        let documented = self.documented;
        for ((_, name), expected) in &documented.methods {
            let Some(actual) = self.seen.methods.get(&(service.to_owned(), name.clone())) else {
                continue; // a method that is missing altogether is WIRE-002's matter
            };
            let shape = |m: &MethodDescriptorProto| match (m.client_streaming(), m.server_streaming()) {
                (true, true) => "bidirectional streaming",
                (true, false) => "client streaming",
                (false, true) => "server streaming",
                (false, false) => "unary",
            };
            if shape(expected) != shape(actual) {
                self.found.push(format!("{name} is {}, documented as {}", shape(actual), shape(expected)));
            }
            self.message(expected.input_type(), actual.input_type());
            self.message(expected.output_type(), actual.output_type());
        }
    }

    fn message(&mut self, expected_name: &str, actual_name: &str) {
        if !self.done.insert((expected_name.to_owned(), actual_name.to_owned())) {
            return;
        }
        let (Some(expected), Some(actual)) =
            (self.documented.messages.get(expected_name), self.seen.messages.get(actual_name))
        else {
            return; // described elsewhere; nothing that could be compared
        };
        for field in &expected.field {
            let name = format!("{}.{} ({})", expected.name(), field.name(), field.number());
            let renamed = actual.field.iter().find(|f| f.name() == field.name());
            if let Some(moved) = renamed.filter(|f| f.number() != field.number()) {
                self.found.push(format!("{name} has the number {}", moved.number()));
                continue;
            }
            let Some(same) = actual.field.iter().find(|f| f.number() == field.number()) else {
                continue; // a field that is not there cannot be misread
            };
            let (documented, seen) = (encoding(field), encoding(same));
            let repeated = |f: &FieldDescriptorProto| f.label() == Label::Repeated;
            if documented != seen {
                self.found.push(format!("{name} is {seen}, documented as {documented}"));
            } else if repeated(field) != repeated(same) {
                let plural = |f| if repeated(f) { "repeated" } else { "a single value" };
                self.found.push(format!("{name} is {}, documented as {}", plural(same), plural(field)));
            } else if field.r#type() == Type::Message {
                self.message(field.type_name(), same.type_name());
            }
        }
    }
}

/// How a field's value is written: two types with the same answer read each other's bytes.
fn encoding(field: &FieldDescriptorProto) -> &'static str {
    match field.r#type() {
        Type::Double => "double (wire type 1)",
        Type::Float => "float (wire type 5)",
        Type::Int64 | Type::Uint64 | Type::Int32 | Type::Uint32 | Type::Bool | Type::Enum => {
            "a varint (wire type 0)"
        }
        Type::Sint32 | Type::Sint64 => "a zigzag varint (wire type 0)",
        Type::Fixed64 | Type::Sfixed64 => "fixed64 (wire type 1)",
        Type::Fixed32 | Type::Sfixed32 => "fixed32 (wire type 5)",
        Type::String | Type::Bytes => "a string (wire type 2)",
        Type::Message => "a message (wire type 2)",
        Type::Group => "a group (wire type 3)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dialect: Dialect) -> Vec<FileDescriptorProto> {
        FileDescriptorSet::decode(dialect.descriptor_set()).unwrap().file
    }

    #[test]
    fn a_schema_is_compatible_with_itself_and_with_additions() {
        for dialect in Dialect::ALL {
            assert_eq!(differences(dialect, &files(dialect)), Vec::<String>::new());
        }
        let mut more = files(Dialect::Contract);
        let file = more.last_mut().unwrap();
        file.message_type[0].field.push(FieldDescriptorProto {
            name: Some("added".into()),
            number: Some(99),
            ..Default::default()
        });
        assert_eq!(differences(Dialect::Contract, &more), Vec::<String>::new());
    }

    #[test]
    fn what_breaks_old_bytes_is_found_and_named() {
        let mut broken = files(Dialect::Contract);
        let file = broken.last_mut().unwrap();
        let message = |file: &mut FileDescriptorProto, name: &str| {
            file.message_type.iter().position(|m| m.name() == name).unwrap()
        };
        let parameters = message(file, "GenerationParameters");
        file.message_type[parameters].field[1].set_type(Type::Double);
        let request = message(file, "StreamPredictRequest");
        file.message_type[request].field[3].number = Some(44);
        let response = message(file, "StreamPredictResponse");
        file.message_type[response].field[0].number = Some(2);
        file.message_type[response].field[1].number = Some(1);
        file.service[0].method[0].client_streaming = Some(false);
        let found = differences(Dialect::Contract, &broken).join("\n");
        assert!(
            found.contains("temperature (2) is double (wire type 1), documented as float (wire type 5)"),
            "{found}"
        );
        assert!(found.contains("priority (4) has the number 44"), "{found}");
        assert!(found.contains("trace_id (1) has the number 2"), "{found}");
        assert!(found.contains("StreamPredict is server streaming, documented as bidirectional"), "{found}");
    }
}
