use super::*;
use crate::{agent_cache::AgentCache, verdict::Reason};
use std::sync::{Arc, LazyLock};
use whence_schemas::event::Verdict;

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
    for agent in include_str!("../data/browsers.txt").lines().filter(|line| !line.starts_with('#')) {
        assert_eq!(LIST.judge(agent.as_bytes()), (Verdict::Human, Reason::Browser), "{agent}");
    }
}

#[test]
fn apps_on_devices_are_people_without_a_browser() {
    for agent in [
        "[FBAN/FB4A;FBAV/567.1.0.52.74;FBBV/1003893689;FBDM/{density=3.0,width=1080,height=2340};FBLC/nl_NL;\
         FBCR/Axios;FBMF/samsung;FBPN/com.facebook.katana;FBDV/SM-S921B;FBSV/16;FBCA/arm64-v8a:;]",
        "Dalvik/2.1.0 (Linux; U; Android 14)",
        "MyApp/1.0 CFNetwork/1410.0.3 Darwin/22.6.0",
        "Hulu/6.8.1 (iOS 13.3; en_US; iPhone12,1; 17C54)",
        "Microsoft Office/16.0 (Windows NT 10.0; Microsoft PowerPoint 16.0.10325; Pro)",
        "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
    ] {
        assert_eq!(LIST.judge(agent.as_bytes()), (Verdict::Human, Reason::App), "{agent}");
    }
}

#[test]
fn no_word_of_the_list_counts_as_the_name_of_a_device_a_build_or_a_carrier() {
    for (_, pattern) in lines(CRAWLERS).unwrap().into_iter().chain(lines(ADDITIONS).unwrap()) {
        let Some(word) = Word::parse(pattern).map(|word| word.text) else { continue };
        let is_said =
            ["compatible", "http", "@", "bot/"].iter().any(|said| word.to_lowercase().contains(said));
        if is_said || word.contains(['(', ')', ';', '[', ']']) {
            continue;
        }
        for agent in [
            format!(
                "Mozilla/5.0 (Linux; Android 15; {word} Build/{word}; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Version/4.0 Chrome/141.0.7390.97 Mobile Safari/537.36"
            ),
            format!(
                "Mozilla/5.0 (Linux; U; Android 9; en-us; {word}) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/123.0.0.0 Mobile Safari/537.36"
            ),
            format!(
                "Mozilla/5.0 (Linux; Android 9; Pixel Build/P; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Version/4.0 Chrome/101.0.4951.61 Mobile Safari/537.36 [FB_IAB/FB4A;FBCR/{word};FBDV/{word};]"
            ),
            format!(
                "Mozilla/5.0 (Linux; Android 9; Pixel Build/P; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Version/4.0 Chrome/101.0.4951.61 Mobile Safari/537.36 Instagram 237.0.0.7.102 Android \
                 (28/9; 480dpi; 1080x2115; {word}; {word}; mt6771; it_IT; 372544735)"
            ),
        ] {
            assert_eq!(LIST.judge(agent.as_bytes()), (Verdict::Human, Reason::Browser), "{agent}");
        }
    }
}

#[test]
fn no_word_of_the_list_counts_inside_another_word() {
    let says_so =
        ["bot", "crawl", "spider", "scrap", "headless", "http", "www", "@", "screenshot", "thumbnail"];
    for (_, pattern) in lines(CRAWLERS).unwrap() {
        let Some(word) = Word::parse(pattern).map(|word| word.text) else { continue };
        let is_letters = word.bytes().all(|byte| byte.is_ascii_alphabetic());
        if !is_letters || says_so.iter().any(|said| word.to_lowercase().contains(said)) {
            continue;
        }
        let agent = format!(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Mobile/15E148 My{word}ish/2.0 Qu{word}/3.1.{word}s"
        );
        assert_eq!(LIST.judge(agent.as_bytes()).0, Verdict::Human, "{agent}");
    }
}

#[test]
fn an_apps_name_is_a_preview_alone_and_a_person_in_a_browser() {
    for name in ["Viber", "WhatsApp", "Mastodon", "Goodreads", "Tumblr", "Notion", "Bluesky"] {
        let alone = format!("{name}/23.2.0.1");
        assert_eq!(LIST.judge(alone.as_bytes()), (Verdict::Preview, Reason::PreviewAgent), "{alone}");
        for browser in [
            format!(
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) \
                 {name}/3.1.0 Chrome/124.0.0.0 Electron/30.0.0 Safari/537.36"
            ),
            format!(
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_4) AppleWebKit/537.36 (KHTML, like Gecko) \
                 QtWebEngine/5.6.0 Chrome/45.0.2454.101 Safari/537.36 {name}"
            ),
        ] {
            assert_eq!(LIST.judge(browser.as_bytes()), (Verdict::Human, Reason::Browser), "{browser}");
        }
    }
}

