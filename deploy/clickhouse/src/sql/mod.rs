//! As much SQL as a server must see from outside the engine: what kind of statement a text is, where
//! its `FORMAT` clause stands, where an insert's rows begin, and whether it may be asked here at all.
//!
//! The engine parses everything again; this module only finds places. It knows nothing of HTTP and
//! nothing of the engine.

mod allow;
mod statement;
mod tokens;
mod values;

#[cfg(any(test, feature = "testing"))]
pub use allow::SHOWN;
pub use allow::{
    Action, Catalogue, ENGINES, Rules, SettingLimits, Target, Verdict, View, check_settings, system_tables,
};
#[cfg(any(test, feature = "testing"))]
pub use statement::OUTPUT_WORDS;
pub use statement::{Insert, Output, Parsed, Statement, parse};
pub use tokens::{Kind, Tokens};
pub use values::literals;

#[cfg(test)]
pub mod tests {
    //! Rules for the tests of this module's users.

    use std::sync::LazyLock;

    use super::{Catalogue, Rules, SettingLimits};
    use crate::rights::Identity;

    static DATABASES: LazyLock<Vec<String>> = LazyLock::new(|| vec!["default".into(), "db".into()]);
    static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
        Catalogue::new(
            [
                ("file", false),
                ("dictGet", false),
                ("FQDN", true),
                ("count", true),
                ("format", false),
                ("sum", false),
            ],
            ["url", "numbers", "format", "values"],
        )
    });
    static LIMITS: SettingLimits =
        SettingLimits { memory_bytes_max: 1000, seconds_max: 60, threads_max: 2, temporary_bytes_max: 1000 };

    /// Rules of this identity.
    pub fn rules(identity: Identity) -> Rules<'static> {
        Rules {
            identity,
            database: "default",
            databases: &DATABASES,
            scratch: "scratch",
            further_engines: &[],
            catalogue: &CATALOGUE,
            limits: &LIMITS,
        }
    }

    /// The owner's.
    pub fn owner() -> Rules<'static> {
        rules(Identity::Owner)
    }
}
