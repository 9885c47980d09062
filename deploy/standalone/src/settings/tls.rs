//! Settings of TLS at the edge, and of certificates by ACME.

use std::net::SocketAddr;
use std::path::PathBuf;

use whence_ingest::edge::SecureConfig;
use whence_ingest::edge::acme::{AcmeConfig, ChallengeKind, HOSTS_MAX, hosts_to_order};

use super::KafkaSettings;

whence_runtime::settings! {
    /// TLS
    pub struct TlsSettings {
        /// Address of the redirector for https; needs `tls-certificates` or `acme-directory`.
        pub edge_tls_listen: Option<SocketAddr>,
        /// Folder with certificates, read again when they change: `NAME.crt` or `NAME.pem` beside `NAME.key`, or
        /// `fullchain.pem` beside `privkey.pem`, also in subfolders; `default` is for names that have none.
        pub tls_certificates: Option<PathBuf>,
        /// Directory address of a certificate authority that certificates are ordered from by ACME.
        ///
        /// Such as `https://acme-v02.api.letsencrypt.org/directory`. For one edge process that its clients reach
        /// themselves.
        pub acme_directory: Option<String>,
        /// You agree to the terms of service of the certificate authority.
        pub acme_accept_terms: bool = "false",
        /// Where the certificate authority writes to, such as `mailto:ops@shop.example`.
        pub acme_contact: Vec<String>,
        /// Hosts that certificates are ordered for; none: those that programs list as `link_hosts`.
        pub acme_hosts: Vec<String>,
        /// How hosts are proved: at port 80 of the host (`edge-listen`) or at 443 (`edge-tls-listen`).
        pub acme_challenge: ChallengeKind = "http-01",
        /// Root certificate, PEM, by which the certificate authority's own server is verified; by default the machine's
        /// trust store.
        pub acme_root_file: Option<PathBuf>,
    }
}

impl TlsSettings {
    /// How certificates are ordered, if they are; what is kept goes to `dir`.
    pub fn acme(&self, dir: PathBuf) -> Option<AcmeConfig> {
        let directory = self.acme_directory.clone()?;
        Some(AcmeConfig {
            directory,
            contact: self.acme_contact.clone(),
            hosts: self.acme_hosts.clone(),
            challenge: self.acme_challenge,
            root_path: self.acme_root_file.clone(),
            dir,
        })
    }

    /// The edge's own form.
    pub fn secure(
        &self,
        certificates: std::sync::Arc<whence_ingest::edge::tls::CertificateStore>,
    ) -> Option<SecureConfig> {
        self.edge_tls_listen.map(|listen| SecureConfig { listen, certificates })
    }

    /// What is wrong with them.
    pub fn mistakes(&self, kafka: &KafkaSettings) -> Vec<String> {
        let has_certificates = self.tls_certificates.is_some() || self.acme_directory.is_some();
        let mut mistakes = Vec::new();
        if self.edge_tls_listen.is_some() && !has_certificates {
            mistakes.push(
                "edge-tls-listen needs certificates: set tls-certificates or acme-directory".to_owned(),
            );
        }
        if self.edge_tls_listen.is_none() && has_certificates {
            mistakes.push(
                "tls-certificates and acme-directory are for edge-tls-listen: set that, too, or neither"
                    .to_owned(),
            );
        }
        let Some(directory) = &self.acme_directory else { return mistakes };
        if !directory.starts_with("https://") {
            mistakes.push("acme-directory must be an address with https://".to_owned());
        }
        if !self.acme_accept_terms {
            mistakes.push(
                "acme-accept-terms must be set for acme-directory: read the certificate authority's terms of service"
                    .to_owned(),
            );
        }
        if !kafka.kafka_brokers.is_empty() {
            mistakes.push(
                "acme-directory is for one edge process and cannot be used with kafka-brokers, where several answer \
                 for one host: give certificates as files with tls-certificates"
                    .to_owned(),
            );
        }
        let (hosts, beyond) = hosts_to_order(&self.acme_hosts, Vec::new);
        if hosts.len() + beyond < self.acme_hosts.iter().collect::<std::collections::BTreeSet<_>>().len() {
            mistakes.push(
                "acme-hosts must be public names in lower case, without ports, such as go.shop.example"
                    .to_owned(),
            );
        }
        if beyond > 0 {
            mistakes.push(format!("acme-hosts may have {HOSTS_MAX} hosts"));
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_runtime::settings::{self, Catalogue, Environment};

    whence_runtime::compose! {
        /// Both.
        pub struct Both {
            pub tls: TlsSettings,
            pub kafka: KafkaSettings,
        }
    }

    fn mistakes(flags: &[&str]) -> Vec<String> {
        let command = settings::command::<Both>(clap::Command::new("test"));
        let flags = command.try_get_matches_from([&["test"], flags].concat()).unwrap();
        let catalogue = Catalogue::default().with::<Both>();
        let both = settings::load::<Both>(&flags, &Environment::default(), &catalogue).unwrap().settings;
        both.tls.mistakes(&both.kafka)
    }

    const LISTEN: &str = "--edge-tls-listen=127.0.0.1:0";
    const ACME: &str = "--acme-directory=https://ca.example/dir";
    const TERMS: &str = "--acme-accept-terms=true";

    #[test]
    fn what_does_not_fit_together_is_said() {
        assert_eq!(mistakes(&[]), [""; 0]);
        assert_eq!(mistakes(&[LISTEN, "--tls-certificates=/c"]), [""; 0]);
        assert_eq!(mistakes(&[LISTEN, ACME, TERMS, "--acme-hosts=go.shop.example"]), [""; 0]);
        for (flags, start) in [
            (&[LISTEN] as &[&str], "edge-tls-listen needs certificates"),
            (&["--tls-certificates=/c"], "tls-certificates and acme-directory are for"),
            (&[LISTEN, "--acme-directory=http://ca.example", TERMS], "acme-directory must be an address"),
            (&[LISTEN, ACME], "acme-accept-terms must be set"),
            (&[LISTEN, ACME, TERMS, "--kafka-brokers=b:9092"], "acme-directory is for one edge process"),
            (&[LISTEN, ACME, TERMS, "--acme-hosts=127.0.0.1"], "acme-hosts must be public names"),
            (&[LISTEN, ACME, TERMS, "--acme-hosts=Go.example"], "acme-hosts must be public names"),
        ] {
            let mistakes = mistakes(flags);
            assert!(mistakes.len() == 1 && mistakes[0].starts_with(start), "{flags:?}: {mistakes:?}");
        }
    }
}
