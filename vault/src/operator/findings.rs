//! What a doctor says: one line a check, for people and for programs.

use torus_hsm::Verdict;

/// One line.
pub struct Line {
    /// Words joined by hyphens.
    pub name: String,
    /// What was found.
    pub verdict: Verdict,
    /// In words.
    pub detail: String,
    /// What to do; empty if nothing.
    pub advice: &'static str,
}

/// Everything that was found.
#[derive(Default)]
pub struct Findings {
    /// In the order of the checks.
    pub lines: Vec<Line>,
}

impl Findings {
    /// Whether nothing failed.
    pub fn healthy(&self) -> bool {
        self.lines.iter().all(|line| line.verdict != Verdict::Fail)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            text += &format!("{}  {:<34} {}\n", word(line.verdict), line.name, line.detail);
            if !line.advice.is_empty() {
                text += &format!("      {:<34} -> {}\n", "", line.advice);
            }
        }
        text
    }

    /// For programs: `{"healthy":…,"checks":[{"name","verdict","detail","advice"}]}`.
    pub fn json(&self) -> String {
        let checks: Vec<String> = self
            .lines
            .iter()
            .map(|line| {
                format!(
                    r#"{{"name":{},"verdict":"{}","detail":{},"advice":{}}}"#,
                    quoted(&line.name),
                    word(line.verdict),
                    quoted(&line.detail),
                    quoted(line.advice)
                )
            })
            .collect();
        format!("{{\"healthy\":{},\"checks\":[{}]}}\n", self.healthy(), checks.join(","))
    }

    pub(super) fn pass(&mut self, name: &str, detail: String) {
        self.add(name, Verdict::Pass, detail, "");
    }

    pub(super) fn fail(&mut self, name: &str, error: &dyn std::fmt::Display, advice: &'static str) {
        self.add(name, Verdict::Fail, error.to_string(), advice);
    }

    pub(super) fn add(&mut self, name: &str, verdict: Verdict, detail: String, advice: &'static str) {
        self.lines.push(Line { name: name.to_owned(), verdict, detail, advice });
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Warn => "warn",
        Verdict::Fail => "FAIL",
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            c if c.is_control() => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_json_whatever_a_token_says() {
        assert_eq!(quoted("a\"b\\c\nd"), r#""a\"b\\c\u000ad""#);
        let mut found = Findings::default();
        found.pass("a", "x".to_owned());
        assert!(found.healthy());
        found.add("b", Verdict::Fail, "y".to_owned(), "do z");
        let expected = concat!(
            r#"{"healthy":false,"checks":[{"name":"a","verdict":"pass","detail":"x","advice":""},"#,
            r#"{"name":"b","verdict":"FAIL","detail":"y","advice":"do z"}]}"#,
            "\n"
        );
        assert_eq!(found.json(), expected);
    }
}
