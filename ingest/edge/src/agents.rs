//! What user agents are: programs of many kinds, browsers, or apps. Pure.
//!
//! Nearly all patterns of the list are words, and one Aho-Corasick automaton finds them in one walk over the agent
//! whatever it says. The few real regular expressions form a set, searched in time that is linear in the agent, too.
//! Results are cached (see [`AgentCache`](super::agent_cache::AgentCache)).
//!
//! | module | what it does |
//! |---|---|
//! | `shape` | parts of an agent, and which of them name a device |
//! | `word` | words, and where one ends |
//! | `tag` | what a line of a list stands for |
//! | `findings` | what was found, weighed |

mod findings;
mod shape;
mod tag;
#[cfg(test)]
mod tests;
mod word;

use std::collections::HashSet;

use aho_corasick::AhoCorasick;
use regex::bytes::{RegexSet, RegexSetBuilder};
use whence_schemas::event::Verdict;

use self::{
    findings::Findings,
    shape::{Blanked, compatible_with, has_mailbox, is_product},
    tag::Tag,
    word::{Edges, Word},
};
use super::verdict::{Judgement, Reason};

pub use self::shape::AGENT_BYTES_MAX;

const CRAWLERS: &str = include_str!("data/crawlers.tsv");
const ADDITIONS: &str = include_str!("data/additions.tsv");
/// The tag of a pattern that is taken out again.
const REMOVED: &str = "-";
/// Lines of a list: the one that comes with whence has 1,500.
const LINES_MAX: usize = 20_000;
/// Letters of a name that is a word of people's language as likely as a program's name.
const SHORT_MAX: usize = 6;
/// Bytes of the compiled set of regular expressions; ten times what the built-in list needs.
const SET_BYTES_MAX: usize = 20 << 20;

/// Why a list of agents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AgentListError {
    /// A line without a tab.
    #[error("line {0} of the agent list is not a tag, a tab and a word or regular expression")]
    Line(usize),
    /// Too long to be a list of agents.
    #[error("the agent list has more than {LINES_MAX} lines")]
    TooLong,
    /// A regular expression that is not valid, or too large.
    #[error("the agent list has a regular expression that cannot be used")]
    Regex(#[from] regex::Error),
    /// The plain patterns are too many or too large.
    #[error("the agent list has patterns that cannot be used")]
    Text(#[from] aho_corasick::BuildError),
}

/// A list of agents, ready to judge by.
#[derive(Debug)]
pub struct AgentList {
    words: AhoCorasick,
    word_entries: Vec<Entry>,
    regexes: RegexSet,
    regex_tags: Vec<Tag>,
}

/// What stands behind a plain pattern.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: Tag,
    edges: Edges,
    /// Whether so short a name says something only where a product's name stands.
    is_short: bool,
}

impl AgentList {
    /// The list that comes with whence: crawler-user-agents and a few of its own.
    #[must_use]
    pub fn built_in() -> AgentList {
        AgentList::parse(CRAWLERS).expect("the built-in list is tested")
    }

    /// The list in `text` (lines of a tag, a tab and a pattern; `#` starts a comment line) together with whence's own
    /// additions, less the patterns that either takes out.
    ///
    /// # Errors
    /// See [`AgentListError`].
    pub fn parse(text: &str) -> Result<AgentList, AgentListError> {
        let mut entries = lines(text)?;
        entries.extend(lines(ADDITIONS)?);
        let removed: HashSet<&str> =
            entries.iter().filter(|(tag, _)| *tag == REMOVED).map(|(_, pattern)| *pattern).collect();
        entries.retain(|(_, pattern)| !removed.contains(pattern));

        let (mut words, mut word_entries) = (Vec::new(), Vec::new());
        let (mut regexes, mut regex_tags) = (Vec::new(), Vec::new());
        for (tag, pattern) in entries {
            let tag = Tag::of(tag, pattern);
            match Word::parse(pattern) {
                Some(Word { text, edges }) => {
                    let is_short = tag.is_of_a_list()
                        && text.len() <= SHORT_MAX
                        && text.bytes().all(|byte| byte.is_ascii_alphabetic());
                    words.push(text);
                    word_entries.push(Entry { tag, edges, is_short });
                }
                None => {
                    regexes.push(pattern);
                    regex_tags.push(tag);
                }
            }
        }
        Ok(AgentList {
            words: AhoCorasick::builder().ascii_case_insensitive(true).build(words)?,
            word_entries,
            regexes: RegexSetBuilder::new(regexes)
                .case_insensitive(true)
                .unicode(false)
                .size_limit(SET_BYTES_MAX)
                .build()?,
            regex_tags,
        })
    }

    /// What this agent is; only its first [`AGENT_BYTES_MAX`] bytes count.
    #[must_use]
    pub fn judge(&self, agent: &[u8]) -> Judgement {
        if agent.is_empty() {
            return (Verdict::Bot, Reason::NoAgent);
        }
        let blanked = Blanked::new(agent);
        let agent = blanked.bytes();
        let mut findings = Findings::default();
        let compatible = compatible_with(agent);
        // Of what an agent says that it is compatible with, browsers name a browser or a system.
        let mut is_compatible = compatible.is_none();
        for found in self.words.find_overlapping_iter(agent) {
            let Entry { tag, edges, is_short } = self.word_entries[found.pattern().as_usize()];
            if edges.are_met(agent, found.start(), found.end())
                && (!is_short || is_product(agent, found.range()))
            {
                findings.add(tag, found.start() == 0);
                is_compatible |= tag.is_of_people()
                    && compatible.as_ref().is_some_and(|part| part.contains(&found.start()));
            }
        }
        for index in self.regexes.matches(agent) {
            findings.add(self.regex_tags[index], true);
        }
        if !is_compatible || has_mailbox(agent) {
            findings.add_self_declared();
        }
        findings.judge(agent)
    }
}

fn lines(text: &str) -> Result<Vec<(&str, &str)>, AgentListError> {
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if index == LINES_MAX {
            return Err(AgentListError::TooLong);
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('\t') {
            Some((tag, pattern)) if !pattern.is_empty() => entries.push((tag, pattern)),
            _ => return Err(AgentListError::Line(index + 1)),
        }
    }
    Ok(entries)
}
