//! What user agents are: programs of many kinds, or browsers. Pure.
//!
//! Nearly all patterns of the list are plain text, and one Aho-Corasick automaton finds them in one walk
//! over the agent whatever it says. The few real regular expressions form a set, whose cost depends on the
//! agent: results are cached (see [`AgentCache`](super::agent_cache::AgentCache)).

use aho_corasick::AhoCorasick;
use regex::bytes::{RegexSet, RegexSetBuilder};
use whence_schemas::event::Verdict;

use super::verdict::{Judgement, Reason};

/// Bytes of an agent that are looked at. Real ones have 100 to 400.
pub const AGENT_BYTES_MAX: usize = 512;

const CRAWLERS: &str = include_str!("data/crawlers.tsv");
const ADDITIONS: &str = include_str!("data/additions.tsv");
/// The tag of a pattern that is taken out again.
const REMOVED: &str = "-";
/// Lines of a list: the one that comes with whence has 1,500.
const LINES_MAX: usize = 20_000;
/// Bytes of the compiled set of regular expressions; ten times what the built-in list needs.
const SET_BYTES_MAX: usize = 20 << 20;

/// Why a list of agents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AgentListError {
    /// A line without a tab.
    #[error("line {0} of the agent list is not a tag, a tab and a regular expression")]
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
    texts: AhoCorasick,
    text_judgements: Vec<Judgement>,
    regexes: RegexSet,
    regex_judgements: Vec<Judgement>,
}

impl AgentList {
    /// The list that comes with whence: crawler-user-agents and a few of its own.
    #[must_use]
    pub fn built_in() -> AgentList {
        AgentList::parse(CRAWLERS).expect("the built-in list is tested")
    }

    /// The list in `text` (lines of a tag, a tab and a regular expression; `#` starts a comment line)
    /// together with whence's own additions.
    ///
    /// # Errors
    /// See [`AgentListError`].
    pub fn parse(text: &str) -> Result<AgentList, AgentListError> {
        let mut entries = lines(text)?;
        let additions = lines(ADDITIONS)?;
        entries.retain(|(_, pattern)| !additions.contains(&(REMOVED, *pattern)));
        entries.extend(additions.into_iter().filter(|(tag, _)| *tag != REMOVED));

        let (mut texts, mut text_judgements) = (Vec::new(), Vec::new());
        let (mut regexes, mut regex_judgements) = (Vec::new(), Vec::new());
        for (tag, pattern) in entries {
            match plain_text(pattern) {
                Some(text) => {
                    texts.push(text);
                    text_judgements.push(judgement(tag));
                }
                None => {
                    regexes.push(pattern);
                    regex_judgements.push(judgement(tag));
                }
            }
        }
        Ok(AgentList {
            texts: AhoCorasick::new(texts)?,
            text_judgements,
            regexes: RegexSetBuilder::new(regexes).size_limit(SET_BYTES_MAX).build()?,
            regex_judgements,
        })
    }

    /// What this agent is; only its first [`AGENT_BYTES_MAX`] bytes count.
    #[must_use]
    pub fn judge(&self, agent: &[u8]) -> Judgement {
        let agent = &agent[..agent.len().min(AGENT_BYTES_MAX)];
        if agent.is_empty() {
            return (Verdict::Bot, Reason::NoAgent);
        }
        let texts = self.texts.find_overlapping_iter(agent);
        let texts = texts.map(|found| self.text_judgements[found.pattern().as_usize()]);
        let regexes = self.regexes.matches(agent).into_iter().map(|index| self.regex_judgements[index]);
        // A preview fetcher often names others, to be let in where they are; nobody names it.
        let is_preview = |(verdict, _): &Judgement| *verdict == Verdict::Preview;
        let listed = texts
            .chain(regexes)
            .reduce(|first, next| if !is_preview(&first) && is_preview(&next) { next } else { first });
        listed.unwrap_or_else(|| unlisted(agent))
    }
}

