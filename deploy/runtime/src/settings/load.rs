//! Loading: which file, what is unknown, then the group; and short ways in for tests.

use std::ffi::OsString;
use std::fmt;

use clap::ArgMatches;

use super::environment::Environment;
use super::file::{ConfigFile, Raw};
use super::group::{Catalogue, Group};
use super::mistake::{Mistake, Mistakes, Problem, nearest};
use super::reader::{Effective, Reader};

/// Something odd that does not stop a start: a variable that nothing reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The variable.
    pub variable: String,
    /// The nearest known variable, if one is near.
    pub suggestion: Option<String>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is set, and no setting has that name", self.variable)?;
        match &self.suggestion {
            Some(name) => write!(f, "; did you mean {name}?"),
            None => Ok(()),
        }
    }
}

/// A successful load.
#[derive(Debug)]
pub struct Loaded<G> {
    /// The group.
    pub settings: G,
    /// To be logged once logging is up.
    pub warnings: Vec<Warning>,
    /// Every setting of the group with its origin, in order of declaration.
    pub effective: Vec<Effective>,
}

/// Loads a group: flags, then environment, then file, then defaults.
///
/// `flags` are the matches of a command built by [`command`](super::command); `catalogue` holds every
/// setting of the program, the group's included.
///
/// # Errors
/// Every mistake there is: unreadable file, unknown keys, bad values, missing values, contradictions.
pub fn load<G: Group>(
    flags: &ArgMatches,
    environment: &Environment,
    catalogue: &Catalogue,
) -> Result<Loaded<G>, Mistakes> {
    let from_flag = flags.try_get_one::<String>("config").ok().flatten().cloned();
    let from_variable = environment.value("WHENCE_CONFIG").map(OsString::into_string);
    let file = match (from_flag, from_variable) {
        (Some(path), _) | (None, Some(Ok(path))) => {
            ConfigFile::read(&path, &catalogue.keys().collect::<Vec<_>>())
        }
        (None, Some(Err(_))) => {
            let mistake = Mistake { place: "WHENCE_CONFIG".to_owned(), problem: Problem::NotText };
            ConfigFile { mistakes: vec![mistake], ..ConfigFile::default() }
        }
        (None, None) => ConfigFile::default(),
    };
    let (settings, effective) = read::<G>(Some(flags), environment, file)?;
    Ok(Loaded { settings, warnings: unknown_variables(environment, catalogue), effective })
}

/// The group with nothing given, for tests and embedding.
///
/// # Errors
/// If it has required settings.
pub fn defaults<G: Group>() -> Result<G, Mistakes> {
    from_pairs::<G>(&[])
}

/// The group from names and texts, for tests and embedding. Other names than the group's are mistakes.
///
/// # Errors
/// As [`load`].
pub fn from_pairs<G: Group>(pairs: &[(&str, &str)]) -> Result<G, Mistakes> {
    let catalogue = Catalogue::default().with::<G>();
    let mut file = ConfigFile { path: "settings".to_owned(), ..ConfigFile::default() };
    for (name, text) in pairs {
        if catalogue.keys().any(|known| known == *name) {
            file.values.insert((*name).to_owned(), Raw::Text((*text).to_owned()));
        } else {
            let problem = Problem::Unknown { suggestion: nearest(name, catalogue.keys()) };
            file.mistakes.push(Mistake { place: file.place(name), problem });
        }
    }
    read::<G>(None, &Environment::default(), file).map(|(settings, _)| settings)
}

fn read<G: Group>(
    flags: Option<&ArgMatches>,
    environment: &Environment,
    mut file: ConfigFile,
) -> Result<(G, Vec<Effective>), Mistakes> {
    let mistakes = std::mem::take(&mut file.mistakes);
    let mut reader = Reader { flags, environment, file: &file, mistakes, effective: Vec::new() };
    let settings = G::read(&mut reader);
    let Reader { mistakes, effective, .. } = reader;
    match Mistakes::from_list(mistakes) {
        Some(mistakes) => Err(mistakes),
        None => Ok((settings.expect("a group that is not read leaves a mistake"), effective)),
    }
}

fn unknown_variables(environment: &Environment, catalogue: &Catalogue) -> Vec<Warning> {
    let unknown = environment.names().filter(|name| !catalogue.known_variables().any(|known| known == *name));
    let warning = |name: &str| Warning {
        variable: name.to_owned(),
        suggestion: nearest(name, catalogue.known_variables()),
    };
    unknown.map(warning).collect()
}
