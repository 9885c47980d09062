//! What the lines of a list stand for. Pure.

use whence_schemas::event::Verdict;

use crate::verdict::{Judgement, Reason};

/// Parts of names that programs have and apps do not.
const FETCHERS: [&str; 14] = [
    "bot", "preview", "fetch", "proxy", "crawl", "spider", "scrap", "unfurl", "external", "link", "image",
    "service", "http", "parser",
];

/// What a pattern says of an agent that has it.
#[derive(Clone, Copy, Debug)]
pub enum Tag {
    /// A program.
    Program {
        /// Which kind of program.
        judgement: Judgement,
        /// Whether an app that people use has this name too.
        is_app: bool,
    },
    /// A word by which programs say what they are.
    SelfDeclared,
    /// A word for what a program does, or an app.
    Role,
    /// The engine of a browser, which drives programs too.
    Engine,
    /// A desktop's system, which programs run on too.
    Platform,
    /// A browser's own name.
    Browser,
    /// A telephone, television set or the like, or an app on one.
    Device,
    /// An app that names no device.
    App,
}

impl Tag {
    /// The tag of a line of a list.
    #[must_use]
    pub fn of(tag: &str, pattern: &str) -> Tag {
        let reason = match tag {
            "self-declared" => return Tag::SelfDeclared,
            "role" => return Tag::Role,
            "engine" => return Tag::Engine,
            "platform" => return Tag::Platform,
            "browser" => return Tag::Browser,
            "device" => return Tag::Device,
            "app" => return Tag::App,
            "social-preview" => {
                return Tag::Program {
                    judgement: (Verdict::Preview, Reason::PreviewAgent),
                    is_app: is_app(pattern),
                };
            }
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
        Tag::Program { judgement: (Verdict::Bot, reason), is_app: false }
    }

    /// Whether it names a kind of program.
    #[must_use]
    pub fn is_of_a_list(self) -> bool {
        matches!(self, Tag::Program { .. })
    }

    /// Whether agents of people have it.
    #[must_use]
    pub fn is_of_people(self) -> bool {
        matches!(self, Tag::Engine | Tag::Platform | Tag::Browser | Tag::Device | Tag::App)
    }
}

/// Whether a messenger's or reader's pattern is the app's bare name: nothing in it tells the program that fetches for
/// it from the browser that people have in it.
fn is_app(pattern: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    !FETCHERS.iter().any(|word| pattern.contains(word))
}
