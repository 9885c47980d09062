//! The OpenAPI document, as it stands in `schemas/json/console.json`. Tests hold the console to it; a new call
//! starts with its path there.

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
    use crate::{http::route::Route, reports::Report};
    use serde_json::Value;
    use std::collections::BTreeSet;

    #[test]
    fn every_path_is_a_route_of_its_method_and_every_route_has_its_path() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let methods: Vec<&String> =
                item.as_object().unwrap().keys().filter(|key| *key != "parameters").collect();
            if path == PATH {
                assert_eq!(methods, ["get"]);
                continue;
            }
            let route = Route::of(&path.replace(['{', '}'], "")).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(methods, [&route.method().to_lowercase()], "{path}");
            described.insert(path.strip_prefix("/v1/programs/{program}/").unwrap());
        }
        let reports = Report::ALL.map(Report::word);
        let expected = reports.into_iter().chain(["lineage", "lineage/{lead}", "status"]);
        assert_eq!(described, expected.collect());
    }
}
