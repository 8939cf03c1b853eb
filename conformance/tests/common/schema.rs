//! Whether a document keeps its schema in `docs/`.

use serde_json::Value;

/// What is wrong with a value, by a schema.
pub(crate) fn violations(schema: &str, value: &Value) -> Vec<String> {
    let path = format!("{}/../docs/{schema}", env!("CARGO_MANIFEST_DIR"));
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("a schema")).expect("JSON");
    against(&schema, &schema, value, "report")
}

/// What is wrong with a value, by the part of JSON Schema that the schemas use; any other word is an error.
fn against(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, rule) in schema.as_object().expect("a schema is an object") {
        match word.as_str() {
            "$schema" | "title" | "description" | "$defs" => {}
            "$ref" => {
                let pointer = rule.as_str().expect("a reference").trim_start_matches('#');
                found.extend(against(root, root.pointer(pointer).expect("a definition"), value, at));
            }
            "const" => found.extend((rule != value).then(|| format!("{at} is {value}, not {rule}"))),
            "enum" => {
                let listed = rule.as_array().expect("a list").contains(value);
                found.extend((!listed).then(|| format!("{at} is {value}, not one of {rule}")));
            }
            "minimum" => {
                let enough = value.as_f64() >= rule.as_f64();
                found.extend((!enough).then(|| format!("{at} is {value}, less than {rule}")));
            }
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                let fits = types.iter().any(|wanted| is_of_type(value, wanted.as_str().expect("a type")));
                found.extend((!fits).then(|| format!("{at} is {value}, not of type {rule}")));
            }
            "required" => {
                let names = rule.as_array().expect("a list").iter().filter_map(Value::as_str);
                found.extend(
                    names
                        .filter(|name| value.get(name).is_none())
                        .map(|name| format!("{at}.{name} is missing")),
                );
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(against(root, rule, item, &format!("{at}[{n}]")));
                }
            }
            "properties" | "additionalProperties" => {
                for (name, field) in value.as_object().into_iter().flatten() {
                    let at = format!("{at}.{name}");
                    let named = schema.get("properties").and_then(|properties| properties.get(name));
                    match (word.as_str(), named) {
                        ("properties", Some(named)) => found.extend(against(root, named, field, &at)),
                        ("additionalProperties", None) if rule == &Value::Bool(false) => {
                            found.push(format!("{at} is not in the schema"));
                        }
                        ("additionalProperties", None) => found.extend(against(root, rule, field, &at)),
                        _ => {}
                    }
                }
            }
            other => panic!("this test does not know the word {other}"),
        }
    }
    found
}

fn is_of_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("this test does not know the type {other}"),
    }
}
