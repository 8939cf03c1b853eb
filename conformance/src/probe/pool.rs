//! Whether Go's protobuf, and so grpcurl, can build a schema from the files that reflection shows.
//!
//! `prost-reflect` resolves names, numbers and imports; what Go asks for besides, and that does not, is asked for here.

use std::collections::BTreeSet;

use prost_reflect::DescriptorPool;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

/// They come with every protobuf implementation, in its own edition.
const WELL_KNOWN: &str = "google/protobuf/";

/// Why grpcurl would refuse the schema in `files`, if it would.
pub fn refused(files: &[FileDescriptorProto]) -> Option<String> {
    let mut seen = BTreeSet::new();
    let files: Vec<&FileDescriptorProto> = files
        .iter()
        .filter(|file| !file.name().starts_with(WELL_KNOWN) && seen.insert(file.name().to_owned()))
        .collect();
    for file in &files {
        if let Err(why) = checked(file) {
            return Some(format!("in the file {:?}, {why}", file.name()));
        }
    }
    let mut pool = DescriptorPool::global();
    pool.add_file_descriptor_protos(files.into_iter().cloned()).err().map(|error| error.to_string())
}

type Checked = Result<(), String>;

fn checked(file: &FileDescriptorProto) -> Checked {
    if !file.package().is_empty() {
        full_name(file.package(), "the package")?;
    }
    for message in &file.message_type {
        checked_message(message)?;
    }
    for enumeration in &file.enum_type {
        checked_enum(enumeration)?;
    }
    for service in &file.service {
        identifier(service.name(), "the service")?;
        for method in &service.method {
            identifier(method.name(), "the method")?;
            reference(method.input_type(), method.name())?;
            reference(method.output_type(), method.name())?;
        }
    }
    Ok(())
}

fn checked_message(message: &DescriptorProto) -> Checked {
    let name = message.name();
    identifier(name, "the message")?;
    for field in &message.field {
        identifier(field.name(), "the field")?;
        let named = matches!(field.r#type(), Type::Message | Type::Group | Type::Enum);
        if named || !field.type_name().is_empty() {
            reference(field.type_name(), field.name())?;
        }
    }
    for nested in &message.nested_type {
        if is_map_entry(nested) {
            let field = message.field.iter().find(|f| refers_to(f, nested.name()));
            checked_map(nested, field)
                .map_err(|why| format!("the map entry {:?} of the message {name:?} {why}", nested.name()))?;
        }
        checked_message(nested)?;
    }
    message.enum_type.iter().try_for_each(checked_enum)
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry)
}

fn refers_to(field: &FieldDescriptorProto, name: &str) -> bool {
    field.type_name().rsplit('.').next() == Some(name)
}

/// The rules of `protodesc.checkValidMap`.
fn checked_map(entry: &DescriptorProto, field: Option<&FieldDescriptorProto>) -> Checked {
    if let Some(field) = field {
        let wanted = entry_name(field.name());
        if entry.name() != wanted {
            return Err(format!("must be called {wanted:?}, after its field {:?}", field.name()));
        }
        if field.label() != Label::Repeated {
            return Err(format!("belongs to the field {:?}, which is not repeated", field.name()));
        }
    }
    let [key, value] = entry.field.as_slice() else {
        return Err(format!("has {} fields, not a key and a value", entry.field.len()));
    };
    for (part, name, number) in [(key, "key", 1), (value, "value", 2)] {
        if part.name() != name || part.number() != number || part.label() != Label::Optional {
            return Err(format!(
                "has the field {:?} = {} in the place of {name:?} = {number}",
                part.name(),
                part.number()
            ));
        }
    }
    if matches!(
        key.r#type(),
        Type::Float | Type::Double | Type::Bytes | Type::Message | Type::Group | Type::Enum
    ) {
        return Err("has a key of a type that no map key may have".to_owned());
    }
    Ok(())
}

/// `locale_text` → `LocaleTextEntry`.
fn entry_name(field: &str) -> String {
    let mut name = String::new();
    for word in field.split('_') {
        let mut letters = word.chars();
        name.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name + "Entry"
}

fn checked_enum(enumeration: &EnumDescriptorProto) -> Checked {
    identifier(enumeration.name(), "the enum")?;
    if enumeration.value.is_empty() {
        return Err(format!("the enum {:?} has no values", enumeration.name()));
    }
    enumeration.value.iter().try_for_each(|value| identifier(value.name(), "the enum value"))
}

/// A type's name as a field or a method gives it: in full behind one dot, or relative.
fn reference(name: &str, of: &str) -> Checked {
    let full = name.strip_prefix('.').unwrap_or(name);
    full_name(full, "the type")
        .map_err(|_| format!("{of:?} has a type with the name {name:?}, which is no name"))
}

fn full_name(name: &str, what: &str) -> Checked {
    name.split('.')
        .try_for_each(|part| identifier(part, what).map_err(|_| format!("{what} {name:?} has no valid name")))
}

fn identifier(name: &str, what: &str) -> Checked {
    let mut letters = name.bytes();
    let good = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == b'_');
    if good { Ok(()) } else { Err(format!("{what} {name:?} has no valid name")) }
}

#[cfg(test)]
mod tests {
    use ai_inference_proto::Dialect;
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    fn files(dialect: Dialect) -> Vec<FileDescriptorProto> {
        FileDescriptorSet::decode(dialect.descriptor_set()).unwrap().file
    }

    fn messages(files: &mut [FileDescriptorProto]) -> impl Iterator<Item = &mut DescriptorProto> {
        files.iter_mut().flat_map(|f| &mut f.message_type)
    }

    #[test]
    fn both_dialects_can_be_built() {
        for dialect in Dialect::ALL {
            assert_eq!(refused(&files(dialect)), None);
        }
    }

    #[test]
    fn the_same_file_twice_is_one_file() {
        let twice = [files(Dialect::Contract), files(Dialect::Contract)].concat();
        assert_eq!(refused(&twice), None);
    }

    #[test]
    fn a_map_entry_is_called_after_its_field() {
        assert_eq!(entry_name("payload"), "PayloadEntry");
        assert_eq!(entry_name("a_bc_d"), "ABcDEntry");
        let mut broken = files(Dialect::Contract);
        let message = messages(&mut broken).find(|m| !m.nested_type.is_empty()).unwrap();
        let old = format!(".{}", message.nested_type[0].name());
        message.nested_type[0].name = Some("Wrong".into());
        for field in &mut message.field {
            if field.type_name().ends_with(&old) {
                field.type_name = Some(field.type_name().replace(&old, ".Wrong"));
            }
        }
        let why = refused(&broken).unwrap();
        assert!(why.contains("must be called"), "{why}");
    }

    #[test]
    fn names_and_types_that_do_not_resolve_are_refused() {
        type Edit = fn(&mut FieldDescriptorProto);
        let edits: [(Edit, &str); 3] = [
            (|f| f.type_name = Some(format!(".{}", f.type_name())), "no name"),
            (|f| f.type_name = Some(".NoSuch".into()), "NoSuch"),
            (|f| f.name = Some(".generation".into()), "no valid name"),
        ];
        for (edit, words) in edits {
            let mut broken = files(Dialect::Contract);
            let request = messages(&mut broken).find(|m| m.name() == "StreamPredictRequest").unwrap();
            edit(request.field.iter_mut().find(|f| f.name() == "generation").unwrap());
            let why = refused(&broken).unwrap();
            assert!(why.contains(words), "{why}");
        }
    }
}
