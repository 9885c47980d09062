//! `docs/clickhouse-http.md` has the lists that this server reads, word for word. `WHENCE_UPDATE_DOCS=1` writes them.

use std::fmt::Write;

use super::insert::{FAMILIES, FORMATS};
use super::parameters::{Effect, HEADERS, PARAMETERS, Parameter};
use crate::sql::{OUTPUT_WORDS, SHOWN};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/clickhouse-http.md");

fn table(list: &[Parameter]) -> String {
    let mut table = "| | | |\n|---|---|---|\n".to_owned();
    for Parameter { name, effect, note } in list {
        let done = match effect {
            Effect::Taken(_) => "done".to_owned(),
            Effect::PassedOver => "passed over".to_owned(),
            Effect::Refused { exception: (code, _), but: [] } => format!("refused ({code})"),
            Effect::Refused { exception: (code, _), but } => {
                let but: Vec<_> =
                    but.iter().filter(|value| !value.is_empty()).map(|value| format!("`{value}`")).collect();
                format!("refused ({code}), except for {}", but.join(", "))
            }
        };
        writeln!(table, "| `{name}` | {done} | {note} |").unwrap();
    }
    table
}

fn words(list: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let words: Vec<_> = list.into_iter().map(|word| format!("`{}`", word.as_ref())).collect();
    words.join(", ") + "\n"
}

#[test]
fn the_page_of_the_interface_has_the_lists_that_the_server_reads() {
    let written = std::fs::read_to_string(PAGE).unwrap();
    let mut page = written.clone();
    let families = FAMILIES.map(|family| format!("{family}…"));
    for (part, text) in [
        ("parameters", table(PARAMETERS)),
        ("headers", table(HEADERS)),
        ("words", words(OUTPUT_WORDS)),
        ("shown", words(SHOWN)),
        ("formats", words(FORMATS.map(str::to_owned).into_iter().chain(families))),
    ] {
        let (begin, end) = (format!("<!-- {part} -->\n"), "<!-- end -->");
        let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("the page has no {begin}"));
        let (_, after) = rest.split_once(end).unwrap();
        page = format!("{before}{begin}{text}{end}{after}");
    }
    if std::env::var_os("WHENCE_UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
        return;
    }
    assert!(
        written == page,
        "docs/clickhouse-http.md is not what the code says: WHENCE_UPDATE_DOCS=1 writes it"
    );
}
