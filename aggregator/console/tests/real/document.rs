//! The OpenAPI document says what the console does: every answer that any test here gets is held to it.

use jsonschema::Validator;
use serde_json::{Value, json};
use std::{collections::HashMap, path::Path, sync::Arc, sync::LazyLock, sync::Mutex};

use crate::http::Answer;

pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/json/console.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
});

/// What a reference leads to, or the value itself.
fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(target) => resolved(DOCUMENT.pointer(&target[1..]).unwrap_or_else(|| panic!("no {target}"))),
        None => value,
    }
}

fn validator(schema: &Value) -> Arc<Validator> {
    static MADE: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap();
    let build = || {
        let whole =
            json!({ "allOf": [schema], "components": { "schemas": DOCUMENT["components"]["schemas"] } });
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012);
        Arc::new(options.should_validate_formats(true).build(&whole).unwrap())
    };
    Arc::clone(made.entry(schema.to_string()).or_insert_with(build))
}

/// The operation of a request, if the document has one.
fn operation(method: &str, target: &str) -> Option<&'static Value> {
    let path: Vec<&str> = target.split('?').next().unwrap().split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        let fits = |(part, segment): (&&str, &&str)| part == segment || part.starts_with('{');
        parts.len() == path.len() && parts.iter().zip(&path).all(fits)
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let (_, item) = paths.iter().find(|(template, _)| fits(template))?;
    item.get(method.to_ascii_lowercase())
}

/// Fails unless the document names this answer to this request.
pub fn check(method: &str, target: &str, answer: &Answer) {
    let what = format!("{method} {target}: {} {}", answer.status, answer.text);
    let Some(operation) = operation(method, target) else {
        assert!(matches!(answer.status, 401 | 404 | 405), "{what}");
        return;
    };
    let response = &operation["responses"][answer.status.to_string()];
    assert!(!response.is_null(), "not in the document: {what}");
    let response = resolved(response);
    for name in response["headers"].as_object().into_iter().flat_map(serde_json::Map::keys) {
        assert!(answer.headers.contains_key(&name.to_lowercase()), "{name} lacks: {what}");
    }
    let content = &response["content"][&answer.headers["content-type"]];
    assert!(!content.is_null(), "of another type: {what}");
    let value = answer.json();
    let errors: Vec<String> =
        validator(&content["schema"]).iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{what}: {errors:?}");
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_its_name() {
    fn walk(value: &'static Value, seen: &mut Vec<&'static str>) {
        match value {
            Value::Object(map) => {
                resolved(value);
                map.values().for_each(|value| walk(value, seen));
                seen.extend(value["operationId"].as_str());
            }
            Value::Array(items) => items.iter().for_each(|value| walk(value, seen)),
            _ => {}
        }
    }
    let mut names = Vec::new();
    walk(&DOCUMENT, &mut names);
    let operations = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), operations), (operations, DOCUMENT["paths"].as_object().unwrap().len()));
    for schema in DOCUMENT["components"]["schemas"].as_object().unwrap().values() {
        jsonschema::draft202012::meta::validate(schema).unwrap();
    }
    let question = &DOCUMENT["paths"]["/v1/programs/{program}/lineage"]["post"]["requestBody"]["content"];
    let question = &question["application/json"];
    let schema = validator(&question["schema"]);
    assert!(schema.is_valid(&question["examples"]["email"]["value"]));
    for wrong in [json!({}), json!({ "email": "a", "lead": "b" }), json!({ "referrer": "ann" })] {
        assert!(!schema.is_valid(&wrong), "{wrong}");
    }
}
