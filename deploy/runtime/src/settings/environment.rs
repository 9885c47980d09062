//! The variables of the process.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The `WHENCE_…` variables, taken once and passed in, so that a load depends on nothing else.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// This process's. Variables whose names are not UTF-8 are left out.
    pub fn of_process() -> Self {
        Self::from_pairs(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))),
        )
    }

    /// From pairs; names without the `WHENCE_` prefix are left out.
    pub fn from_pairs<N: Into<String>, V: Into<OsString>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(pairs.filter(|(name, _)| name.starts_with("WHENCE_")).collect())
    }

    /// The value of a variable, unless it is empty.
    pub(super) fn value(&self, variable: &str) -> Option<OsString> {
        self.0.get(variable).filter(|value| !value.is_empty()).cloned()
    }

    /// The names of all of them.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
