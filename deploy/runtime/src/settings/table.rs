//! The rows as the README shows them, so that a test can hold the README against the program.

use std::fmt::Write;

use super::row::{Fallback, Row};

/// A Markdown table under a heading per group: name, variable, default, meaning.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut group = None;
    for row in rows {
        if group != Some(&row.group) {
            let gap = if group.is_some() { "\n" } else { "" };
            let title = row.group.lines().next().unwrap_or_default();
            let _ = write!(
                text,
                "{gap}**{title}**\n\n| Setting | Variable | Default | Meaning |\n|---|---|---|---|\n"
            );
            group = Some(&row.group);
        }
        let default = match row.fallback {
            Fallback::Required => "required".to_owned(),
            Fallback::Unset | Fallback::Text("") => "–".to_owned(),
            Fallback::Text(default) => format!("`{default}`"),
        };
        let (name, variable) = match row.file_name() {
            Some(file) => (file, format!("`{0}` or `{0}_FILE`", row.variable())),
            None => (row.name.clone(), format!("`{}`", row.variable())),
        };
        let meaning = row.summary().replace('|', "\\|");
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "| `--{name}` | {variable} | {default} | {meaning} |");
    }
    text
}
