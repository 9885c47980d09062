//! ClickHouse's servers: one, or several that hold the same tables and are asked in turn. Makes the clients that all
//! of whence asks ClickHouse with; knows no table and no statement.
//!
//! [`Servers::one`] is a client of one server and nothing else. [`Servers::any`] is a client of them all: a request
//! that a server does not take goes to the next one.
//!
//! The `clickhouse` crate takes hyper's client and no other, so what stands between it and several servers is a
//! connection within the process, whose other end passes requests on (`front`).

mod connect;
mod front;
mod load;
mod trouble;
mod turn;
mod url;
mod wait;

use clickhouse::{Client, error::Error};
use connect::Connector;
use front::Front;
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use turn::Turn;

pub use connect::CONNECT_MAX;
pub use trouble::{Trouble, trouble};
pub use url::{ServerUrl, UrlError};
pub use wait::{AnswerTimeout, Tell};

/// Who asks, and the database that is meant.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user.
    pub user: String,
    /// Their password, if they have one.
    pub password: Option<SecretString>,
    /// The database.
    pub database: String,
}

/// One server or several with the same tables.
#[derive(Clone, Debug)]
pub struct Servers {
    urls: Vec<ServerUrl>,
    login: Login,
    connector: Connector,
    turn: Arc<Turn>,
    timeout: Option<AnswerTimeout>,
}

impl Servers {
    /// The servers at `urls`, in the order in which they are asked; `tls` is for those with `https`.
    ///
    /// # Panics
    /// Without a URL.
    #[must_use]
    pub fn new(urls: Vec<ServerUrl>, login: Login, tls: Arc<ClientConfig>) -> Servers {
        assert!(!urls.is_empty(), "somebody has to be asked");
        let turn = Arc::new(Turn::new(urls.iter().map(ServerUrl::authority).collect()));
        Servers { urls, login, connector: Connector::new(tls), turn, timeout: None }
    }

    /// The same, with a timeout for servers that do not answer.
    #[must_use]
    pub fn with_timeout(self, timeout: AnswerTimeout) -> Servers {
        Servers { timeout: Some(timeout), ..self }
    }

    /// Their addresses, without credentials.
    #[must_use]
    pub fn urls(&self) -> &[ServerUrl] {
        &self.urls
    }

    /// A client of the server at this place in the list, and of no other.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn one(&self, index: usize) -> Client {
        let url = &self.urls[index];
        match &self.timeout {
            Some(_) => self.fronted(vec![url.clone()], Arc::new(Turn::new(vec![url.authority()]))),
            None => {
                let client = Client::with_http_client(connect::pool(self.connector.clone()));
                self.known(client, url.as_str())
            }
        }
    }

    /// A client of them all: each request is answered by the server that answered last, or else by the next that
    /// does.
    #[must_use]
    pub fn any(&self) -> Client {
        match self.urls.len() {
            1 => self.one(0),
            _ => self.fronted(self.urls.clone(), Arc::clone(&self.turn)),
        }
    }

    fn fronted(&self, urls: Vec<ServerUrl>, turn: Arc<Turn>) -> Client {
        let front = Front::new(urls, self.connector.clone(), turn, self.timeout.clone());
        self.known(Client::with_http_client(front.pool()), front::URL)
    }

    /// What an error of [`any`](Servers::any) means, and which server it came from.
    #[must_use]
    pub fn say(&self, error: &Error) -> Trouble {
        let mut found = trouble(error);
        if let [only] = &self.urls[..] {
            found.text = format!("{only}: {}", found.text);
        }
        found
    }

    /// Who asks.
    #[must_use]
    pub fn login(&self) -> &Login {
        &self.login
    }

    fn known(&self, client: Client, url: &str) -> Client {
        let Login { user, password, database } = &self.login;
        let client = client.with_url(url).with_user(user).with_database(database);
        match password {
            Some(password) => client.with_password(password.expose_secret()),
            None => client,
        }
    }
}
