//! What a program comes to for the edge. Pure.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use hyper::header::HeaderValue;
use whence_schemas::{
    event::{ConsentMode, Program},
    ids::{ChannelId, ChannelNumber, NameError, ProgramId},
};

use whence_registry::destination;

/// What the edge must know of a program.
#[derive(Debug)]
pub struct ProgramRules {
    /// The program.
    pub id: Box<str>,
    /// The registry version this comes from; 0: nothing has been heard of the program yet.
    pub version: u64,
    /// Its links are answered by the fallback.
    pub is_disabled: bool,
    /// Whether the visitor cookie may be read and set.
    pub has_cookie: bool,
    /// Where visitors go that no link can take; `None`: an error page.
    pub fallback: Option<HeaderValue>,
    /// What `?c=` may name. A handful, looked through one by one.
    pub channels: Vec<(Box<str>, ChannelNumber)>,
    /// See [`destination::check`].
    pub destination_hosts: Vec<String>,
}

impl ProgramRules {
    /// A program that is only known by name.
    pub(super) fn unheard(id: &str) -> ProgramRules {
        ProgramRules {
            id: id.into(),
            version: 0,
            is_disabled: false,
            has_cookie: false,
            fallback: None,
            channels: Vec::new(),
            destination_hosts: Vec::new(),
        }
    }

    /// The rules in a record; a fallback that no link of the program could point at is left out.
    pub(super) fn of(program: &Program, version: u64) -> Result<ProgramRules, NameError> {
        program.id.parse::<ProgramId>()?;
        let channels = program.channels.iter();
        let channels = channels.map(|name| {
            name.parse::<ChannelId>().map(|name| (name.as_str().into(), ChannelNumber::of(name.as_str())))
        });
        Ok(ProgramRules {
            id: program.id.as_str().into(),
            version,
            is_disabled: program.disabled,
            has_cookie: program.consent() == ConsentMode::Cookie,
            fallback: fallback(program),
            channels: channels.collect::<Result<_, _>>()?,
            destination_hosts: program.destination_hosts.clone(),
        })
    }

    /// A channel of this name.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<(&str, ChannelNumber)> {
        let found = self.channels.iter().find(|(channel, _)| **channel == *name);
        found.map(|(name, number)| (&**name, *number))
    }
}

fn fallback(program: &Program) -> Option<HeaderValue> {
    let address = &program.fallback;
    let fits = !address.is_empty() && destination::check(address, &program.destination_hosts).is_ok();
    if fits { HeaderValue::from_str(address).ok() } else { None }
}

/// A program's place: its links hold the place, so that a change of the program reaches all of them at
/// once.
#[derive(Debug)]
pub struct ProgramPlace(ArcSwap<ProgramRules>);

impl ProgramPlace {
    pub(super) fn new(rules: ProgramRules) -> ProgramPlace {
        ProgramPlace(ArcSwap::from_pointee(rules))
    }

    pub(super) fn put(&self, rules: ProgramRules) {
        self.0.store(Arc::new(rules));
    }

    /// The rules as they are now.
    #[must_use]
    pub fn rules(&self) -> Guard<Arc<ProgramRules>> {
        self.0.load()
    }
}
