//! Settings that belong together, and all settings of the program.

use super::reader::Reader;
use super::row::{Row, variable};

/// Settings that are declared and read together. Implemented by [`settings!`](crate::settings!) and
/// [`compose!`](crate::compose).
pub trait Group: Sized {
    /// The rows in the order of declaration, each name once.
    fn rows() -> Vec<Row>;

    /// Reads every field, leaving each mistake with the reader; `None` if there was one.
    fn read(reader: &mut Reader<'_>) -> Option<Self>;
}

/// Appends rows, each name once. A group may be part of several others; two *different* settings under one
/// name would make one flag mean two things.
///
/// # Panics
/// If a name is declared twice and differently: a mistake in the program, caught by any test that builds
/// the command.
pub(super) fn merge(rows: &mut Vec<Row>, more: Vec<Row>) {
    for row in more {
        match rows.iter().find(|known| known.name == row.name) {
            None => rows.push(row),
            Some(known) => assert_eq!(*known, row, "setting `{}` is declared twice, differently", row.name),
        }
    }
}

/// Every setting of the whole program, so that a file or an environment shared by several roles is not
/// called wrong for naming another role's settings.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    rows: Vec<Row>,
    variables: Vec<&'static str>,
}

impl Catalogue {
    /// Adds a group.
    ///
    /// # Panics
    /// If a name is declared twice and differently.
    #[must_use]
    pub fn with<G: Group>(mut self) -> Self {
        merge(&mut self.rows, G::rows());
        self
    }

    /// Adds a `WHENCE_…` variable that is read elsewhere (by scripts, by tests) and deserves no warning.
    #[must_use]
    pub fn with_variable(mut self, variable: &'static str) -> Self {
        self.variables.push(variable);
        self
    }

    /// The rows in order of declaration.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Every accepted TOML key.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> {
        self.rows.iter().flat_map(|row| [Some(row.name.clone()), row.file_name()]).flatten()
    }

    /// Every accepted variable.
    pub(super) fn known_variables(&self) -> impl Iterator<Item = String> {
        let others = self.variables.iter().map(|name| (*name).to_owned());
        self.keys().map(|key| variable(&key)).chain(["WHENCE_CONFIG".to_owned()]).chain(others)
    }
}
