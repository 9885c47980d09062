//! A server that answers as it is told and keeps what it was asked.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    future::ready,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use whence_aggregator::servers::{Login, ServerUrl, Servers};
use whence_runtime::tls::{self, TlsFiles};

/// What a server does with a request that it has read.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// Answers with a body.
    Answer(u16, &'static str),
    /// Closes the connection.
    Close,
    /// Says nothing.
    Silent,
    /// Begins to answer, and says no more.
    Stall,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub host: String,
    pub path: String,
    pub user: String,
    pub body: Bytes,
}

pub struct Twin {
    pub port: u16,
    pub connections: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<Asked>>>,
    accepting: JoinHandle<()>,
}

impl Twin {
    pub async fn start(manner: Manner) -> Twin {
        Self::with(manner, None).await
    }

    pub async fn with(manner: Manner, tls: Option<TlsAcceptor>) -> Twin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, connections) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<AtomicUsize>::default());
        let kept = (Arc::clone(&asked), Arc::clone(&connections));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                kept.1.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(speak(stream, tls.clone(), manner, Arc::clone(&kept.0)));
            }
        });
        Twin { port, connections, asked, accepting }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn speak(stream: TcpStream, tls: Option<TlsAcceptor>, manner: Manner, asked: Arc<Mutex<Vec<Asked>>>) {
    match tls {
        None => answer(stream, manner, asked).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                answer(stream, manner, asked).await;
            }
        }
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    manner: Manner,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let asked = Arc::clone(&asked);
        async move {
            let (head, body) = request.into_parts();
            let text = |name: &str| {
                head.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
            };
            let (host, user) = (text("host"), text("x-clickhouse-user"));
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            asked.lock().unwrap().push(Asked { host, user, path: head.uri.path().to_owned(), body });
            match manner {
                Manner::Answer(status, text) => {
                    let mut response = Response::new(Either::Left(Full::new(Bytes::from(text))));
                    *response.status_mut() = StatusCode::from_u16(status).unwrap();
                    Ok::<_, io::Error>(response)
                }
                Manner::Close => Err(io::Error::other("closed")),
                Manner::Stall => {
                    let begun = stream::once(ready(Ok::<_, Infallible>(Frame::data(Bytes::from("1\n")))));
                    Ok(Response::new(Either::Right(StreamBody::new(begun.chain(stream::pending())))))
                }
                Manner::Silent => std::future::pending().await,
            }
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The address of a port at which nobody listens.
pub async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

pub fn servers(urls: &[String], files: &TlsFiles) -> Servers {
    let urls: Vec<ServerUrl> = urls.iter().map(|url| url.parse().unwrap()).collect();
    let login =
        Login { user: "ann".into(), password: Some("hunter2".to_owned().into()), database: "whence".into() };
    Servers::new(urls, login, tls::client(files).unwrap())
}

pub fn plain(urls: &[String]) -> Servers {
    servers(urls, &TlsFiles::default())
}
