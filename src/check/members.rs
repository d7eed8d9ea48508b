//! Where the members of a JSON text stand in it: spans of keys and values, by JSON pointer, and keys given twice.
//!
//! The decoder gives values and no places. This reads for places alone and judges nothing: it is total, so that any bytes may be
//! looked through, but only what the decoder takes has spans that mean something. Bounded in depth and in members, since the
//! text may be hostile; what lies beyond is found at the nearest member above it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

/// Lists and objects within each other that are looked into.
const DEEPEST: usize = 128;

/// Members that are kept: no configuration has a hundredth of them.
const MOST: usize = 1 << 16;

/// One member of an object or element of a list; the first of all is the document.
#[derive(Debug)]
pub struct Member {
    /// The member that it is in.
    pub parent: Option<usize>,
    /// Its key with the quotes; `None` for an element of a list and for the document.
    pub key: Option<Range<usize>>,
    /// Its place among the members of its parent.
    pub at: usize,
    /// Its value.
    pub value: Range<usize>,
    /// A member of the same key comes before it in the same object.
    pub again: bool,
}

/// The members of a text.
#[derive(Debug)]
pub struct Members<'a> {
    text: &'a [u8],
    list: Vec<Member>,
}

impl<'a> Members<'a> {
    /// The members of `text`, in its order.
    #[must_use]
    pub fn of(text: &'a [u8]) -> Self {
        let mut scan = Scan { text, at: 0, list: Vec::new() };
        scan.member(Member { parent: None, key: None, at: 0, value: 0..0, again: false }, 0);
        Self { text, list: scan.list }
    }

    /// Every member with its number. A member comes after the one that it is in.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Member)> {
        self.list.iter().enumerate()
    }

    /// The member of that number.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&Member> {
        self.list.get(number)
    }

    /// The members that are right in `parent`.
    pub fn of_parent(&self, parent: usize) -> impl Iterator<Item = (usize, &Member)> {
        let end = self.get(parent).map_or(0, |member| member.value.end);
        let below = self.list.iter().enumerate().skip(parent + 1);
        below.take_while(move |(_, member)| member.value.start < end).filter(move |(_, m)| m.parent == Some(parent))
    }

    /// The member at `pointer`, or the nearest above it; of a key given twice the last, which is the one that counts.
    #[must_use]
    pub fn find(&self, pointer: &str) -> usize {
        let mut here = 0;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let index = step.parse().ok();
            let is_step = |(number, member): &(usize, &Member)| match self.key(*number) {
                Some(key) => key == step,
                None => index == Some(member.at),
            };
            match self.of_parent(here).filter(is_step).last() {
                Some((next, _)) => here = next,
                None => break,
            }
        }
        here
    }

    /// The JSON pointer of a member.
    #[must_use]
    pub fn pointer(&self, number: usize) -> String {
        let (mut steps, mut here) = (Vec::new(), number);
        while let Some(Member { parent: Some(parent), at, .. }) = self.get(here) {
            let key = self.key(here).map(|key| key.replace('~', "~0").replace('/', "~1"));
            steps.push(key.unwrap_or_else(|| at.to_string()));
            here = *parent;
        }
        steps.iter().rev().map(|step| format!("/{step}")).collect()
    }

    /// The key of a member, if it has one.
    #[must_use]
    pub fn key(&self, number: usize) -> Option<Cow<'a, str>> {
        decoded(&self.text[self.get(number)?.key.clone()?])
    }

    /// The value of a member as it is written.
    #[must_use]
    pub fn raw(&self, number: usize) -> &'a [u8] {
        self.get(number).map_or(&[], |member| &self.text[member.value.clone()])
    }

    /// The value of a member, if it is a text.
    #[must_use]
    pub fn text(&self, number: usize) -> Option<Cow<'a, str>> {
        decoded(self.raw(number))
    }
}

/// The text of a JSON string with its quotes.
fn decoded(quoted: &[u8]) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        return serde_json::from_slice(quoted).ok().map(Cow::Owned);
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    list: Vec<Member>,
}

