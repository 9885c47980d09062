//! Probes: what browsers, crawlers and scanners ask every host for, whatever it is. Pure.
//!
//! Nobody was given a link to such a path, so it is no click on an unknown one.

/// Ends of files that websites have. Codes may have dots, and few end like this.
const FILES: [&str; 38] = [
    "7z",
    "asp",
    "aspx",
    "avif",
    "bak",
    "cfg",
    "cgi",
    "conf",
    "css",
    "env",
    "gif",
    "gz",
    "htm",
    "html",
    "ico",
    "ini",
    "jpeg",
    "jpg",
    "js",
    "json",
    "jsp",
    "log",
    "map",
    "php",
    "png",
    "rar",
    "sql",
    "svg",
    "tar",
    "tgz",
    "txt",
    "webmanifest",
    "webp",
    "woff",
    "woff2",
    "xml",
    "yml",
    "zip",
];
/// Paths that are asked for without such an end.
const NAMES: [&str; 15] = [
    "_ignition",
    "_next",
    "_profiler",
    "actuator",
    "apple-app-site-association",
    "autodiscover",
    "cgi-bin",
    "phpmyadmin",
    "server-status",
    "solr",
    "vendor",
    "wp-admin",
    "wp-content",
    "wp-includes",
    "wp-json",
];

/// Whether `path`, which is no link's, is asked of any host: a hidden file (`/.well-known/…`, `/.env`), a website's file
/// (`/apple-touch-icon.png`, `/sitemap.xml`, `/whence.js`), an application's place.
#[must_use]
pub fn is_probe(path: &str) -> bool {
    let path = path.trim_matches('/');
    let (first, last) = match (path.split_once('/'), path.rsplit_once('/')) {
        (Some((first, _)), Some((_, last))) => (first, last),
        _ => (path, path),
    };
    let is_one_of = |words: &[&str], word: &str| words.iter().any(|known| word.eq_ignore_ascii_case(known));
    first.starts_with('.')
        || is_one_of(&NAMES, first)
        || last.rsplit_once('.').is_some_and(|(name, end)| !name.is_empty() && is_one_of(&FILES, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_every_host_is_a_probe() {
        for path in [
            "/favicon.ico",
            "/favicon-32x32.png",
            "/apple-touch-icon.png",
            "/apple-touch-icon-precomposed.png",
            "/apple-touch-icon-120x120.png",
            "/Apple-Touch-Icon.PNG",
            "/.well-known/assetlinks.json",
            "/.well-known/traffic-advice",
            "/.well-known",
            "/apple-app-site-association",
            "/whence.js",
            "/sw.js",
            "/site.webmanifest",
            "/sitemap.xml",
            "/ads.txt",
            "/llms.txt",
            "/.env",
            "/.git/config",
            "/wp-login.php",
            "/blog/wp-login.php",
            "/wp-admin/",
            "/index.html",
            "/backup.tar.gz",
        ] {
            assert!(is_probe(path), "{path}");
        }
    }

    #[test]
    fn what_may_be_a_code_is_none() {
        for path in [
            "/",
            "/abc",
            "/abc/",
            "/john.doe",
            "/summer.sale",
            "/hi.",
            "/a~b",
            "/js",
            "/code.qr",
            "/v1.2",
            "/php",
        ] {
            assert!(!is_probe(path), "{path}");
        }
    }
}
