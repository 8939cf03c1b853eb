//! WIRE-003.

use ai_inference_proto::Dialect;
use prost::Message as _;
use prost_types::{FileDescriptorSet, field_descriptor_proto::Type};

use crate::{
    exemplar::Behaviour,
    probe::{Probe, Reflection, differences},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Where reflection is served, the schema it describes is wire-compatible with the dialect in use: no field
    /// number with another wire type, no field renumbered, no method with another streaming shape. Additions are
    /// compatible.
    ///
    /// # Why it matters
    /// Two schemas with the same names can disagree on the wire. A float sent where a double is expected is no
    /// error for most protobuf runtimes: it lands in the unknown fields, and the parameter silently takes its
    /// default. Tokens come, only not as asked. Reflection is where this can be seen without guessing.
    ///
    /// # How it is checked
    /// The service's file descriptors are fetched by reflection and compared with the documented schema of the
    /// dialect in use, message by message, by field number: encodings, numbers, streaming shapes. Names and
    /// additions do not matter. Without reflection the requirement is skipped (WIRE-004 asks for it).
    ///
    /// # What a violation looks like
    /// `GenerationParameters.temperature (2) is double (wire type 1), documented as float (wire type 5)`.
    ///
    /// # References
    /// Contract, section 0 (the two dialects) and WIRE-003; Protocol Buffers, "Encoding" and "Updating a message
    /// type".
    id: "WIRE-003",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "the reflected schema is wire-compatible",
    check: check,
    mutant: DoubleTemperature, fault: "reflection shows temperature as double under `AiInference`", seen_as: "temperature (2) is double",
}

async fn check(probe: &Probe) -> Judgement {
    let service = probe.dialect().service();
    let Reflection::Served(reflected) = probe.reflect(service).await? else {
        return Err(NotPassed::Skip("reflection is not served (WIRE-004)".into()));
    };
    if reflected.files.is_empty() {
        return Err(NotPassed::Skip(format!(
            "reflection does not describe {service} (WIRE-004): {}",
            reflected.error
        )));
    }
    let found = differences(probe.dialect(), &reflected.files);
    probe.assert(found.is_empty(), || {
        format!("the schema under {service} breaks the {} dialect: {}", probe.dialect(), found.join("; "))
    })
}

#[derive(Default)]
struct DoubleTemperature;

impl Behaviour for DoubleTemperature {
    fn reflection(&self) -> Option<Vec<Vec<u8>>> {
        let mut set = FileDescriptorSet::decode(Dialect::Contract.descriptor_set()).ok()?;
        let messages = set.file.iter_mut().flat_map(|f| &mut f.message_type);
        let parameters = messages.into_iter().find(|m| m.name() == "GenerationParameters")?;
        parameters.field.iter_mut().find(|f| f.name() == "temperature")?.set_type(Type::Double);
        Some(vec![set.encode_to_vec(), Dialect::CyLlm.descriptor_set().to_vec()])
    }
}
