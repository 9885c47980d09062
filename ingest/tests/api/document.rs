//! The OpenAPI document says what the API does: every answer that any test here gets is held to it.

use super::node::{Answer, Node};
use jsonschema::Validator;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
};
use whence_ingest::api::{
    events::{kind::Kind, money},
    route::Route,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/json")
}

fn file(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| file("openapi.json"));

/// What a reference leads to, or the value itself.
pub fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(target) => resolved(DOCUMENT.pointer(&target[1..]).unwrap_or_else(|| panic!("no {target}"))),
        None => value,
    }
}

/// The validator of a schema that stands in the document.
pub fn validator(schema: &Value) -> Arc<Validator> {
    static MADE: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap();
    let build = || {
        let whole = json!({"allOf": [schema], "components": {"schemas": DOCUMENT["components"]["schemas"]}});
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012);
        Arc::new(options.should_validate_formats(true).build(&whole).unwrap())
    };
    Arc::clone(made.entry(schema.to_string()).or_insert_with(build))
}

fn assert_valid(schema: &Value, value: &Value, what: &str) {
    let errors: Vec<String> = validator(schema).iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{what}: {errors:?} in {value}");
}

/// The operation of a request, if the document has one.
pub fn operation(method: &str, target: &str) -> Option<&'static Value> {
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
    assert!(answer.headers.contains_key("request-id"), "{what}");
    if method == "HEAD" {
        assert!(answer.text.is_empty(), "{what}");
        return;
    }
    let Some(operation) = operation(method, target) else {
        assert!(matches!(answer.status, 401 | 404 | 405), "{what}");
        return;
    };
    let response = &operation["responses"][answer.status.to_string()];
    assert!(!response.is_null(), "not in the document: {what}");
    if answer.status == 304 {
        assert!(answer.text.is_empty(), "{what}");
        return;
    }
    let kind = answer.headers["content-type"].split(';').next().unwrap();
    let content = &resolved(response)["content"][kind];
    assert!(!content.is_null(), "{kind} is not in the document: {what}");
    if kind.ends_with("json") {
        // Generators break on a type that is one or several: those stand beside it.
        let schemas = [&content["schema"], &content["x-of-several"]];
        let schemas: Vec<&Value> = schemas.into_iter().filter(|schema| !schema.is_null()).collect();
        assert_valid(&json!({"anyOf": schemas}), &answer.json(), &what);
    }
}

#[test]
fn every_route_is_in_the_document_and_every_path_is_a_route() {
    let listed = |methods: &str| methods.to_lowercase().split(", ").map(str::to_owned).collect();
    let routes: BTreeMap<String, BTreeSet<String>> =
        Route::table().map(|(template, methods)| (template.to_owned(), listed(methods))).collect();
    let described = |item: &Value| {
        let operations = item.as_object().unwrap().keys();
        operations.filter(|key| *key != "parameters").cloned().collect::<BTreeSet<_>>()
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let paths: BTreeMap<_, _> = paths.iter().map(|(path, item)| (path.clone(), described(item))).collect();
    assert_eq!(paths, routes);
    for path in routes.keys() {
        assert!(Route::of(&path.replace(['{', '}'], "")).is_some(), "{path}");
    }
    for kind in Kind::ALL {
        let short = Route::Short { kind, program: "p".into() };
        assert_eq!(Route::of(&format!("/v1/programs/p/{}", kind.plural())), Some(short));
    }
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
    assert_eq!(names.len(), operations, "operation names are unique");
    assert_eq!(operations, Route::table().map(|(_, methods)| methods.split(',').count()).sum::<usize>());
    for schema in DOCUMENT["components"]["schemas"].as_object().unwrap().values() {
        jsonschema::draft202012::meta::validate(schema).unwrap();
    }
}

#[test]
fn the_currencies_are_those_that_the_api_knows() {
    let codes = DOCUMENT["components"]["schemas"]["Currency"]["enum"].as_array().unwrap();
    let codes: BTreeSet<&str> = codes.iter().map(|code| code.as_str().unwrap()).collect();
    let letters = || 'A'..='Z';
    let all = letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| [a, b, c])));
    let known = all.map(String::from_iter).filter(|code| money::decimals(code).is_some());
    assert_eq!(codes.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), known.collect());
}

