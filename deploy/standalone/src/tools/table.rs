//! Aligned columns of text for people.

use std::fmt;

/// Where a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// Rows under headings; printed with two spaces between columns.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            columns: columns.iter().map(|(name, align)| ((*name).to_owned(), *align)).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, one cell for each column.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    fn width(&self, column: usize) -> usize {
        let heading = self.columns[column].0.chars().count();
        self.rows.iter().map(|row| row[column].chars().count()).fold(heading, usize::max)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let headings: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        for cells in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), (_, align)) in cells.iter().zip(&widths).zip(&self.columns) {
                let pad = " ".repeat(width - cell.chars().count());
                match align {
                    Align::Left => line.push_str(&format!("{cell}{pad}  ")),
                    Align::Right => line.push_str(&format!("{pad}{cell}  ")),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_spaces() {
        let mut table = Table::new(&[("name", Align::Left), ("count", Align::Right), ("note", Align::Left)]);
        table.row(vec!["é".into(), "1234567".into(), String::new()]);
        table.row(vec!["longer".into(), "1".into(), "x".into()]);
        assert_eq!(table.to_string(), "name      count  note\né       1234567\nlonger        1  x\n");
    }
}
