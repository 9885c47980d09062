//! The headers by which a request shows what it is. Real agents, of which there is no doubt: the point
//! is to count, not to argue.

use super::Random;
use crate::ledger::Class;
use rand::RngExt as _;

/// How a request looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// Header `user-agent`.
    pub agent: &'static str,
    /// A header more, for those who fetch ahead.
    pub header: Option<(&'static str, &'static str)>,
    /// HEAD instead of GET.
    pub is_head: bool,
}

const PEOPLE: [&str; 8] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
    "Mozilla/5.0 (Linux; Android 14; SM-S928B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
];

const BOTS: [&str; 8] = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "python-requests/2.32.3",
    "curl/8.5.0",
];

const PREVIEWS: [&str; 7] = [
    "WhatsApp/2.23.20.0",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Twitterbot/1.0",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "TelegramBot (like TwitterBot)",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
];

const AHEAD: [(&str, &str); 4] = [
    ("sec-purpose", "prefetch"),
    ("sec-purpose", "prefetch;prerender"),
    ("purpose", "prefetch"),
    ("x-moz", "prefetch"),
];

/// The looks of a request of this class; those of inactive codes look like people.
pub fn looks(class: Class, random: &mut Random) -> Looks {
    let mut one_of = |agents: &[&'static str]| agents[random.random_range(0..agents.len())];
    let plain = |agent| Looks { agent, header: None, is_head: false };
    match class {
        Class::Human | Class::Inactive => plain(one_of(&PEOPLE)),
        Class::Bot => plain(one_of(&BOTS)),
        Class::Preview => plain(one_of(&PREVIEWS)),
        Class::Head => Looks { is_head: true, ..plain(one_of(&PEOPLE)) },
        Class::Prefetch => {
            let agent = one_of(&PEOPLE);
            Looks { header: Some(AHEAD[random.random_range(0..AHEAD.len())]), ..plain(agent) }
        }
    }
}
