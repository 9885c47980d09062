//! What went wrong with a connection, found in an error's causes, in words that say what to do.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, PeerIncompatible};

/// How the settings are called that the words name.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Certificates of authorities.
    pub authorities: &'static str,
    /// The client's own certificate and key; `None` where none can be given.
    pub identity: Option<&'static str>,
}

/// Why there was no connection, or none that could be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// A fixed word, for a metric's label.
    pub word: &'static str,
    /// What happened and what to do.
    pub text: String,
    /// Whether only other settings fix it.
    pub is_final: bool,
}

impl Cause {
    fn passing(word: &'static str, text: impl Into<String>) -> Self {
        Self { word, text: text.into(), is_final: false }
    }

    fn lasting(word: &'static str, text: impl Into<String>) -> Self {
        Self { word, text: text.into(), is_final: true }
    }
}

/// The cause of an error of a connection; `None` where nothing in it is of one.
pub fn cause(error: &(dyn Error + 'static), names: Names) -> Option<Cause> {
    let mut next = Some(error);
    let mut of_io = None;
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<rustls::Error>() {
            return Some(of_tls(found, names));
        }
        next = current.source();
        if let Some(error) = current.downcast_ref::<io::Error>() {
            // What an io::Error holds is not among its causes, but itself has them.
            next = error.get_ref().map(|inner| inner as &(dyn Error + 'static)).or(next);
            of_io = Some(of_io_error(error));
        }
    }
    of_io
}

fn of_io_error(error: &io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Cause::passing(
            "refused",
            "nobody listens there (connection refused): check host and port, and that it runs",
        ),
        io::ErrorKind::TimedOut => Cause::passing(
            "timeout",
            "it does not answer in time: check host, port and firewalls, and that it runs",
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Cause::passing("unreachable", "no network leads there: check host, routes and firewalls")
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            Cause::passing(
                "broken",
                "it has closed the connection: check that it runs, and that http:// or https:// is what its port expects",
            )
        }
        _ if error.to_string().contains("lookup") => {
            Cause::passing("name", format!("its name is not found ({error}): check the host"))
        }
        _ => Cause::passing("broken", format!("the connection failed ({error})")),
    }
}

fn of_tls(error: &rustls::Error, names: Names) -> Cause {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(error) => of_certificate(error, names),
        Tls::AlertReceived(alert) => of_alert(*alert, names),
        Tls::InvalidMessage(_) | Tls::InappropriateMessage { .. } => {
            Cause::lasting("tls", "it speaks no TLS at this port: use http://, or its port for https")
        }
        Tls::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            Cause::lasting("tls", "it speaks a version of TLS before 1.2: bring it up to date")
        }
        other => Cause::passing("tls", format!("the TLS handshake failed ({other})")),
    }
}

fn of_certificate(error: &CertificateError, names: Names) -> Cause {
    use CertificateError as Of;
    match error {
        Of::UnknownIssuer | Of::BadSignature => Cause::lasting(
            "tls",
            format!(
                "its certificate is signed by nobody that is trusted here (unknown issuer): give the certificate \
                 of its authority with {}",
                names.authorities
            ),
        ),
        Of::Expired | Of::ExpiredContext { .. } => {
            Cause::passing("tls", "its certificate has expired: renew it there, or set this machine's clock")
        }
        Of::NotValidYet | Of::NotValidYetContext { .. } => {
            Cause::passing("tls", "its certificate is not valid yet: set the clocks of both machines")
        }
        Of::NotValidForNameContext { expected, presented } => Cause::lasting(
            "tls",
            format!(
                "its certificate is not for {} but for {}: call it by that name, or give it a certificate with this one",
                expected.to_str(),
                match presented.is_empty() {
                    true => "no name".to_owned(),
                    false => presented.join(", "),
                }
            ),
        ),
        Of::NotValidForName => {
            Cause::lasting("tls", "its certificate is for another name: call it by the name in it")
        }
        Of::Revoked => Cause::lasting("tls", "its certificate is revoked: give it another one"),
        other => Cause::lasting("tls", format!("its certificate is not accepted ({other})")),
    }
}

fn of_alert(alert: AlertDescription, names: Names) -> Cause {
    use AlertDescription as Of;
    match (alert, names.identity) {
        (Of::CertificateRequired | Of::HandshakeFailure, Some(setting)) => Cause::lasting(
            "tls",
            format!("it requires a client certificate ({alert:?}): set one that it accepts with {setting}"),
        ),
        (
            Of::UnknownCA
            | Of::BadCertificate
            | Of::CertificateExpired
            | Of::CertificateUnknown
            | Of::CertificateRevoked
            | Of::UnsupportedCertificate
            | Of::DecryptError
            | Of::AccessDenied,
            Some(setting),
        ) => Cause::lasting(
            "tls",
            format!(
                "it does not accept the client certificate of {setting} ({alert:?}): give one that it trusts"
            ),
        ),
        (Of::ProtocolVersion, _) => {
            Cause::lasting("tls", "it speaks a version of TLS before 1.2: bring it up to date")
        }
        (Of::UnrecognisedName, _) => {
            Cause::lasting("tls", "it knows no host of this name (unrecognised name): check the host")
        }
        _ => Cause::passing("tls", format!("it ended the TLS handshake ({alert:?})")),
    }
}
