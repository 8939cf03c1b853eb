//! What goes in one dialect comes out again, and the two dialects are as incompatible as the contract says.

use ai_inference_proto::{
    Dialect, GenerationRequest, GenerationResponse, Metadata, Sampling, contract, cy_llm,
};
use proptest::prelude::*;
use prost::Message as _;

fn requests() -> impl Strategy<Value = GenerationRequest> {
    let sampling =
        (0..i64::from(i32::MAX), 0.0..2.0_f32, 0.0..1.0_f32, 0.5..2.0_f32).prop_map(|(n, t, p, r)| {
            Sampling {
                max_new_tokens: n,
                temperature: t.into(),
                top_p: p.into(),
                repetition_penalty: r.into(),
            }
        });
    ("\\PC*", "\\PC*", ".*", any::<i32>(), proptest::option::of(sampling), proptest::option::of("\\PC*"))
        .prop_map(|(model_id, prompt, adapter, priority, sampling, trace_id)| GenerationRequest {
            model_id,
            prompt,
            adapter,
            priority,
            sampling,
            metadata: trace_id.map(|trace_id| Metadata { trace_id, ..Metadata::default() }),
            worker_hint: String::new(),
        })
}

proptest! {
    #[test]
    fn a_request_survives_either_dialect(request in requests()) {
        for dialect in Dialect::ALL {
            let bytes = dialect.encode_request(request.clone());
            prop_assert_eq!(&dialect.decode_request(&bytes).unwrap(), &request);
        }
    }

    #[test]
    fn a_response_survives_either_dialect(trace_id in ".*", chunk in "\\PC*", end in any::<bool>(), index in 0..i64::from(i32::MAX)) {
        let response = GenerationResponse { trace_id, chunk, end_of_stream: end, index, ..GenerationResponse::default() };
        for dialect in Dialect::ALL {
            let bytes = dialect.encode_response(response.clone());
            prop_assert_eq!(&dialect.decode_response(&bytes).unwrap(), &response);
        }
    }

    #[test]
    fn any_bytes_decode_or_fail_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        for dialect in Dialect::ALL {
            let _ = dialect.decode_request(&bytes);
            let _ = dialect.decode_response(&bytes);
        }
    }
}

#[test]
fn a_float_is_not_a_double() {
    let float = contract::GenerationParameters { temperature: 0.5, ..Default::default() }.encode_to_vec();
    assert!(cy_llm::GenerationParameters::decode(float.as_slice()).is_err(), "prost reports the wire type");
    let double = cy_llm::GenerationParameters { temperature: 0.5, ..Default::default() }.encode_to_vec();
    assert!(contract::GenerationParameters::decode(double.as_slice()).is_err());
}

#[test]
fn a_bound_that_does_not_fit_is_still_a_bound() {
    let sampling = Sampling { max_new_tokens: i64::from(u32::MAX), ..Sampling::default() };
    let request = GenerationRequest { sampling: Some(sampling), ..GenerationRequest::default() };
    let wire = contract::StreamPredictRequest::from(request);
    assert_eq!(wire.generation.unwrap().max_new_tokens, i32::MAX);
}

#[test]
fn both_names_are_on_the_wire_as_documented() {
    for dialect in Dialect::ALL {
        let set = prost_types::FileDescriptorSet::decode(dialect.descriptor_set()).unwrap();
        let file = set.file.last().unwrap();
        let package = file.package();
        let service = file.service[0].name();
        let full = if package.is_empty() { service.to_owned() } else { format!("{package}.{service}") };
        assert_eq!(full, dialect.service());
        assert_eq!(Dialect::of_service(&full), Some(dialect));
    }
}