impl Scan<'_> {
    /// The value here, with everything in it, as that of `member`.
    fn member(&mut self, mut member: Member, depth: usize) {
        self.space();
        if depth >= DEEPEST || self.list.len() >= MOST {
            return self.skip();
        }
        member.value.start = self.at;
        let number = self.list.len();
        self.list.push(member);
        match self.text.get(self.at) {
            Some(b'{') => self.members(number, b'}', depth),
            Some(b'[') => self.members(number, b']', depth),
            _ => self.skip(),
        }
        self.list[number].value.end = self.at;
    }

    /// The members of the object or list that begins here.
    fn members(&mut self, parent: usize, end: u8, depth: usize) {
        let text = self.text;
        let mut seen = BTreeSet::new();
        self.at += 1;
        for at in 0.. {
            self.space();
            match text.get(self.at) {
                Some(byte) if *byte == end => {
                    self.at += 1;
                    break;
                }
                Some(b',') => self.at += 1,
                None => break,
                Some(_) => {}
            }
            self.space();
            let begun = self.at;
            let (mut key, mut again) = (None, false);
            if end == b'}' && text.get(self.at) == Some(&b'"') {
                self.skip();
                again = decoded(&text[begun..self.at]).is_some_and(|name| !seen.insert(name));
                key = Some(begun..self.at);
                self.space();
                self.at += usize::from(text.get(self.at) == Some(&b':'));
            }
            self.member(Member { parent: Some(parent), key, at, value: 0..0, again }, depth + 1);
            // What is no JSON: never twice at one place.
            self.at = self.at.max(begun + 1).min(text.len());
        }
    }

    fn space(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    /// Goes behind the value here, looking for nothing in it.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.text.get(self.at) {
                None => return,
                Some(b'"') => self.quoted(),
                Some(b'{' | b'[') => (depth, self.at) = (depth + 1, self.at + 1),
                Some(b'}' | b']' | b',' | b':') if depth == 0 => return,
                Some(b'}' | b']') => (depth, self.at) = (depth - 1, self.at + 1),
                Some(byte) if depth > 0 && (byte.is_ascii_whitespace() || matches!(byte, b',' | b':')) => self.at += 1,
                Some(_) => self.scalar(),
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn quoted(&mut self) {
        let mut escaped = false;
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let length = rest.iter().position(|byte| {
            let ends = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            ends
        });
        self.at = length.map_or(self.text.len(), |length| self.at + length + 2);
    }

    fn scalar(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b",:{}[]\"".contains(byte);
        self.at += rest.iter().position(ends).unwrap_or(rest.len()).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, pointer: &str) -> (String, String) {
        let members = Members::of(text.as_bytes());
        let number = members.find(pointer);
        (members.pointer(number), String::from_utf8(members.raw(number).to_vec()).unwrap())
    }

    #[test]
    fn g1_a_pointer_leads_to_its_value_or_the_nearest_above() {
        let text = r#" {"a" : [1, {"b/c~": "x\"]"} , [] ], "é":-1.5e3,"a\u0062":true, "d":1,"d":[2]} "#;
        for (pointer, place, value) in [
            ("", "", text.trim()),
            ("/a/0", "/a/0", "1"),
            ("/a/1", "/a/1", r#"{"b/c~": "x\"]"}"#),
            ("/a/1/b~1c~0", "/a/1/b~1c~0", r#""x\"]""#),
            ("/a/2", "/a/2", "[]"),
            ("/a/3", "/a", r#"[1, {"b/c~": "x\"]"} , [] ]"#),
            ("/é", "/é", "-1.5e3"),
            ("/ab", "/ab", "true"),
            ("/d", "/d", "[2]"),
            ("/d/0", "/d/0", "2"),
            ("/x/y", "", text.trim()),
        ] {
            assert_eq!(found(text, pointer), (place.to_owned(), value.to_owned()), "{pointer}");
        }
    }

    #[test]
    fn g1_keys_given_twice_are_told() {
        let members = Members::of(br#"{"a":1,"b":{"a":2,"\u0061":3},"a":4}"#);
        let again: Vec<String> =
            members.iter().filter(|(_, member)| member.again).map(|(number, _)| members.pointer(number)).collect();
        assert_eq!(again, ["/b/a", "/a"]);
    }

    #[test]
    fn g1_any_bytes_are_looked_through_within_bounds() {
        let deep = "[".repeat(1 << 20);
        let wide = format!("[{}1]", "1,".repeat(1 << 18));
        for text in [
            "", "{", "[", "]", "{\"", "{\"a\"", "{\"a\":", "{\"a\":}", "[,]", "{,}", "\"\\", ":", "{a:b}", "{}{}",
            "[1 2]",
        ] {
            drop(Members::of(text.as_bytes()));
        }
        assert_eq!(Members::of(deep.as_bytes()).list.len(), DEEPEST);
        let members = Members::of(wide.as_bytes());
        assert_eq!((members.list.len(), members.raw(0).len()), (MOST, wide.len()));
        assert_eq!(members.pointer(members.find("/70000")), "");
    }

    proptest::proptest! {
        #[test]
        fn g1_every_member_of_any_json_is_where_its_pointer_says(value in json()) {
            let text = value.to_string();
            let members = Members::of(text.as_bytes());
            for (number, _) in members.iter() {
                let pointer = members.pointer(number);
                let raw: serde_json::Value = serde_json::from_slice(members.raw(number)).unwrap();
                assert_eq!(value.pointer(&pointer), Some(&raw), "{pointer} in {text}");
                assert_eq!(members.find(&pointer), number);
            }
        }

        #[test]
        fn g1_spans_of_any_bytes_are_within_them(text in "[\\[\\]{}\",:a\\\\ 1]{0,40}") {
            let members = Members::of(text.as_bytes());
            assert!(members.iter().all(|(_, member)| member.value.start <= member.value.end && member.value.end <= text.len()));
        }
    }

    fn json() -> impl proptest::strategy::Strategy<Value = serde_json::Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            "[a\"\\\\/~é]{0,4}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[a\"\\\\/~b]{0,2}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