#[test]
fn programs_that_say_so_are_programs() {
    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                          Chrome/141.0.0.0 Safari/537.36";
    let with = |more: &str| format!("{CHROME} {more}");
    for agent in [
        "Mozilla/5.0 (compatible; ShopifyChecker/1.0)".to_owned(),
        "Mozilla/5.0 (compatible; Whatnot/1.0)".to_owned(),
        "Mozilla/5.0 (compatible; Crusader/1.0) Gecko/20100101 Firefox/140.0".to_owned(),
        "Mozilla/5.0 (compatible;)".to_owned(),
        with("(compatible; Whatnot/1.0)"),
        with("https://whatnot.example/about"),
        with("(http://whatnot.example)"),
        with("www.whatnot.example"),
        with("(contact: mailto:ops)"),
        with("ops@whatnot.example"),
        with("(ops[at]whatnot.example)"),
        with("LinkValidator/2.1"),
        with("ProxyChecker/2.0"),
        with("CybaaAgent"),
        with("UNHEARDOFBOT/1.0"),
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko; Whatnot) Chrome/109.0.0.0"
            .to_owned(),
        "Mozilla/5.0 (Linux; Android 15; compatible; Whatnot/1.0) AppleWebKit/537.36 Chrome/141.0.0.0"
            .to_owned(),
    ] {
        assert_eq!(LIST.judge(agent.as_bytes()), (Verdict::Bot, Reason::SelfDeclared), "{agent}");
    }
    for agent in [
        "Mozilla/5.0",
        "Mozilla/5.0 Keydrop",
        "Mozilla/5.0 (Exchange check)",
        "Mozilla/4.0 (Hydra)",
        "Chrome",
        "x",
    ] {
        assert_eq!(LIST.judge(agent.as_bytes()).0, Verdict::Bot, "{agent}");
    }
}

#[test]
fn case_makes_no_difference() {
    let files = [include_str!("../data/browsers.txt"), include_str!("../data/previews.txt")];
    for agent in files.iter().flat_map(|file| file.lines()).filter(|line| !line.starts_with('#')) {
        let (verdict, _) = LIST.judge(agent.as_bytes());
        assert_eq!(LIST.judge(agent.to_lowercase().as_bytes()).0, verdict, "{agent}");
        assert_eq!(LIST.judge(agent.to_uppercase().as_bytes()).0, verdict, "{agent}");
    }
}

#[test]
fn previews_are_previews() {
    for agent in include_str!("../data/previews.txt").lines().filter(|line| !line.starts_with('#')) {
        assert_eq!(LIST.judge(agent.as_bytes()), (Verdict::Preview, Reason::PreviewAgent), "{agent}");
    }
}

#[test]
fn bots_are_bots_of_their_kind() {
    for (agent, reason) in [
        ("", Reason::NoAgent),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Reason::SearchEngine),
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
        ("Mozilla/5.0 (compatible; Whatnot/1.0; +https://whatnot.example)", Reason::SelfDeclared),
        ("Mozilla/5.0 (compatible; Unheardofbot/1.0)", Reason::SelfDeclared),
        ("\u{fffd}", Reason::NotABrowser),
    ] {
        assert_eq!(LIST.judge(agent.as_bytes()), (Verdict::Bot, reason), "{agent}");
    }
}

#[test]
fn an_operators_own_list_takes_the_place_of_the_built_in_one() {
    let list = AgentList::parse("house-list\tInternal Checker").unwrap();
    assert_eq!(list.judge(b"Mozilla/5.0 (X11) Internal Checker"), (Verdict::Bot, Reason::ListedAgent));
    assert_eq!(list.judge(b"Mozilla/5.0 (X11) Xenon"), (Verdict::Human, Reason::Browser));
    assert_eq!(list.judge(b"Pinterestbot"), (Verdict::Preview, Reason::PreviewAgent), "additions stay");
    let list = AgentList::parse("-\t\\w*checker\n-\tPinterestbot\nself-declared\tPinter\\w*").unwrap();
    let checker = b"Mozilla/5.0 (X11; Linux) Firefox/1 Linkchecker/1.0";
    assert_eq!(list.judge(checker), (Verdict::Human, Reason::Browser), "or are taken out");
    assert_eq!(list.judge(b"Pinterestbot"), (Verdict::Bot, Reason::SelfDeclared));
}

#[test]
fn a_flood_of_agents_does_not_grow_the_cache() {
    let mut cache = AgentCache::new(Arc::clone(&LIST), 2);
    for number in 0..10 {
        assert_eq!(cache.judge(format!("curl/{number}").as_bytes()), (Verdict::Bot, Reason::HttpLibrary));
        assert!(cache.len() <= 2);
    }
    let long = [b"Mozilla/5.0 (X11) ".as_slice(), &[b'x'; 4096], b"curl"].concat();
    assert_eq!(cache.judge(&long), (Verdict::Human, Reason::Browser), "only the start is looked at");
}
