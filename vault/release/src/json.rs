//! A bounded parser for the JSON of a login token (RFC 8259): no recursion, no duplicate member at any level.
//!
//! It keeps what policies ask for (text, lists of texts, whole numbers, truth values) and only checks the rest. What a
//! lax parser reads in two ways is refused: duplicates, lone surrogates, control characters, trailing bytes.

use alloc::string::String;
use alloc::vec::Vec;
use core::str::Chars;

/// Deepest nesting, the outermost object counted.
const MAX_DEPTH: usize = 4;
/// Most members of one object, elements of one list.
const MAX_MEMBERS: usize = 64;
/// Most values of a document.
const MAX_VALUES: usize = 512;
/// Whole numbers above this are no times and lose digits in other parsers.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Not the JSON text of one object within the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotJson;

/// A member's value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Bool(bool),
    /// A number without sign, fraction and exponent, below 2^53.
    Integer(u64),
    Text(String),
    /// A list of nothing but texts, possibly empty.
    Texts(Vec<String>),
    /// Well-formed, and nothing that a policy asks for.
    Other,
}

/// The outermost object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Object {
    members: Vec<(String, Value)>,
}

impl Object {
    /// Parses a whole document. The caller bounds its length.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, NotJson> {
        let text = core::str::from_utf8(bytes).map_err(|_| NotJson)?;
        let mut parser = Parser { rest: text.chars(), stack: Vec::new(), members: Vec::new(), values: 0 };
        parser.space();
        parser.expect('{')?;
        parser.open(Some(Vec::new()))?;
        while !parser.stack.is_empty() {
            parser.step()?;
        }
        parser.space();
        if parser.rest.next().is_some() {
            return Err(NotJson);
        }
        Ok(Self { members: parser.members })
    }

    /// The value of a member.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.members.iter().find(|(named, _)| named == name).map(|(_, value)| value)
    }
}

/// An open object or list.
struct Frame {
    /// The names of an object so far; `None` for a list.
    names: Option<Vec<String>>,
    count: usize,
}

struct Parser<'a> {
    rest: Chars<'a>,
    stack: Vec<Frame>,
    members: Vec<(String, Value)>,
    values: usize,
}