/// `WHENCE_UPDATE_SCHEMAS=1` rewrites the schemas of the events from the document.
#[test]
fn the_schemas_of_events_are_those_of_the_document() {
    for kind in Kind::ALL {
        let name = kind.word().split('_').map(capitalised).collect::<String>();
        let mut reached = BTreeMap::new();
        let own = own_schema(&json!({"$ref": format!("#/components/schemas/{name}")}), &mut reached);
        assert_eq!(own, json!({"$ref": format!("#/$defs/{name}")}));
        let mut schema = reached.remove(&name).unwrap();
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
        schema["$id"] = format!("urn:whence:schema:{}", kind.word()).into();
        schema["title"] = name.into();
        schema["$defs"] = reached.into_iter().collect::<serde_json::Map<_, _>>().into();
        let path = format!("{}.json", kind.word());
        if std::env::var_os("WHENCE_UPDATE_SCHEMAS").is_some() {
            std::fs::write(folder().join(&path), format!("{schema:#}\n")).unwrap();
        }
        assert_eq!(file(&path), schema, "{path}: run this test with WHENCE_UPDATE_SCHEMAS=1");
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        assert!(schema["examples"].as_array().unwrap().iter().all(|example| validator.is_valid(example)));
    }
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

/// The schema with references to `$defs`, and all that they lead to.
fn own_schema(schema: &Value, reached: &mut BTreeMap<String, Value>) -> Value {
    match schema {
        Value::Object(map) => {
            let mut own = serde_json::Map::new();
            for (key, value) in map {
                let target = value.as_str().and_then(|text| text.strip_prefix("#/components/schemas/"));
                let value = match target {
                    Some(name) => {
                        if !reached.contains_key(name) {
                            reached.insert(name.to_owned(), Value::Null);
                            let schema = own_schema(&DOCUMENT["components"]["schemas"][name], reached);
                            reached.insert(name.to_owned(), schema);
                        }
                        format!("#/$defs/{name}").into()
                    }
                    None => own_schema(value, reached),
                };
                own.insert(key.clone(), value);
            }
            own.into()
        }
        Value::Array(items) => items.iter().map(|item| own_schema(item, reached)).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn what_describes_the_api_is_served_without_a_key() {
    let node = Node::start().await;
    let served = node.send_as("GET", "/v1/openapi.json", &[], "").await;
    assert_eq!((served.status, &served.json()), (200, &*DOCUMENT));
    for kind in Kind::ALL {
        let name = format!("{}.json", kind.word());
        let served = node.send_as("GET", &format!("/v1/schemas/{name}"), &[], "").await;
        assert_eq!((served.status, served.json()), (200, file(&name)));
    }
    assert_eq!(node.send_as("GET", "/v1/schemas/click.json", &[], "").await.problem().0, 404);
    assert_eq!(node.send_as("POST", "/v1/openapi.json", &[], "").await.problem().0, 405);
}

#[tokio::test]
async fn every_example_fits_its_schema_and_is_accepted() {
    let node = Node::start().await;
    let made = node.post("/v1/keys", json!({"program": "demo", "scopes": ["events:write"]})).await.json();
    let key = made["id"].as_str().unwrap().to_owned();
    let mut sent = 0;
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        // What is to be patched is put before.
        for method in ["post", "put", "patch"] {
            let operation = &item[method];
            let content = &operation["requestBody"]["content"]["application/json"];
            for (name, example) in content["examples"].as_object().into_iter().flatten() {
                let target = path
                    .replace("{program}", "demo")
                    .replace("{referrer}", "ann")
                    .replace("{host}", "go.example")
                    .replace("{code}", "abc")
                    .replace("{source}", "shop")
                    .replace("{endpoint}", "shop")
                    .replace("{key}", &key);
                let what = format!("{method} {path}, example {name}");
                assert_valid(&content["schema"], &example["value"], &what);
                let answer = node.send(&method.to_uppercase(), &target, example["value"].to_string()).await;
                assert!(matches!(answer.status, 200..=202), "{what}: {} {}", answer.status, answer.text);
                sent += 1;
            }
        }
    }
    assert!(sent >= 20, "{sent} examples");
}
