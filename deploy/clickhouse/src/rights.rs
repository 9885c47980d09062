//! Who asks, and what the engine lets them do: its roles and their grants.
//!
//! The library has one user and no way to connect as another, but it knows roles: `SET ROLE` at the
//! beginning of a session takes the rights of all others away (tried with 26.7.3). So the one user has
//! three roles and no right of its own, and each statement runs under one of them:
//!
//! | role | who | what |
//! |---|---|---|
//! | `whence_owner` | the process whose data it is | tables and rows of its databases |
//! | `whence_reader` | people and their tools | reads these databases; tables of its own in one more |
//! | `whence_keeper` | this server itself | makes the databases, ends statements, sweeps the reader's tables |
//!
//! No role may make dictionaries, functions, databases (but the keeper) or accounts, and none is granted a
//! source: files, addresses, other servers. What the library was asked for and does not do: `EXECUTE AS`
//! (impersonation is off and no configuration turns it on), the options of `access_control_improvements`
//! (`table_engines_require_grant`, `select_from_system_db_requires_grant` are not read), a user by
//! argument. Engines without a source, the tables of `system`, and `KILL QUERY` (everybody may end what runs
//! as their own user, and all do) are therefore bounded by `sql::allow` alone.
//!
//! The same grants, as SQL for a real server: [`script`].

use std::fmt::Write as _;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The process whose data it is.
    Owner,
    /// People and their tools.
    Reader,
}

impl Identity {
    /// Its role.
    #[must_use]
    pub fn role(self) -> &'static str {
        match self {
            Self::Owner => "whence_owner",
            Self::Reader => "whence_reader",
        }
    }

    /// Its name in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Reader => "reader",
        }
    }
}

/// The server's own role.
pub const KEEPER: &str = "whence_keeper";

/// What the owner may do with its tables. No `RENAME`, `EXCHANGE`, `DETACH` or `ATTACH` of others' parts.
const OWNED: &str = "SHOW, SELECT, INSERT, ALTER UPDATE, ALTER DELETE, ALTER COLUMN, ALTER INDEX, \
    ALTER PROJECTION, ALTER ORDER BY, ALTER TTL, ALTER SETTINGS, ALTER MODIFY COMMENT, \
    CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, OPTIMIZE";
/// What the reader may do with tables of its own.
const SCRATCH: &str = "SHOW, SELECT, INSERT, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW";

/// Which databases there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Databases {
    /// Those of the owner.
    pub owned: Vec<String>,
    /// The one in which the reader may make tables.
    pub scratch: String,
}

impl Databases {
    /// The grants of a role, without `TO …`.
    pub(crate) fn grants(&self, identity: Identity) -> Vec<String> {
        let rights = match identity {
            Identity::Owner => OWNED,
            Identity::Reader => "SHOW, SELECT",
        };
        let mut grants: Vec<String> =
            self.owned.iter().map(|database| format!("{rights} ON {}.*", quoted(database))).collect();
        if identity == Identity::Reader {
            grants.push(format!("{SCRATCH} ON {}.*", quoted(&self.scratch)));
        }
        grants
    }

    /// The keeper's grants.
    pub(crate) fn keeper_grants(&self) -> Vec<String> {
        let scratch = quoted(&self.scratch);
        let made = self.owned.iter().map(|database| format!("CREATE DATABASE ON {}.*", quoted(database)));
        made.chain([
            "SHOW ON *.*".to_owned(),
            "KILL QUERY ON *.*".to_owned(),
            format!("CREATE DATABASE, DROP TABLE, DROP VIEW ON {scratch}.*"),
        ])
        .collect()
    }
}

/// A name in backticks.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// What a reader may take of a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderLimits {
    /// Memory of one statement, in bytes.
    pub memory_bytes_max: u64,
    /// Time of one statement, in seconds.
    pub seconds_max: u64,
    /// Statements at once.
    pub queries_max: u64,
}

/// The roles as SQL for a ClickHouse server, to be run by an account that manages access. With
/// `cluster`, on all of its servers.
#[must_use]
pub fn script(databases: &Databases, cluster: Option<&str>, limits: &ReaderLimits) -> String {
    let on = cluster.map_or_else(String::new, |name| format!(" ON CLUSTER {}", quoted(name)));
    let mut sql = String::new();
    let mut say = |line: &str| writeln!(sql, "{line}").expect("a String takes every write");
    for database in databases.owned.iter().chain([&databases.scratch]) {
        say(&format!("CREATE DATABASE IF NOT EXISTS {}{on};", quoted(database)));
    }
    for identity in [Identity::Owner, Identity::Reader] {
        let role = identity.role();
        say(&format!("CREATE ROLE IF NOT EXISTS {role}{on};"));
        for grant in databases.grants(identity) {
            say(&format!("GRANT{on} {grant} TO {role};"));
        }
        for table in crate::sql::system_tables(identity) {
            say(&format!("GRANT{on} SELECT ON system.{table} TO {role};"));
        }
        say(&format!("GRANT{on} SELECT ON information_schema.* TO {role};"));
        for engine in crate::sql::ENGINES {
            say(&format!("GRANT{on} TABLE ENGINE ON {engine} TO {role};"));
            if identity == Identity::Owner && cluster.is_some() {
                say(&format!("GRANT{on} TABLE ENGINE ON Replicated{engine} TO {role};"));
            }
        }
        if identity == Identity::Owner && cluster.is_some() {
            say(&format!("GRANT{on} CLUSTER ON *.* TO {role};"));
            // A replica is waited for until it has what the others have.
            for database in &databases.owned {
                say(&format!("GRANT{on} SYSTEM SYNC REPLICA ON {}.* TO {role};", quoted(database)));
            }
        }
    }
    let ReaderLimits { memory_bytes_max: memory, seconds_max: seconds, queries_max: queries } = limits;
    let reader = Identity::Reader.role();
    say(&format!(
        "CREATE SETTINGS PROFILE IF NOT EXISTS {reader}{on} SETTINGS \
         max_memory_usage = {memory} MIN 1 MAX {memory}, max_execution_time = {seconds} MIN 1 MAX {seconds}, \
         max_concurrent_queries_for_user = {queries} CONST, allow_ddl = 1 CONST, \
         allow_introspection_functions = 0 CONST TO {reader};"
    ));
    say("-- Accounts, with passwords of yours:");
    say(&format!("-- CREATE USER whence{on} IDENTIFIED BY '…' DEFAULT ROLE {};", Identity::Owner.role()));
    say(&format!("-- GRANT{on} {} TO whence;", Identity::Owner.role()));
    say(&format!("-- CREATE USER reader{on} IDENTIFIED BY '…' DEFAULT ROLE {reader};"));
    say(&format!("-- GRANT{on} {reader} TO reader;"));
    sql
}
