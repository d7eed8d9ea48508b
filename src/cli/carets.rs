//! A finding for people: its sentence, its place, the line of the text with carets under what is meant, and what to do.
//!
//! Written here, because annotate-snippets adds 119 KB to the plugin and miette 254 KB (measured, static, opt-level s), and one
//! line is all that is shown. The text is a stranger's: whatever could steer a terminal is shown by its number.

use std::fmt::Write as _;
use std::ops::Range;

use crate::check::Finding;

/// Columns of a line that are shown, and of them before what is meant.
const MOST: usize = 100;
const BEFORE: usize = 40;

/// Bytes before and after the start of what is meant that are looked at: a line may be a whole file.
const WINDOW: usize = 512;

/// What one character, or one byte that is part of none, looks like.
struct Cell {
    at: usize,
    shown: String,
    columns: usize,
}

/// `finding` in `text`, several lines.
pub(super) fn render(finding: &Finding, text: &[u8]) -> String {
    let Finding { severity, code, line, column, .. } = finding;
    let mut out = format!("{severity}[{code}]: {}\n", visible(&finding.message));
    let margin = " ".repeat(line.to_string().len());
    let file = visible(&finding.file);
    if *line == 0 {
        let _ = writeln!(out, "{margin}--> {file}");
    } else {
        let (source, marks) = marked(text, &finding.span);
        let _ = writeln!(out, "{margin}--> {file}:{line}:{column}");
        let _ = writeln!(out, "{margin} |");
        let _ = writeln!(out, "{}", format!("{line} | {source}").trim_end());
        let _ = writeln!(out, "{margin} | {marks}");
    }
    if !finding.help.is_empty() {
        let _ = writeln!(out, "{margin} = help: {}", visible(&finding.help));
    }
    out
}

/// The line that `span` begins in, or a part of it, and carets under what of the span is on it.
fn marked(text: &[u8], span: &Range<usize>) -> (String, String) {
    let start = span.start.min(text.len());
    let line_start = text[..start].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line_end = text[start..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| start + at);
    let continues = |at: &usize| text[*at] & 0xc0 == 0x80;
    let from = line_start.max(start.saturating_sub(WINDOW));
    let from = if from == line_start { from } else { (from..start).find(|at| !continues(at)).unwrap_or(start) };
    let to = line_end.min(start + WINDOW);
    let to = if to == line_end { to } else { (start..=to).rev().find(|at| !continues(at)).unwrap_or(start) };
    let cells = cells(text, from..to);

    let here = cells.partition_point(|cell| cell.at < start);
    let (mut first, mut before) = (here, 0);
    while let Some(cell) =
        first.checked_sub(1).and_then(|at| cells.get(at)).filter(|cell| before + cell.columns <= BEFORE)
    {
        (first, before) = (first - 1, before + cell.columns);
    }
    let cut = first > 0 || from > line_start;
    let mut source = if cut { "…".to_owned() } else { String::new() };
    let (mut columns, mut under, mut last) = (before, 0, to < line_end);
    for (number, cell) in cells.iter().enumerate().skip(first) {
        columns += if number < here { 0 } else { cell.columns };
        if columns > MOST {
            last = true;
            break;
        }
        source.push_str(&cell.shown);
        under += if number >= here && cell.at < span.end { cell.columns } else { 0 };
    }
    if last {
        source.push('…');
    }
    // Where something is missing there is nothing to underline.
    (source, " ".repeat(before + usize::from(cut)) + &"^".repeat(under.max(1)))
}

fn cells(text: &[u8], range: Range<usize>) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut at = range.start;
    for chunk in text[range].utf8_chunks() {
        for c in chunk.valid().chars() {
            let (shown, columns) = shown(c);
            cells.push(Cell { at, shown, columns });
            at += c.len_utf8();
        }
        for byte in chunk.invalid() {
            cells.push(Cell { at, shown: format!("\\x{byte:02x}"), columns: 4 });
            at += 1;
        }
    }
    cells
}

/// `text` with nothing in it that a terminal could take for more than a character.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|c| shown(c).0).collect()
}

/// How a character is shown, and how many columns that takes.
fn shown(c: char) -> (String, usize) {
    match c {
        '\t' => ("    ".to_owned(), 4),
        _ if steers(c) => {
            let text = c.escape_unicode().to_string();
            let columns = text.len();
            (text, columns)
        }
        _ => (c.to_string(), columns(c)),
    }
}

/// Control characters, and those that change the direction of writing or show nothing at all.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns that a terminal gives a character: two for what is wide in East Asia and pictures, none for marks over another.
fn columns(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], span: Range<usize>, source: &str, marks: &str) {
        assert_eq!(marked(text, &span), (source.to_owned(), marks.to_owned()));
    }

    #[test]
    fn g1_carets_stand_under_what_is_meant() {
        check(b"abc\ndef\n", 5..6, "def", " ^");
        check(b"abc\ndef\n", 2..8, "abc", "  ^");
        check(b"abc", 3..3, "abc", "   ^");
        check(b"", 0..0, "", "^");
        check(b"", 7..9, "", "^");
        check(b"\ta\tb", 3..4, "    a    b", "         ^");
        check("世界x".as_bytes(), 3..7, "世界x", "  ^^^");
        check("e\u{301}x".as_bytes(), 3..4, "e\u{301}x", " ^");
        check(b"\xff\xfex", 2..3, "\\xff\\xfex", "        ^");
        check(b"\x1b[0m\"", 4..5, "\\u{1b}[0m\"", "         ^");
    }

    #[test]
    fn g1_a_long_line_is_cut_around_what_is_meant() {
        let line = |before: usize, after: usize| ["-".repeat(before), "x".to_owned(), "+".repeat(after)].concat();
        let (dashes, marks) = ("-".repeat(BEFORE), " ".repeat(BEFORE + 1) + "^");
        check(line(BEFORE, 5).as_bytes(), BEFORE..BEFORE + 1, &line(BEFORE, 5), &marks[1..]);
        check(line(4000, 5).as_bytes(), 4000..4001, &format!("…{dashes}x+++++"), &marks);
        let pluses = "+".repeat(MOST - BEFORE - 1);
        check(line(4000, 4000).as_bytes(), 4000..4001, &format!("…{dashes}x{pluses}…"), &marks);
        let whole = " ".repeat(BEFORE + 1) + &"^".repeat(MOST - BEFORE);
        check(line(4000, 4000).as_bytes(), 4000..9000, &format!("…{dashes}x{pluses}…"), &whole);
        let wide = "世".repeat(2000);
        check(wide.as_bytes(), 3000..3003, &format!("…{}…", "世".repeat(MOST / 2)), &(" ".repeat(BEFORE + 1) + "^^"));
    }

    #[test]
    fn g1_what_could_steer_a_terminal_is_shown_by_its_number() {
        assert_eq!(visible("a\u{1b}[31m\u{202e}\u{9b}\n\u{7f}世"), "a\\u{1b}[31m\\u{202e}\\u{9b}\\u{a}\\u{7f}世");
    }
}
