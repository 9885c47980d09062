//! A proxy before ClickHouse that notes every question, and what a question reads.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What ClickHouse says a question took.
#[derive(Clone, Copy, Default)]
pub struct Read {
    pub rows: u64,
    pub bytes: u64,
    pub found: u64,
    pub ms: f64,
}

/// A kind of question.
pub struct Question {
    pub kind: String,
    /// The one with most names.
    sql: String,
    /// What it asks for by name.
    pub names: usize,
    /// How often one of this kind was asked.
    pub times: u64,
    pub read: Read,
}

impl Question {
    pub fn new(kind: &str, sql: String) -> Question {
        Question { kind: kind.to_owned(), names: names(&sql), sql, times: 1, read: Read::default() }
    }

    /// Asks it again three times, without fetching what is found, and keeps the quickest.
    pub async fn ask_again(&mut self, url: &str) {
        let address = url.strip_prefix("http://").unwrap();
        for again in 0..3 {
            let read = ask(address, &format!("{} FORMAT Null", self.sql)).await;
            if again == 0 || read.ms < self.read.ms {
                self.read = read;
            }
        }
        let counted = ask_text(address, &format!("SELECT count() FROM ({})", self.sql)).await;
        self.read.found = counted.1.trim().parse().unwrap_or_else(|_| panic!("{}", counted.1));
    }
}

async fn ask(address: &str, sql: &str) -> Read {
    let (head, _) = ask_text(address, sql).await;
    let number = |name: &str| -> u64 {
        let (_, rest) = head.split_once(&format!("\"{name}\":\"")).unwrap_or_else(|| panic!("{head}"));
        rest.split_once('"').unwrap().0.parse().unwrap()
    };
    let ms = number("elapsed_ns") as f64 / 1e6;
    Read { rows: number("read_rows"), bytes: number("read_bytes"), found: 0, ms }
}

/// The head and the body of the answer.
async fn ask_text(address: &str, sql: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /?database=whence&max_query_size=67108864 HTTP/1.1\r\nhost: whence\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        sql.len()
    );
    stream.write_all(&[head.as_bytes(), sql.as_bytes()].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {body} {sql:.2000}");
    (head.to_owned(), body.to_owned())
}

#[derive(Default)]
struct Noted(BTreeMap<String, Question>);

impl Noted {
    fn note(&mut self, sql: String) {
        let kind = kind(&sql);
        let asked = names(&sql);
        let known = self
            .0
            .entry(kind.clone())
            .or_insert_with(|| Question { times: 0, ..Question::new(&kind, sql.clone()) });
        known.times += 1;
        if asked > known.names {
            (known.sql, known.names) = (sql, asked);
        }
    }
}

/// Names in arrays, those of programs aside.
fn names(sql: &str) -> usize {
    let arrays = sql.split("arrayJoin([").skip(1).chain(sql.split("referrer IN [").skip(1));
    arrays.map(|rest| rest.split(']').next().unwrap_or_default().split(',').count()).max().unwrap_or(0)
}

/// What is asked of which table, in short.
fn kind(sql: &str) -> String {
    let from = sql.split("FROM ").find(|rest| rest.chars().next().is_some_and(|c| c.is_ascii_lowercase()));
    let table = from.and_then(|rest| rest.split([' ', '\n']).next()).unwrap_or("?");
    let what = [
        ("UNION ALL", "events known by id"),
        ("key IN", "by key"),
        ("LIMIT 1 BY", "newest row by id"),
        ("reward_id IN", "by reward"),
        ("lead_id IN", "by lead"),
        ("qualification_id IN", "by qualification"),
        ("r.referrer IN", "use of caps by referrer"),
        ("is_all", "use of budgets by rule"),
        ("due_at <=", "what is due"),
        ("ts IN", "by program, time and id"),
        ("revision = 0", "times by id"),
    ];
    let what = what.iter().find(|(part, _)| sql.contains(part)).map_or("other", |(_, what)| what);
    format!("{table}: {what}")
}

/// The proxy.
pub struct Proxy {
    address: SocketAddr,
    noted: Arc<Mutex<Noted>>,
}

impl Proxy {
    /// Passes everything on to `to`.
    pub async fn start(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, noted) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Noted::default())));
        let notes = Arc::clone(&noted);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let notes = Arc::clone(&notes);
                tokio::spawn(async move {
                    let server = TcpStream::connect(to).await.unwrap();
                    pass(client, server, &notes).await;
                });
            }
        });
        Proxy { address, noted }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked so far, by kind.
    pub fn questions(&self) -> Vec<Question> {
        std::mem::take(&mut self.noted.lock().unwrap().0).into_values().collect()
    }
}

/// One connection: a request goes on until its answer begins, as requests are not sent ahead.
async fn pass(client: TcpStream, server: TcpStream, noted: &Mutex<Noted>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut request, mut up, mut down) = (Vec::new(), vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = from_client.read(&mut up) => match read {
                Ok(bytes @ 1..) => {
                    request.extend_from_slice(&up[..bytes]);
                    if to_server.write_all(&up[..bytes]).await.is_err() { return }
                }
                _ => return,
            },
            read = from_server.read(&mut down) => match read {
                Ok(bytes @ 1..) => {
                    let text = String::from_utf8_lossy(&std::mem::take(&mut request)).into_owned();
                    if let Some((_, sql)) = text.split_once("\r\n\r\n") && sql.starts_with("SELECT") {
                        noted.lock().unwrap().note(sql.to_owned());
                    }
                    if to_client.write_all(&down[..bytes]).await.is_err() { return }
                }
                _ => return,
            },
        }
    }
}
