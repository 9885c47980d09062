//! Mailboxes that are thrown away after use, told by their domain. Asked while an address is still known: after
//! that only its hash goes on.

use std::{collections::HashSet, io, path::Path};
use whence_schemas::subject::mail_domain;

const BUILT_IN: &str = include_str!("data/disposable_domains.txt");

/// The domains of disposable mailboxes.
pub struct DisposableDomains(HashSet<Box<str>>);

impl DisposableDomains {
    /// The built-in list, changed by an operator's own: one domain a line, `!` before one that is not
    /// disposable, `#` before a comment.
    #[must_use]
    pub fn new(own: &str) -> DisposableDomains {
        let mut domains: HashSet<Box<str>> = lines(BUILT_IN).map(Box::from).collect();
        for line in lines(own) {
            match line.strip_prefix('!') {
                Some(kept) => _ = domains.remove(mail_domain(kept.trim()).as_str()),
                None => _ = domains.insert(mail_domain(line).into()),
            }
        }
        DisposableDomains(domains)
    }

    /// The same with the operator's list from this file.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn read(own: Option<&Path>) -> io::Result<DisposableDomains> {
        let text = own.map_or_else(|| Ok(String::new()), std::fs::read_to_string)?;
        Ok(DisposableDomains::new(&text))
    }

    /// Whether the domain of this address, or one that it is under, is listed. Addresses are normalised: see
    /// [`whence_schemas::subject::normalise`].
    #[must_use]
    pub fn has(&self, email: &str) -> bool {
        let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain);
        let domains = std::iter::successors(Some(domain), |domain| Some(domain.split_once('.')?.1));
        domains.into_iter().any(|domain| self.0.contains(domain))
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_schemas::subject::{AliasKind, normalise};

    #[test]
    fn a_listed_domain_and_what_is_under_it_are_disposable() {
        let built_in = DisposableDomains::new("");
        for email in ["a@mailinator.com", "a@b@mailinator.com", "a@eu.mx.mailinator.com"] {
            assert!(built_in.has(email), "{email}");
        }
        for email in
            ["a@gmail.com", "mailinator.com", "a@mailinator.com.example", "a@our-shop-mailinator.com", ""]
        {
            assert!(!built_in.has(email), "{email}");
        }
    }

    #[test]
    fn an_operators_list_adds_and_takes_away() {
        let own = DisposableDomains::new("# ours\nThrow.Example\nmünchen.example\n\n !Mailinator.com \r\n");
        assert!(own.has("a@throw.example") && own.has("a@x.throw.example"));
        assert!(own.has(&normalise(AliasKind::Email, "a@MU\u{308}NCHEN.example").unwrap()));
        assert!(!own.has("a@mailinator.com"));
        assert!(own.has("a@guerrillamail.com"), "the rest of the built-in list");
    }

    #[test]
    fn the_built_in_list_is_of_plain_domains_in_lower_case() {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        let is_domain = |line: &&str| line.contains('.') && line.bytes().all(fits);
        assert!(lines(BUILT_IN).all(|line| is_domain(&line)));
        assert!(lines(BUILT_IN).count() > 10_000);
    }
}
