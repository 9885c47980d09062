//! The OpenAPI document, as it stands in `schemas/json/console.json`. Tests hold the console to it; a new call
//! starts with its path there. What it says of reports a test writes from the table of reports and the views' columns
//! (`WHENCE_UPDATE_DOCS=1`).

use hyper::{
    Method, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use whence_runtime::http::{Full, full};

use super::problem::Problem;

/// Where it is served, to anybody.
pub(super) const PATH: &str = "/v1/openapi.json";

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/json/console.json"));

pub(super) fn answer(method: &Method) -> Response<Full> {
    if method != Method::GET {
        return Problem::method("GET").response();
    }
    let mut response = Response::new(full(DOCUMENT));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fact::Fact, http::route::Route, reports::Report};
    use serde_json::{Map, Value, json};
    use std::collections::BTreeSet;
    use whence_schemas::sql::Column;

    const ID: &str = "01234567-89ab-5cde-8f01-23456789abcd";

    #[test]
    fn every_path_is_a_route_of_its_method_and_every_route_has_its_path() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut described = BTreeSet::new();
        for (template, item) in document["paths"].as_object().unwrap() {
            let methods: Vec<&String> =
                item.as_object().unwrap().keys().filter(|key| *key != "parameters").collect();
            if template == PATH {
                assert_eq!(methods, ["get"]);
                continue;
            }
            let path = template.replace("{erasure}", ID).replace("{id}", ID);
            let route = Route::of(&path.replace(['{', '}'], "")).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(methods, [&route.method().to_lowercase()], "{path}");
            described.insert(template.strip_prefix("/v1/programs/{program}/").unwrap());
        }
        let reports = Report::of_programs().map(Report::word);
        let facts = ["leads/{id}", "qualifications/{id}"];
        let expected =
            reports.chain(["erasures/{erasure}", "lineage", "lineage/{lead}", "status"]).chain(facts);
        assert_eq!(described, expected.collect());
    }

    #[test]
    fn reports_are_described_as_their_table_and_views_have_them() {
        let mut document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let is_report = |item: &Value| item["get"]["tags"] == json!(["reports"]);
        document["paths"].as_object_mut().unwrap().retain(|_, item| !is_report(item));
        let schemas = document["components"]["schemas"].as_object_mut().unwrap();
        schemas.retain(|name, _| !name.ends_with("Row"));
        for report in Report::of_programs() {
            schemas.insert(row_name(report), row(report.about(), &report.columns()));
        }
        for fact in Fact::ALL {
            let columns: Vec<Column> =
                fact.view().columns().into_iter().filter(|column| column.name != "program").collect();
            let about = format!("One of the {} as it stands.", fact.plural());
            document["components"]["schemas"][fact_name(fact)] = row(&about, &columns);
            let mut of_one: Value = document["paths"]["/v1/programs/{program}/erasures/{erasure}"].clone();
            let get = &mut of_one["get"];
            get["operationId"] = format!("show_{}", fact.plural().trim_end_matches('s')).into();
            get["summary"] = format!("{about} 404 before it is consumed.").into();
            get["parameters"][0]["name"] = "id".into();
            get["responses"]["200"] = json!({
                "description": "As it stands",
                "content": { "application/json": {
                    "schema": { "$ref": format!("#/components/schemas/{}", fact_name(fact)) } } },
            });
            document["paths"][format!("/v1/programs/{{program}}/{}/{{id}}", fact.plural())] = of_one;
        }
        for report in Report::of_programs() {
            document["paths"][format!("/v1/programs/{{program}}/{}", report.word())] = path(report);
        }
        let text = format!("{document:#}\n");
        if std::env::var_os("WHENCE_UPDATE_DOCS").is_some() {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/json/console.json");
            std::fs::write(file, &text).unwrap();
        }
        assert!(text == DOCUMENT, "console.json is not what the reports are: WHENCE_UPDATE_DOCS=1 writes it");
    }

    fn row_name(report: Report) -> String {
        let upper = |word: &str| word[..1].to_uppercase() + &word[1..];
        report.word().split('_').map(upper).collect::<String>() + "Row"
    }

    fn fact_name(fact: Fact) -> String {
        format!("{fact:?}Fact")
    }

    fn row(about: &str, columns: &[Column]) -> Value {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let properties: Map<String, Value> =
            columns.iter().map(|column| (column.name.clone(), property(column))).collect();
        json!({
            "type": "object",
            "description": about,
            "required": names,
            "additionalProperties": false,
            "properties": properties,
        })
    }

    fn property(column: &Column) -> Value {
        let mut schema = match column.name.as_str() {
            "party" => json!({ "$ref": "#/components/schemas/Party" }),
            "currency" => json!({ "$ref": "#/components/schemas/Currency" }),
            _ => of_type(&column.kind),
        };
        schema["description"] = column.comment.clone().into();
        schema
    }

    /// How ClickHouse writes a value of this type in JSON.
    fn of_type(kind: &str) -> Value {
        let inside =
            |name: &str| kind.strip_prefix(name).and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'));
        if let Some(kind) = inside("LowCardinality") {
            return of_type(kind);
        }
        if let Some(kind) = inside("Nullable") {
            let mut schema = of_type(kind);
            schema["type"] = json!([schema["type"], "null"]);
            return schema;
        }
        if let Some(kind) = inside("Array") {
            return json!({ "type": "array", "items": of_type(kind) });
        }
        if let Some(kind) = inside("Map").and_then(|kinds| kinds.strip_prefix("String, ")) {
            return json!({ "type": "object", "additionalProperties": of_type(kind) });
        }
        match kind {
            "String" => json!({ "type": "string" }),
            _ if kind.starts_with("Enum8(") => {
                let words: Vec<&str> = kind.split('\'').skip(1).step_by(2).collect();
                json!({ "type": "string", "enum": words })
            }
            "Bool" => json!({ "type": "boolean" }),
            "UUID" => json!({ "type": "string", "format": "uuid" }),
            "Date" | "Date32" => json!({ "type": "string", "format": "date" }),
            _ if kind.starts_with("DateTime") => json!({ "type": "string", "format": "date-time" }),
            // Without a format, clients that are generated have 32 bits.
            _ if kind.starts_with("UInt") => json!({ "type": "integer", "format": "int64", "minimum": 0 }),
            _ if kind.starts_with("Int") => json!({ "type": "integer", "format": "int64" }),
            _ if kind.starts_with("Float") => json!({ "type": "number", "format": "double" }),
            other => panic!("how does JSON have {other}?"),
        }
    }

    fn path(report: Report) -> Value {
        let own: &[&str] = match report {
            _ if report.has_days() => &["referrer", "from", "to"],
            _ if report.has_past() => &["as_of"],
            _ => &[],
        };
        let named = |kind: &str, name: &str| json!({ "$ref": format!("#/components/{kind}/{name}") });
        let parameters: Vec<Value> =
            own.iter().chain(&["after", "limit"]).map(|name| named("parameters", name)).collect();
        let rows = json!({
            "type": "object",
            "required": ["items", "more", "next"],
            "additionalProperties": false,
            "properties": {
                "items": { "type": "array", "items": named("schemas", &row_name(report)) },
                "more": { "type": "boolean", "description": "There are more rows than `limit` allows." },
                "next": {
                    "type": ["string", "null"],
                    "description": "What `after` has to be for the next page; null on the last.",
                },
            },
        });
        let mut responses = json!({
            "200": { "description": "A page of rows", "content": { "application/json": { "schema": rows } } },
        });
        let others = ["Unauthorized", "Forbidden", "NotFound", "Invalid", "Limited", "Later", "Slow"];
        for (status, name) in ["401", "403", "404", "422", "429", "503", "504"].into_iter().zip(others) {
            responses[status] = named("responses", name);
        }
        json!({
            "parameters": [named("parameters", "program")],
            "get": {
                "operationId": report.word(),
                "tags": ["reports"],
                "summary": report.about(),
                "parameters": parameters,
                "responses": responses,
            },
        })
    }
}
