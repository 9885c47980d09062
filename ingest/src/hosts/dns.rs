//! Asks the DNS for TXT records: bounded in time and in what is taken of an answer, never with a search domain, and
//! never from a cache, so that a record counts as soon as it is there.

use futures_util::future::BoxFuture;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{Name, RData, RecordType},
};
use std::{net::SocketAddr, time::Duration};
use tokio::time::timeout;

/// For all of one question, whatever servers are tried.
const QUESTION_MAX: Duration = Duration::from_secs(5);
/// For one server.
const SERVER_MAX: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// Texts of an answer that are looked at, and bytes of each: the record that is looked for has 46.
const TEXTS_MAX: usize = 100;
const TEXT_BYTES_MAX: usize = 256;

/// Why it is not known which texts there are.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The machine's own settings can't be read.
    #[error("the machine has no DNS server configured: set api-dns-servers")]
    Servers(#[source] NetError),
    /// No server gave an answer.
    #[error("the DNS did not answer")]
    Failed(#[source] NetError),
    /// No server gave one in time.
    #[error("the DNS did not answer within {} s", QUESTION_MAX.as_secs())]
    Slow,
}

/// Who knows TXT records.
pub trait TxtRecords: Send + Sync {
    /// The texts at this name (without a dot at the end); none where there is no such name.
    fn texts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Vec<u8>>, DnsError>>;
}

/// The DNS, as these servers have it; none: those of the machine, as they are when it is asked.
#[derive(Clone, Debug, Default)]
pub struct Dns {
    /// Where they are.
    pub servers: Vec<SocketAddr>,
}

impl Dns {
    /// For one question: nothing is kept from one to the next.
    fn resolver(&self) -> Result<TokioResolver, DnsError> {
        let runtime = TokioRuntimeProvider::default();
        let mut builder = match &self.servers[..] {
            [] => TokioResolver::builder(runtime).map_err(DnsError::Servers)?,
            servers => {
                let servers = servers.iter().map(server).collect();
                let config = ResolverConfig::from_parts(None, Vec::new(), servers);
                TokioResolver::builder_with_config(config, runtime)
            }
        };
        let options = builder.options_mut();
        options.timeout = SERVER_MAX;
        options.attempts = ATTEMPTS;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        builder.build().map_err(DnsError::Servers)
    }

    async fn ask(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        let mut name = Name::from_ascii(name).map_err(|error| DnsError::Failed(error.into()))?;
        // Fully qualified: no domain of the machine is put behind it.
        name.set_fqdn(true);
        let found = match self.resolver()?.lookup(name, RecordType::TXT).await {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
            Err(error) => return Err(DnsError::Failed(error)),
        };
        let texts = found.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        });
        Ok(texts.filter(|text| text.len() <= TEXT_BYTES_MAX).take(TEXTS_MAX).collect())
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    // TCP for answers that do not fit a packet.
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at);
    NameServerConfig::new(address.ip(), true, connections.into())
}

impl TxtRecords for Dns {
    fn texts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Vec<u8>>, DnsError>> {
        Box::pin(async move { timeout(QUESTION_MAX, self.ask(name)).await.unwrap_or(Err(DnsError::Slow)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::{
        op::{Message, ResponseCode},
        rr::{Record, rdata::TXT},
    };
    use std::sync::{Arc, Mutex};
    use tokio::net::UdpSocket;

    /// A server that has one name, with these texts, and notes what it is asked.
    async fn server(
        name: &'static str,
        texts: Vec<Vec<&'static str>>,
    ) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut packet = [0; 4096];
            while let Ok((len, from)) = socket.recv_from(&mut packet).await {
                let question = Message::from_vec(&packet[..len]).unwrap();
                let query = question.queries[0].clone();
                noted.lock().unwrap().push(format!("{} {}", query.name().to_lowercase(), query.query_type()));
                let mut answer = question.clone().into_response();
                if query.name().to_lowercase().to_ascii() == name {
                    for parts in &texts {
                        let parts = parts.iter().map(|part| (*part).to_owned()).collect();
                        answer.add_answer(Record::from_rdata(
                            query.name().clone(),
                            60,
                            RData::TXT(TXT::new(parts)),
                        ));
                    }
                } else {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        (address, asked)
    }

    #[tokio::test]
    async fn texts_are_those_of_the_very_name_and_no_text_is_too_long() {
        let long = "x".repeat(200).leak();
        let texts = vec![vec!["whence-verify=1"], vec!["a", "b"], vec![long, long]];
        let (address, asked) = server("_whence.go.example.", texts).await;
        let dns = Dns { servers: vec![address] };
        let found = dns.texts("_whence.go.example").await.unwrap();
        assert_eq!(found, [b"whence-verify=1".to_vec(), b"ab".to_vec()]);
        assert_eq!(dns.texts("_whence.none.example").await.unwrap(), Vec::<Vec<u8>>::new());
        // A second question is not answered from a cache, and no domain of this machine is put behind a name.
        assert_eq!(dns.texts("_whence.go.example").await.unwrap().len(), 2);
        let asked = asked.lock().unwrap().clone();
        let expected = ["_whence.go.example. TXT", "_whence.none.example. TXT", "_whence.go.example. TXT"];
        assert_eq!(asked, expected);
    }

    #[tokio::test]
    async fn that_nobody_answers_is_no_answer() {
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = Dns { servers: vec![gone] }.texts("_whence.go.example").await.unwrap_err();
        assert!(matches!(error, DnsError::Failed(_) | DnsError::Slow), "{error}");
    }
}
