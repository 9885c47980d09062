//! What was found in an agent, and what it comes to. Pure.

use whence_schemas::event::Verdict;

use super::{shape::claims_browser, tag::Tag};
use crate::verdict::{Judgement, Reason};

/// What an agent's parts say, before they are weighed against each other.
#[derive(Default)]
pub struct Findings {
    /// Of a list.
    listed: Option<Judgement>,
    /// The name of an app that people use too.
    app: Option<Judgement>,
    /// Whether a word or an address says that this is a program.
    is_self_declared: bool,
    /// Whether a word says what the program does, or the app.
    has_role: bool,
    has_engine: bool,
    has_platform: bool,
    has_browser: bool,
    has_device: bool,
    has_app: bool,
}

impl Findings {
    /// Adds that a pattern with this tag was found; `is_leading`: at the start of the agent.
    pub fn add(&mut self, tag: Tag, is_leading: bool) {
        match tag {
            Tag::Program { judgement, is_app: true } if !is_leading => keep(&mut self.app, judgement),
            Tag::Program { judgement, .. } => keep(&mut self.listed, judgement),
            Tag::SelfDeclared => self.is_self_declared = true,
            Tag::Role => self.has_role = true,
            Tag::Engine => self.has_engine = true,
            Tag::Platform => self.has_platform = true,
            Tag::Browser => self.has_browser = true,
            Tag::Device => self.has_device = true,
            Tag::App => self.has_app = true,
        }
    }

    /// Adds that the agent itself says that it is a program.
    pub fn add_self_declared(&mut self) {
        self.is_self_declared = true;
    }

    /// Weighs them.
    #[must_use]
    pub fn judge(self, agent: &[u8]) -> Judgement {
        let claims_browser = claims_browser(agent);
        let has_system = self.has_platform || self.has_device;
        let is_browser = has_system && (self.has_engine || self.has_browser || claims_browser)
            || self.has_browser && (self.has_engine || !claims_browser && agent.contains(&b'/'));
        let is_self_declared = self.is_self_declared || self.has_role && !self.has_device;
        let is_program = is_self_declared || self.listed.is_some();
        // An app's name in a browser's agent is the browser of that app.
        let app = self.app.filter(|_| is_program || !(is_browser && self.has_engine));
        let mut listed = self.listed;
        if let Some(app) = app {
            keep(&mut listed, app);
        }
        if let Some(judgement) = listed {
            judgement
        } else if is_self_declared {
            (Verdict::Bot, Reason::SelfDeclared)
        } else if is_browser {
            (Verdict::Human, Reason::Browser)
        } else if self.has_device || self.has_app {
            (Verdict::Human, Reason::App)
        } else {
            (Verdict::Bot, Reason::NotABrowser)
        }
    }
}

/// The first counts, but a preview goes before all else: its fetcher often names others, to be let in where they are;
/// nobody names it.
fn keep(kept: &mut Option<Judgement>, next: Judgement) {
    let is_preview = |(verdict, _): Judgement| verdict == Verdict::Preview;
    if kept.is_none_or(|kept| !is_preview(kept) && is_preview(next)) {
        *kept = Some(next);
    }
}
