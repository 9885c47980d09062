//! Bodies made from the document's schemas: what a schema accepts the API accepts, what it refuses the API refuses,
//! and whatever is sent, the answer is one that the document names ([`super::document::check`] sees every answer).

use super::{
    document::{DOCUMENT, operation, resolved, validator},
    node::{NOW, Node, good_token},
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    string::string_regex,
    test_runner::{Config, TestRunner},
};
use serde_json::{Map, Value, json};
use whence_ingest::api::events::kind::Kind;

/// What no schema can say: which programs, referrers, codes and tokens there are, that most programs want no
/// addresses for lead ids and none has them for names of records and payments, how many decimals a currency has, and which characters nobody sees.
fn pinned(name: &str) -> Option<BoxedStrategy<Value>> {
    let just = |values: &[&str]| select(values.iter().map(|value| json!(value)).collect::<Vec<_>>()).boxed();
    Some(match name {
        "program" => just(&["demo"]),
        "referrer" => just(&["ann"]),
        "code" => just(&["abc"]),
        "channel" => just(&["email", "whatsapp"]),
        "token" | "wclid" => Just(json!(good_token())).boxed(),
        "lead" | "record" => string_regex("[a-z0-9-]{1,20}").unwrap().prop_map(Value::from).boxed(),
        "payments" => vec(string_regex("[a-z0-9_-]{1,20}").unwrap(), 0..9).prop_map(Value::from).boxed(),
        "email" => string_regex(r"[^\s@\pC]{1,40}@[^\s@.\pC]{1,40}(\.[^\s@.\pC]{1,40}){1,3}")
            .unwrap()
            .prop_map(Value::from)
            .boxed(),
        "client_ip" => prop_oneof![
            any::<std::net::Ipv4Addr>().prop_map(|ip| json!(ip)),
            any::<std::net::Ipv6Addr>().prop_map(|ip| json!(ip))
        ]
        .boxed(),
        "amount" => string_regex("[1-9][0-9]{0,8}").unwrap().prop_map(Value::from).boxed(),
        "minor" => (1..=1_000_000_000_000_000i64).prop_map(Value::from).boxed(),
        "occurred_at" => (NOW.0 - 900..=NOW.0).prop_map(Value::from).boxed(),
        _ => return None,
    })
}

/// Values that the schema may accept; the validator has the last word.
fn maybe(schema: &'static Value) -> BoxedStrategy<Value> {
    let schema = resolved(schema);
    if let Some(value) = schema.get("const") {
        return Just(value.clone()).boxed();
    }
    if let Some(values) = schema["enum"].as_array() {
        return select(values.clone()).boxed();
    }
    match schema["type"].as_str() {
        Some("string") => text(schema),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("integer") => {
            let bound = |name: &str| schema[name].as_i64().unwrap();
            (bound("minimum")..=bound("maximum")).prop_map(Value::from).boxed()
        }
        Some("array") => vec(maybe(&schema["items"]), 0..4).prop_map(Value::from).boxed(),
        Some("object") => object(schema),
        _ => match (&schema["allOf"], &schema["oneOf"]) {
            (Value::Array(all), _) if resolved(&all[0])["type"] == "object" => object(schema),
            (_, Value::Array(choices)) => proptest::strategy::Union::new(choices.iter().map(maybe)).boxed(),
            _ => panic!("no values for {schema}"),
        },
    }
}

fn text(schema: &Value) -> BoxedStrategy<Value> {
    let pattern = schema["pattern"].as_str().unwrap().trim_start_matches('^').trim_end_matches('$');
    let max = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
    let fits = move |text: &String| text.chars().count() as u64 <= max;
    string_regex(pattern).unwrap().prop_filter("maxLength", fits).prop_map(Value::from).boxed()
}

