//! Files that are opened in spreadsheets: a text that such a program would take for a formula is made one that it shows.

use csv::QuoteStyle;
use serde_json::Value;

/// Bytes that make a cell a formula, where they stand first.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A cell of a column of texts. One that would be a formula has a `'` before it.
pub fn text(text: &str) -> String {
    if text.starts_with(FORMULA) { format!("'{text}") } else { text.to_owned() }
}

/// The line that a record begins on, of which the reader has just come back; its own position is that of the empty lines
/// before it.
pub fn line_of<R: std::io::Read>(reader: &csv::Reader<R>, record: &csv::StringRecord) -> u64 {
    let within: usize = record.iter().map(|cell| cell.matches('\n').count()).sum();
    let behind = reader.position().line();
    let first = behind.saturating_sub(1 + within as u64);
    record.position().map_or(first, |position| position.line().max(first))
}

/// Whether a cell, as it is or as [`text`] makes it, says this.
pub fn says(cell: &str, said: &str) -> bool {
    cell == said || cell == text(said)
}

/// A cell of any column: NULL is empty, numbers are as they are.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(value) => text(value),
        other => other.to_string(),
    }
}

/// A header and rows as wide, quoted as told.
pub fn file<'a>(quotes: QuoteStyle, header: &[&str], rows: impl Iterator<Item = Vec<&'a Value>>) -> String {
    let mut writer = csv::WriterBuilder::new().quote_style(quotes).from_writer(Vec::new());
    // Into memory, and of rows that are as wide as the header: nothing can fail.
    let _ = writer.write_record(header);
    rows.for_each(|row| _ = writer.write_record(row.into_iter().map(cell)));
    String::from_utf8_lossy(&writer.into_inner().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_no_formulas_numbers_are_numbers_and_null_is_empty() {
        let row = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "'x", "a=b", ""].map(Value::from);
        let numbers = [json!(-12), json!(-0.5), json!(null), json!({ "EUR": -5 }), json!(true)];
        let all: Vec<&Value> = row.iter().chain(&numbers).collect();
        let header: Vec<String> = (0..all.len()).map(|at| format!("c{at}")).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let written = file(QuoteStyle::Necessary, &header, std::iter::once(all));
        assert_eq!(
            written.split_once('\n').unwrap().1,
            "'=1+1,'+1,'-1,'@x,'\tx,\"'\rx\",'x,a=b,,-12,-0.5,,\"{\"\"EUR\"\":-5}\",true\n"
        );
        assert!(says("'=x", "=x") && says("=x", "=x") && says("x", "x") && !says("'x", "x"));
    }
}