/// An agent that no list has.
fn unlisted(agent: &[u8]) -> Judgement {
    let agent = agent.to_ascii_lowercase();
    let has = |word: &str| agent.windows(word.len()).any(|part| part == word.as_bytes());
    // "Cubot" makes telephones.
    let is_bot = (has("bot/") || has("bot;") || has("bot)")) && !has("cubot");
    if is_bot || has("crawler") || has("spider") || has("+http") || has("headless") {
        return (Verdict::Bot, Reason::SelfDeclared);
    }
    // Every browser since the nineties, except for a few of old telephones, says Mozilla.
    let is_browser = ["mozilla/", "opera/", "ucweb", "blackberry", "nokia"];
    if is_browser.iter().any(|start| agent.starts_with(start.as_bytes())) {
        (Verdict::Human, Reason::Browser)
    } else {
        (Verdict::Bot, Reason::NotABrowser)
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

fn judgement(tag: &str) -> Judgement {
    let reason = match tag {
        "social-preview" => return (Verdict::Preview, Reason::PreviewAgent),
        "search-engine" => Reason::SearchEngine,
        "advertising" => Reason::Advertising,
        "feed-reader" => Reason::FeedReader,
        "http-library" => Reason::HttpLibrary,
        "archiver" => Reason::Archiver,
        "seo" => Reason::Seo,
        "monitoring" => Reason::Monitoring,
        "scanner" => Reason::Scanner,
        "ai-crawler" => Reason::AiCrawler,
        "academic" => Reason::Academic,
        "browser-automation" => Reason::BrowserAutomation,
        _ => Reason::ListedAgent,
    };
    (Verdict::Bot, reason)
}

/// The text that a regular expression stands for, if it is nothing but text.
fn plain_text(pattern: &str) -> Option<String> {
    let mut text = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            // `\d`, `\b` and the like mean something; a punctuation mark behind `\` means itself.
            '\\' => text.push(chars.next().filter(char::is_ascii_punctuation)?),
            '^' | '$' | '.' | '|' | '?' | '*' | '+' | '(' | ')' | '[' | ']' | '{' | '}' => return None,
            _ => text.push(c),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::agent_cache::AgentCache;
    use std::sync::{Arc, LazyLock};

    static LIST: LazyLock<Arc<AgentList>> = LazyLock::new(|| Arc::new(AgentList::built_in()));

    #[test]
    fn lists_that_cannot_be_used_are_named() {
        assert!(matches!(AgentList::parse("# comment\n\nno tab"), Err(AgentListError::Line(3))));
        assert!(matches!(AgentList::parse("seo\t"), Err(AgentListError::Line(1))));
        assert!(matches!(AgentList::parse("seo\t(a"), Err(AgentListError::Regex(_))));
        assert!(matches!(AgentList::parse("seo\t(a{1000}){1000}"), Err(AgentListError::Regex(_))));
        assert!(matches!(AgentList::parse(&"#\n".repeat(LINES_MAX + 1)), Err(AgentListError::TooLong)));
    }

    #[test]
    fn people_are_people_in_browsers_and_in_the_browsers_of_apps() {
        for agent in include_str!("data/browsers.txt").lines().filter(|line| !line.starts_with('#')) {
            assert_eq!(LIST.judge(agent.as_bytes()), (Verdict::Human, Reason::Browser), "{agent}");
        }
    }

    #[test]
    fn previews_are_previews() {
        for agent in include_str!("data/previews.txt").lines().filter(|line| !line.starts_with('#')) {
            assert_eq!(LIST.judge(agent.as_bytes()), (Verdict::Preview, Reason::PreviewAgent), "{agent}");
        }
    }

    #[test]
    fn bots_are_bots_of_their_kind() {
        for (agent, reason) in [
            ("", Reason::NoAgent),
            (
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                Reason::SearchEngine,
            ),
            ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", Reason::Seo),
            ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.1", Reason::AiCrawler),
            ("Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", Reason::Monitoring),
            (
                "Mozilla/5.0 (compatible; archive.org_bot +http://archive.org/details/archive.org_bot)",
                Reason::Archiver,
            ),
            ("Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)", Reason::SearchEngine),
            ("curl/8.5.0", Reason::HttpLibrary),
            ("python-requests/2.32.3", Reason::HttpLibrary),
            ("Go-http-client/1.1", Reason::HttpLibrary),
            ("okhttp/4.12.0", Reason::HttpLibrary),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/129.0.0.0 Safari/537.36",
                Reason::BrowserAutomation,
            ),
            ("Mozilla/4.0 (compatible; ms-office; MSOffice 16)", Reason::Scanner),
            ("Mozilla/5.0 (compatible; Whatnot/1.0; +https://whatnot.example)", Reason::SelfDeclared),
            ("Mozilla/5.0 (compatible; Unheardofbot/1.0)", Reason::SelfDeclared),
            ("Dalvik/2.1.0 (Linux; U; Android 14)", Reason::NotABrowser),
            ("MyApp/1.0 CFNetwork/1410.0.3 Darwin/22.6.0", Reason::NotABrowser),
            ("\u{fffd}", Reason::NotABrowser),
        ] {
            assert_eq!(LIST.judge(agent.as_bytes()), (Verdict::Bot, reason), "{agent}");
        }
    }

    #[test]
    fn an_operators_own_list_takes_the_place_of_the_built_in_one() {
        let list = AgentList::parse("house-list\tInternal Checker").unwrap();
        assert_eq!(list.judge(b"Mozilla/5.0 Internal Checker"), (Verdict::Bot, Reason::ListedAgent));
        assert_eq!(list.judge(b"Mozilla/5.0 UptimeRobot"), (Verdict::Human, Reason::Browser));
        assert_eq!(list.judge(b"Pinterestbot"), (Verdict::Preview, Reason::PreviewAgent), "additions stay");
    }

    #[test]
    fn escaped_punctuation_is_text_and_classes_are_not() {
        assert_eq!(plain_text(r"Mediapartners \(Googlebot\)").as_deref(), Some("Mediapartners (Googlebot)"));
        for regex in [r"BlogTraffic\/\d", "^curl", "[wW]get", "a.b", r"a\"] {
            assert_eq!(plain_text(regex), None, "{regex}");
        }
    }

    #[test]
    fn a_flood_of_agents_does_not_grow_the_cache() {
        let mut cache = AgentCache::new(Arc::clone(&LIST), 2);
        for number in 0..10 {
            assert_eq!(cache.judge(format!("curl/{number}").as_bytes()), (Verdict::Bot, Reason::HttpLibrary));
            assert!(cache.len() <= 2);
        }
        let long = [b"Mozilla/5.0 ".as_slice(), &[b'x'; 4096], b"curl"].concat();
        assert_eq!(cache.judge(&long), (Verdict::Human, Reason::Browser), "only the start is looked at");
    }
}