impl Parser<'_> {
    fn open(&mut self, names: Option<Vec<String>>) -> Result<(), NotJson> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(NotJson);
        }
        self.stack.push(Frame { names, count: 0 });
        Ok(())
    }

    /// Closes the innermost object or list, or reads its next element.
    fn step(&mut self) -> Result<(), NotJson> {
        self.space();
        let frame = self.stack.last().ok_or(NotJson)?;
        let (close, first) = (if frame.names.is_some() { '}' } else { ']' }, frame.count == 0);
        if self.eat(close) {
            self.stack.pop();
            return Ok(());
        }
        if !first {
            self.expect(',')?;
            self.space();
        }
        self.element()
    }

    fn element(&mut self) -> Result<(), NotJson> {
        self.values += 1;
        let depth = self.stack.len();
        let is_object = self.stack.last().is_some_and(|frame| frame.names.is_some());
        let name = if is_object { Some(self.name()?) } else { None };
        let frame = self.stack.last_mut().ok_or(NotJson)?;
        frame.count += 1;
        if frame.count > MAX_MEMBERS || self.values > MAX_VALUES {
            return Err(NotJson);
        }
        if let (Some(names), Some(name)) = (&mut frame.names, &name) {
            if names.contains(name) {
                return Err(NotJson);
            }
            names.push(name.clone());
        }
        let value = self.value()?;
        match (depth, name) {
            (1, Some(name)) => self.members.push((name, value)),
            // An element of a list that is itself a member of the outermost object.
            (2, None) => {
                if let Some((_, list)) = self.members.last_mut() {
                    match (list, value) {
                        (Value::Texts(texts), Value::Text(text)) => texts.push(text),
                        (list, _) => *list = Value::Other,
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A member's name and the colon.
    fn name(&mut self) -> Result<String, NotJson> {
        let name = self.text()?;
        self.space();
        self.expect(':')?;
        self.space();
        Ok(name)
    }

    /// A value; of an object or list only its beginning.
    fn value(&mut self) -> Result<Value, NotJson> {
        match self.peek() {
            Some('{') => {
                self.expect('{')?;
                self.open(Some(Vec::new())).map(|()| Value::Other)
            }
            Some('[') => {
                self.expect('[')?;
                self.open(None).map(|()| Value::Texts(Vec::new()))
            }
            Some('"') => self.text().map(Value::Text),
            Some('t') => self.word("true").map(|()| Value::Bool(true)),
            Some('f') => self.word("false").map(|()| Value::Bool(false)),
            Some('n') => self.word("null").map(|()| Value::Other),
            Some('-' | '0'..='9') => self.number(),
            _ => Err(NotJson),
        }
    }

    fn text(&mut self) -> Result<String, NotJson> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.rest.next().ok_or(NotJson)? {
                '"' => return Ok(text),
                '\\' => text.push(self.escape()?),
                '\0'..='\x1f' => return Err(NotJson),
                other => text.push(other),
            }
        }
    }

    fn escape(&mut self) -> Result<char, NotJson> {
        Ok(match self.rest.next().ok_or(NotJson)? {
            same @ ('"' | '\\' | '/') => same,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = self.unit()?;
                let code = if (0xd800..0xdc00).contains(&unit) {
                    self.word("\\u")?;
                    let low = self.unit()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(NotJson);
                    }
                    0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    unit
                };
                // A lone low surrogate is no character.
                char::from_u32(code).ok_or(NotJson)?
            }
            _ => return Err(NotJson),
        })
    }

    /// Four hex digits.
    fn unit(&mut self) -> Result<u32, NotJson> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit * 16 + self.rest.next().and_then(|digit| digit.to_digit(16)).ok_or(NotJson)?;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Result<Value, NotJson> {
        let mut plain = !self.eat('-');
        let mut value = Some(0u64);
        let leading_zero = self.peek() == Some('0');
        let mut digits = 0usize;
        while let Some(digit) = self.digit() {
            digits += 1;
            value = value.and_then(|value| value.checked_mul(10)).and_then(|value| value.checked_add(digit));
        }
        if digits == 0 || (leading_zero && digits > 1) {
            return Err(NotJson);
        }
        if self.eat('.') {
            plain = false;
            self.digits()?;
        }
        if self.eat('e') || self.eat('E') {
            plain = false;
            let _sign = self.eat('+') || self.eat('-');
            self.digits()?;
        }
        Ok(match value {
            Some(value) if plain && value <= MAX_INTEGER => Value::Integer(value),
            _ => Value::Other,
        })
    }

    fn digit(&mut self) -> Option<u64> {
        let digit = self.peek()?.to_digit(10)?;
        self.rest.next();
        Some(u64::from(digit))
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), NotJson> {
        self.digit().ok_or(NotJson)?;
        while self.digit().is_some() {}
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), NotJson> {
        word.chars().try_for_each(|expected| self.expect(expected))
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.rest.next();
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn eat(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.rest.next();
        }
        found
    }

    fn expect(&mut self, expected: char) -> Result<(), NotJson> {
        if self.eat(expected) { Ok(()) } else { Err(NotJson) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Object, NotJson> {
        Object::parse(text.as_bytes())
    }

    #[test]
    fn members_are_kept_by_kind() {
        let object =
            parse(r#" {"t":"x","l":["a","b"],"e":[],"m":["a",1],"n":[["a"]],"o":{"t":"y"},"i":7,"b":true,"z":null} "#)
                .unwrap();
        assert_eq!(object.get("t"), Some(&Value::Text("x".into())));
        assert_eq!(object.get("l"), Some(&Value::Texts(["a".to_string(), "b".into()].into())));
        assert_eq!(object.get("e"), Some(&Value::Texts(Vec::new())));
        assert_eq!(object.get("i"), Some(&Value::Integer(7)));
        assert_eq!(object.get("b"), Some(&Value::Bool(true)));
        for other in ["m", "n", "o", "z"] {
            assert_eq!(object.get(other), Some(&Value::Other), "{other}");
        }
        assert_eq!(object.get("y"), None);
    }

    #[test]
    fn duplicate_members_are_refused_at_every_level_and_through_escapes() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"o":{"a":1,"a":1}}"#,
            r#"{"o":{"p":[{"a":1,"a":2}]}}"#,
            r#"{"l":[{"a":1,"a":1}]}"#,
        ] {
            assert_eq!(parse(text), Err(NotJson), "{text}");
        }
        assert!(parse(r#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn nesting_is_bounded_and_needs_no_stack() {
        assert!(parse(r#"{"a":{"b":{"c":{}}}}"#).is_ok());
        assert_eq!(parse(r#"{"a":{"b":{"c":{"d":{}}}}}"#), Err(NotJson));
        assert_eq!(parse(&format!(r#"{{"a":{}"#, "[".repeat(100_000))), Err(NotJson));
        assert_eq!(parse(&"{\"a\":".repeat(100_000)), Err(NotJson));
    }

    #[test]
    fn members_and_values_are_capped() {
        let members = |count: usize| {
            let members: Vec<_> = (0..count).map(|i| format!(r#""{i}":1"#)).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(parse(&members(64)).is_ok());
        assert_eq!(parse(&members(65)), Err(NotJson));
        assert_eq!(parse(&format!(r#"{{"a":[{}1]}}"#, "1,".repeat(64))), Err(NotJson));
        let lists = |count: usize| {
            let list = format!("[{}1]", "1,".repeat(60));
            let members: Vec<_> = (0..count).map(|i| format!(r#""{i}":{list}"#)).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(parse(&lists(8)).is_ok());
        assert_eq!(parse(&lists(9)), Err(NotJson));
    }

    #[test]
    fn only_plain_whole_numbers_are_integers() {
        let value = |text: &str| parse(&format!(r#"{{"a":{text}}}"#)).map(|mut object| object.members.remove(0).1);
        assert_eq!(value("0"), Ok(Value::Integer(0)));
        assert_eq!(value("9007199254740991"), Ok(Value::Integer(MAX_INTEGER)));
        for other in ["9007199254740992", "99999999999999999999999999", "-1", "-0", "1.0", "1e3", "1E+3", "0.5e-7"] {
            assert_eq!(value(other), Ok(Value::Other), "{other}");
        }
        for bad in ["01", "00", "-", "+1", "1.", ".5", "1e", "1e+", "0x1", "NaN", "Infinity", "-01", "1_0", "\u{661}"] {
            assert_eq!(value(bad), Err(NotJson), "{bad}");
        }
    }

    #[test]
    fn text_is_strict() {
        let value = |text: &str| parse(&format!(r#"{{"a":"{text}"}}"#)).map(|mut object| object.members.remove(0).1);
        assert_eq!(value(r#"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"#), Ok(Value::Text("\"\\/\x08\x0c\n\r\té😀".into())));
        for bad in [r"\x", r"\u12", r"\u+123", r"\ud83d", r"\ud83dx", r"\ud83d\u0041", r"\ude00", r"\U0041", "\n", "\0"]
        {
            assert_eq!(value(bad), Err(NotJson), "{bad:?}");
        }
        assert_eq!(Object::parse(b"{\"a\":\"\xff\"}"), Err(NotJson));
        assert_eq!(Object::parse(b"{\"a\":\"\xc0\xaf\"}"), Err(NotJson));
        assert_eq!(Object::parse(b"\xef\xbb\xbf{}"), Err(NotJson));
    }

    #[test]
    fn only_one_whole_object_is_a_document() {
        assert!(parse("{}").is_ok());
        for bad in [
            "",
            "[]",
            "1",
            "null",
            "{",
            "}",
            "{}{}",
            "{}x",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{a:1}"#,
            r#"{'a':1}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[,]}"#,
            r#"{"a":[1}"#,
            r#"{"a":tru}"#,
            r#"{"a":1 "b":2}"#,
            "{}\0",
            "{}\u{a0}",
            r#"{"a":1/**/}"#,
        ] {
            assert_eq!(parse(bad), Err(NotJson), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _result = Object::parse(&bytes);
        }

        #[test]
        fn no_json_like_text_makes_it_panic(
            parts in proptest::collection::vec(
                prop::sample::select(std::vec![
                    "{", "}", "[", "]", ",", ":", "\"a\"", "\"b\"", "\"", "\\", "\\u", "d83d", "1", "-", ".", "e", "true",
                    "null", " ", "\u{1f600}",
                ]),
                0..60,
            )
        ) {
            let text = parts.concat();
            if let Ok(object) = parse(&text) {
                prop_assert!(object.members.len() <= MAX_MEMBERS);
            }
        }

        #[test]
        fn any_text_comes_back_from_escapes(text in any::<String>()) {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let object = parse(&format!(r#"{{"{escaped}":"{escaped}"}}"#)).unwrap();
            prop_assert_eq!(object.get(&text), Some(&Value::Text(text.clone())));
        }
    }
}
