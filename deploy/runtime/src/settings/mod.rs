//! One settings mechanism for every process: declare a group once, get the struct, the flags, the help,
//! the table in the README and the error messages.
//!
//! A setting has one name. `click-journal-quota` is the flag `--click-journal-quota`, the variable
//! `WHENCE_CLICK_JOURNAL_QUOTA` and the TOML key `click-journal-quota`. The first source that names it
//! wins: flag, environment, file (`--config` or `WHENCE_CONFIG`), default. An empty variable counts as
//! unset, because container templates write empty variables for what nobody filled in.
//!
//! A secret has no flag that takes its value (a command line is readable by every user of the machine);
//! it comes from its variable, its key, or a file named by `--NAME-file`, `WHENCE_NAME_FILE` or
//! `NAME-file`.
//!
//! ```
//! use whence_runtime::settings::{self, ByteSize, Catalogue, Environment, Secret};
//!
//! whence_runtime::settings! {
//!     /// Clicks
//!     pub struct ClickSettings {
//!         /// Address of the redirector.
//!         pub listen: std::net::SocketAddr = "127.0.0.1:8080",
//!         /// Disk the click journal may take.
//!         pub click_journal_quota: ByteSize = "8GiB" in ByteSize::mib(64)..,
//!         /// Password of the ClickHouse user.
//!         pub clickhouse_password: Option<Secret>,
//!     }
//! }
//!
//! let catalogue = Catalogue::default().with::<ClickSettings>();
//! let command = settings::command::<ClickSettings>(clap::Command::new("clicks"));
//! let flags = command.try_get_matches_from(["clicks", "--click-journal-quota", "512MiB"]).unwrap();
//! let environment = Environment::from_pairs([("WHENCE_LISTEN", "0.0.0.0:80")]);
//! let loaded = settings::load::<ClickSettings>(&flags, &environment, &catalogue).unwrap();
//! assert_eq!(loaded.settings.click_journal_quota, ByteSize::mib(512));
//! assert_eq!(loaded.settings.listen.port(), 80);
//! ```
//!
//! This module reads no clock and no process state: the environment and the arguments are passed in.

mod command;
mod environment;
mod file;
mod group;
mod load;
mod macros;
mod mistake;
mod reader;
mod row;
mod table;
mod units;
mod value;

pub use command::{args, command};
pub use environment::Environment;
pub use group::{Catalogue, Group};
pub use load::{Loaded, Warning, defaults, from_pairs, load};
pub use mistake::{Mistake, Mistakes, Problem};
pub use reader::{Effective, Origin, Reader, within};
pub use row::{Fallback, Row};
pub use table::markdown;
pub use units::ByteSize;
pub use value::{Invalid, Value};

/// A setting that is never printed: neither by `Debug`, nor in an error, nor in the effective settings.
pub type Secret = secrecy::SecretString;
