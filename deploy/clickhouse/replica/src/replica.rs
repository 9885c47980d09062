//! One replica: engine, server of parts and front in a process.

use std::convert::Infallible;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use whence_clickhouse_embedded::{Account, ServerConfig, library, passwords, serve};

use crate::asking::Engine;
use crate::front::Front;
use crate::parts::Parts;
use crate::patch::patch;

/// The cluster's name in every replica's settings.
pub const CLUSTER: &str = "main";

/// Engines of Replicated tables, and what else whence's account is granted on a cluster.
const GRANTS: [&str; 5] = [
    "TABLE ENGINE ON ReplicatedMergeTree",
    "TABLE ENGINE ON ReplicatedReplacingMergeTree",
    "TABLE ENGINE ON ReplicatedSummingMergeTree",
    "TABLE ENGINE ON ReplicatedAggregatingMergeTree",
    "SYSTEM SYNC REPLICA ON whence.*",
];

/// What a replica is told.
#[derive(Debug, Clone)]
pub struct ReplicaSettings {
    /// Its folder.
    pub data: PathBuf,
    /// Its number, from 1: the macro `{replica}` is `r` and that.
    pub number: usize,
    /// Where clients find each replica, in order of their numbers.
    pub replicas: Vec<SocketAddr>,
    /// The shard of each; all the same as a rule.
    pub shards: Vec<u32>,
    /// Where it gives its parts.
    pub parts: SocketAddr,
    /// Keeper.
    pub keeper: SocketAddr,
    /// How long Keeper takes a silent replica for alive, milliseconds.
    pub session_ms: u32,
    /// File with the password of user `default`, the same for all.
    pub password_file: PathBuf,
}

/// Runs it until the process is told to end.
///
/// # Errors
/// The engine can't be opened, or an address is taken.
pub async fn run(settings: ReplicaSettings, stop: CancellationToken) -> Result<(), Box<dyn Error>> {
    let library = library::find()?;
    patch(&library, settings.parts.port())?;
    write_config(&settings)?;
    let password = passwords::read(&settings.password_file)?;
    let text = std::fs::read_to_string(&settings.password_file)?.trim().to_owned();

    let inner = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", inner.local_addr()?);
    let mut config = ServerConfig::new(library, &settings.data, Account::new(Account::OWNER, password));
    config.databases.owned = vec!["default".into(), "whence".into()];
    config.engine.memory_bytes_max = 1 << 30;
    config.engine.query_memory_bytes_max = 512 << 20;
    config.engine.sync_inserts = false;
    config.engine.further_grants = GRANTS.map(str::to_owned).into();
    config.limits.queries_max = 32;
    config.limits.inserts_max = 16;

    let own = settings.number - 1;
    let replicas =
        settings.replicas.iter().map(|address| Engine::new(&format!("http://{address}"), &text)).collect();
    let mut fronted: Vec<Engine> = replicas;
    // Its own share of a statement goes past its front.
    fronted[own] = Engine::new(&url, &text);
    let parts = Arc::new(Parts::new(Engine::new(&url, &text)));
    let front = Arc::new(Front::new(&url, fronted, own, Arc::clone(&parts)));
    let listener = TcpListener::bind(settings.replicas[own]).await?;
    tokio::spawn(accept(listener, move |request| Arc::clone(&front).answer(request)));
    let listener = TcpListener::bind(settings.parts).await?;
    tokio::spawn(accept(listener, move |request| {
        let parts = Arc::clone(&parts);
        async move { parts.answer(request).await }
    }));
    Ok(serve(config, inner, stop).await?)
}

async fn accept<B, F>(listener: TcpListener, answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static)
where
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: hyper::body::Body<Data = bytes::Bytes, Error: Error + Send + Sync> + Send + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let answer = answer.clone();
        tokio::spawn(async move {
            let served =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            if let Err(error) = served {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}

fn write_config(settings: &ReplicaSettings) -> std::io::Result<()> {
    let folder = settings.data.join("engine").join("config.d");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("cluster.xml"), config(settings))
}

fn config(settings: &ReplicaSettings) -> String {
    let ReplicaSettings { number, keeper, parts, session_ms, .. } = settings;
    let shard = settings.shards[number - 1];
    let mut shards = settings.shards.clone();
    shards.sort_unstable();
    shards.dedup();
    let of = |wanted: u32| -> String {
        let replicas = settings.replicas.iter().zip(&settings.shards).filter(|(_, shard)| **shard == wanted);
        replicas
            .map(|(address, _)| {
                format!("<replica><host>{}</host><port>{}</port></replica>", address.ip(), address.port())
            })
            .collect()
    };
    let shards: String = shards
        .into_iter()
        .map(|shard| format!("<shard><internal_replication>true</internal_replication>{}</shard>", of(shard)))
        .collect();
    // The library's id of this server is nil, so that sessions would be taken for one another's.
    let session = uuid::Uuid::new_v4().simple().to_string();
    format!(
        "<clickhouse>\n\
         <zookeeper><node><host>{}</host><port>{}</port></node>\
         <session_timeout_ms>{session_ms}</session_timeout_ms><operation_timeout_ms>{session_ms}</operation_timeout_ms>\
         <sessions_path>/clickhouse/sessions-{session}</sessions_path></zookeeper>\n\
         <macros><shard>{shard:02}</shard><replica>r{number}</replica></macros>\n\
         <interserver_http_host>{}</interserver_http_host>\
         <interserver_http_port>{}</interserver_http_port>\n\
         <replicated_fetches_http_connection_timeout>1</replicated_fetches_http_connection_timeout>\
         <replicated_fetches_http_receive_timeout>3</replicated_fetches_http_receive_timeout>\n\
         <remote_servers><{CLUSTER}>{shards}</{CLUSTER}></remote_servers>\n\
         </clickhouse>\n",
        keeper.ip(),
        keeper.port(),
        parts.ip(),
        parts.port()
    )
}