/// Required properties and any of the others.
fn object(schema: &'static Value) -> BoxedStrategy<Value> {
    let parts = schema["allOf"].as_array().into_iter().flatten().map(resolved).chain([schema]);
    let mut required: Vec<&str> = Vec::new();
    let mut properties = Map::new();
    for part in parts {
        required.extend(part["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
        properties.extend(part["properties"].as_object().cloned().into_iter().flatten());
    }
    let properties: &'static Map<String, Value> = Box::leak(Box::new(properties));
    let fields: Vec<_> = properties
        .iter()
        .map(|(name, schema)| {
            let value = pinned(name).unwrap_or_else(|| maybe(schema));
            let value = value.prop_map(Some);
            let value = match required.contains(&name.as_str()) {
                true => value.boxed(),
                false => prop_oneof![Just(None), value].boxed(),
            };
            let name = name.clone();
            value.prop_map(move |value| Some((name.clone(), value?)))
        })
        .collect();
    fields.prop_map(|fields| fields.into_iter().flatten().collect::<Map<_, _>>().into()).boxed()
}

/// Values that the schema of this name accepts.
fn accepted(name: &str) -> BoxedStrategy<Value> {
    let schema = &DOCUMENT["components"]["schemas"][name];
    let validator = validator(schema);
    maybe(schema).prop_filter("not valid after all", move |value| validator.is_valid(value)).boxed()
}

fn event() -> BoxedStrategy<Value> {
    let names = DOCUMENT["components"]["schemas"]["Event"]["oneOf"].as_array().unwrap();
    assert_eq!(names.len(), Kind::ALL.len());
    let name = |reference: &'static Value| reference["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
    proptest::strategy::Union::new(names.iter().map(|reference| accepted(name(reference)))).boxed()
}

/// Anything, small.
fn junk() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        select(vec![json!(""), json!("a"), json!(-1), json!(0), json!(1)]),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        string_regex("[a-z_]{1,12}").unwrap().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,5}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A value that was right, with one field changed to anything.
fn spoiled(right: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    (right, any::<proptest::sample::Index>(), junk(), any::<bool>())
        .prop_map(|(mut value, index, junk, is_new)| {
            if let Value::Object(map) = &mut value {
                let names: Vec<String> = map.keys().cloned().collect();
                let name = if is_new { "extra".to_owned() } else { index.get(&names).clone() };
                map.insert(name, junk);
            }
            value
        })
        .boxed()
}

fn run<T: std::fmt::Debug>(cases: u32, strategy: impl Strategy<Value = T>, test: &impl AsyncFn(&Node, T)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = runtime.block_on(Node::start());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&strategy, |value| {
            runtime.block_on(test(&node, value));
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_the_schema_of_an_event_accepts_is_accepted() {
    run(48, vec(event(), 1..12), &async |node, events| {
        let count = events.len();
        let answer = node.post("/v1/events", events.into()).await;
        assert_eq!((answer.status, &answer.json()["accepted"]), (202, &json!(count)), "{}", answer.text);
    });
}

/// As the API reads it: fields that are `null` are as good as missing, and texts have no space around them.
fn read(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let fields = map.into_iter().filter(|(_, value)| !value.is_null());
            fields.map(|(name, value)| (name, read(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(read).collect(),
        Value::String(text) => text.trim().into(),
        other => other,
    }
}

/// Fails where the API has taken what the schema refuses.
fn assert_fits(schema: &Value, taken: &Value) {
    let (validator, taken) = (validator(schema), read(taken.clone()));
    let errors: Vec<String> = validator.iter_errors(&taken).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "taken, and against the document: {errors:?} in {taken}");
}

#[test]
fn whatever_is_sent_the_answer_is_one_of_the_documents() {
    let body = prop_oneof![
        spoiled(event()),
        junk(),
        vec(prop_oneof![spoiled(event()), junk()], 0..4).prop_map(Value::from),
    ];
    run(512, body, &async |node, body| {
        let answer = node.post("/v1/events", body.clone()).await;
        assert!(answer.status < 500, "{} {}", answer.status, answer.text);
        if !matches!(answer.status, 202 | 207) {
            return;
        }
        let alone = json!([{ "index": 0, "status": "accepted" }]);
        let (results, events) = match &body {
            Value::Array(events) => (answer.json()["results"].clone(), &events[..]),
            one => (alone, std::slice::from_ref(one)),
        };
        for result in results.as_array().unwrap() {
            if result["status"] == "accepted" {
                assert_fits(
                    &json!({"$ref": "#/components/schemas/Event"}),
                    &events[result["index"].as_u64().unwrap() as usize],
                );
            }
        }
    });
}

#[test]
fn whatever_is_sent_to_the_registry_the_answer_is_one_of_the_documents() {
    let target = select(vec![
        ("PUT", "/v1/programs/generated"),
        ("POST", "/v1/programs/demo/referrers"),
        ("PUT", "/v1/programs/demo/referrers/eve"),
        ("PATCH", "/v1/programs/demo"),
        ("PATCH", "/v1/programs/demo/referrers/ann"),
        ("POST", "/v1/programs/demo/links"),
        ("PUT", "/v1/programs/demo/links/go.example/abc"),
        ("PATCH", "/v1/programs/demo/links/go.example/abc"),
        ("PUT", "/v1/programs/demo/hosts/own.example"),
        ("PATCH", "/v1/programs/demo/hosts/own.example"),
        ("PUT", "/v1/programs/demo/sources/shop"),
        ("PATCH", "/v1/programs/demo/sources/shop"),
        ("PUT", "/v1/programs/demo/endpoints/shop"),
        ("PATCH", "/v1/programs/demo/endpoints/shop"),
        ("POST", "/v1/keys"),
    ]);
    let call = target.prop_flat_map(|(method, path)| {
        let content = &operation(method, path).unwrap()["requestBody"]["content"]["application/json"];
        let examples = content["examples"].as_object().unwrap().values();
        let bodies: Vec<Value> = examples.map(|example| example["value"].clone()).collect();
        (Just((method, path, &content["schema"])), spoiled(select(bodies).boxed()))
    });
    run(512, call, &async |node, ((method, path, schema), body)| {
        let answer = node.send(method, path, body.to_string()).await;
        assert!(answer.status < 500, "{} {}", answer.status, answer.text);
        if answer.status < 300 {
            assert_fits(schema, &body);
        }
    });
}
