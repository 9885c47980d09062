//! Where requests go.

use hyper::{Uri, header::HeaderValue};
use std::net::SocketAddr;

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not an address of the form `http://host:port`.
    #[error("{0:?} is not an http://host:port address")]
    Form(String),
    /// The name has no address.
    #[error("cannot find the address of {name:?}")]
    Resolve {
        /// Host and port.
        name: String,
        /// What the resolver said.
        source: std::io::Error,
    },
}

/// A server, by name and by address.
#[derive(Clone, Debug)]
pub struct Target {
    /// The first address of its name.
    pub address: SocketAddr,
    /// Host and port, as they stand in links.
    pub authority: String,
    /// The `host` header.
    pub host: HeaderValue,
}

impl Target {
    /// Reads and resolves `http://host:port`.
    pub async fn resolve(url: &str) -> Result<Target, TargetError> {
        let form = || TargetError::Form(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| form())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(form)?;
        let name = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        let resolve = |source| TargetError::Resolve { name: name.clone(), source };
        let address = tokio::net::lookup_host(&name)
            .await
            .map_err(resolve)?
            .next()
            .ok_or_else(|| resolve(std::io::ErrorKind::NotFound.into()))?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| form())?;
        Ok(Target { address, authority: authority.as_str().to_owned(), host })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_plain_addresses_are_taken() {
        for wrong in ["", "127.0.0.1:80", "https://127.0.0.1", "http://"] {
            assert!(matches!(Target::resolve(wrong).await, Err(TargetError::Form(_))), "{wrong}");
        }
        let target = Target::resolve("http://127.0.0.1:8080").await.unwrap();
        assert_eq!((target.address.port(), target.authority.as_str()), (8080, "127.0.0.1:8080"));
    }
}
