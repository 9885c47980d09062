//! Which TXT record proves a host: `_whence.HOST`, `whence-verify=TOKEN`. The token is a keyed hash of program and host,
//! so it is stored nowhere, and another program's record proves nothing. Pure.
//!
//! A name of its own below the host (as for ACME's DNS-01, RFC 8555 section 8.4) leaves the host's other records alone,
//! and can be delegated with a CNAME.

use std::net::Ipv4Addr;
use subtle::ConstantTimeEq;
use whence_schemas::{
    ids::{LinkHost, ProgramId},
    subject::IdentityHasher,
};

const LABEL: &str = "_whence.";
const PREFIX: &str = "whence-verify=";
/// Bytes of a name and of each of its labels (RFC 1035).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// A record that is to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Its name, without a dot at the end.
    pub name: String,
    /// Its text.
    pub value: String,
}

impl Proof {
    /// The record for this program and host, or `None` for a host that has no DNS of its own: an IP address, or
    /// a name that DNS can't have. A port is part of the host and of the token, not of the name.
    #[must_use]
    pub fn of(hasher: &IdentityHasher, program: &ProgramId, host: &LinkHost) -> Option<Proof> {
        let name = match host.as_str().split_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            Some(_) => return None,
            None => host.as_str(),
        };
        let is_label = |label: &str| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        let is_name = name.len() + LABEL.len() <= NAME_BYTES_MAX
            && name.contains('.')
            && name.split('.').all(is_label)
            && name.parse::<Ipv4Addr>().is_err();
        is_name.then(|| Proof {
            name: format!("{LABEL}{name}"),
            value: format!("{PREFIX}{}", hasher.host_proof(program, host)),
        })
    }

    /// Whether one of these texts is the record's.
    #[must_use]
    pub fn is_among(&self, texts: &[Vec<u8>]) -> bool {
        texts.iter().any(|text| text.trim_ascii().ct_eq(self.value.as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(program: &str, host: &str) -> Option<Proof> {
        Proof::of(&IdentityHasher::new(&[1; 32]), &program.parse().unwrap(), &host.parse().unwrap())
    }

    #[test]
    fn each_program_and_host_has_a_record_of_its_own() {
        let own = proof("demo", "go.example").unwrap();
        assert_eq!(own.name, "_whence.go.example");
        assert_eq!(own, proof("demo", "go.example").unwrap(), "it is stored nowhere");
        for (program, host) in [("other", "go.example"), ("demo", "go2.example"), ("demo", "go.example:8443")]
        {
            assert_ne!(own.value, proof(program, host).unwrap().value, "{program} {host}");
        }
        assert_eq!(proof("demo", "go.example:8443").unwrap().name, own.name);
        let other_secret = IdentityHasher::new(&[2; 32]);
        let other = Proof::of(&other_secret, &"demo".parse().unwrap(), &"go.example".parse().unwrap());
        assert_ne!(own.value, other.unwrap().value);
        let texts = |text: &str| vec![b"v=spf1 -all".to_vec(), text.as_bytes().to_vec()];
        assert!(own.is_among(&texts(&own.value)));
        for wrong in ["", "whence-verify=", &own.value[..40], &format!("{}0", own.value)] {
            assert!(!own.is_among(&texts(wrong)), "{wrong}");
        }
    }

    #[test]
    fn what_has_no_dns_has_no_record() {
        let long = format!("{}.example", "a".repeat(64));
        for host in [
            "203.0.113.9",
            "203.0.113.9:80",
            "[2001:db8::1]",
            "[::1]:8080",
            "localhost",
            "a..example",
            ".example",
            "go.example:",
            "go.example:1:2",
            &long,
        ] {
            assert_eq!(proof("demo", host), None, "{host}");
        }
    }
}
