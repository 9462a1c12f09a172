use clap::Parser;

use super::*;
use crate::testing::decoded;

/// The options as they are typed.
#[derive(Parser, Debug)]
struct Typed {
    #[command(flatten)]
    words: Words,
}

fn typed(args: &[&str]) -> Result<Words, String> {
    let args = ["test"].iter().chain(args);
    Typed::try_parse_from(args).map(|typed| typed.words).map_err(|error| error.to_string())
}

fn split(mut tokenizer: Tokenizer, line: &[u8]) -> Vec<(Text, i64)> {
    decoded(&mut tokenizer, Some(line)).unwrap()
}

fn chosen(words: &Words, line: &str) -> Vec<(Text, i64)> {
    assert!(words.choose());
    decoded(&mut Chosen::new(words), Some(line.as_bytes())).unwrap()
}

fn expect(expected: &[(&str, i64)]) -> Vec<(Text, i64)> {
    expected.iter().map(|&(word, count)| (Text::from(word), count)).collect()
}

fn listed(words: &[&str]) -> Option<StopWords> {
    Some(StopWords::new(words.iter().map(|&word| word.into()).collect()))
}

#[test]
fn white_space_is_unicode_white_space() {
    let line = "The\u{a0}the\u{3000}e\u{301}\te\u{301} \u{1f980}  \u{200b}x\r\n";
    assert_eq!(
        split(Tokenizer::Whitespace, line.as_bytes()),
        expect(&[("The", 1), ("e\u{301}", 2), ("the", 1), ("\u{200b}x", 1), ("\u{1f980}", 1)])
    );
    assert_eq!(split(Tokenizer::Whitespace, b""), []);
    assert_eq!(split(Tokenizer::Whitespace, b" \r\n"), []);
}

#[test]
fn unicode_words_are_lower_case() {
    let line = "Don't stop, the STRASSE \u{1f980} ΟΔΟΣ";
    assert_eq!(
        split(Tokenizer::Unicode, line.as_bytes()),
        expect(&[("don't", 1), ("stop", 1), ("strasse", 1), ("the", 1), ("οδος", 1)])
    );
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_word() {
    for tokenizer in [Tokenizer::Whitespace, Tokenizer::Unicode] {
        assert_eq!(split(tokenizer, "\u{feff}the cat".as_bytes()), expect(&[("cat", 1), ("the", 1)]));
        assert_eq!(split(tokenizer, "\u{feff}".as_bytes()), []);
    }
    // Elsewhere it is a character as any other.
    let line = "a \u{feff}b";
    assert_eq!(split(Tokenizer::Whitespace, line.as_bytes()), expect(&[("a", 1), ("\u{feff}b", 1)]));
}

#[test]
fn what_is_not_text_is_malformed() {
    assert!(decoded(&mut Tokenizer::Whitespace, None).is_err());
    let error = decoded(&mut Tokenizer::Unicode, Some(b"abc \xff def")).unwrap_err();
    assert_eq!(error.0, "the value is not UTF-8 from byte 4");
    let words = Words { normalise: true, ..Words::default() };
    assert_eq!(decoded(&mut Chosen::new(&words), Some(b"abc \xff def")).unwrap_err(), error);
}

#[test]
fn short_and_listed_words_are_left_out() {
    let words = Words { min_length: 3, ..Words::default() };
    assert_eq!(chosen(&words, "a éé öäü The abc"), expect(&[("The", 1), ("abc", 1), ("öäü", 1)]));
    let words = Words { stop_words: listed(&["the", "And"]), ..Words::default() };
    assert_eq!(chosen(&words, "The the and And"), expect(&[("The", 1), ("and", 1)]));
    // As the words of a line, those of the list are in lower case with this tokenizer.
    let words = Words { tokenizer: Tokenizer::Unicode, ..words };
    assert_eq!(chosen(&words, "The the, and And then"), expect(&[("then", 1)]));
}

#[test]
fn words_that_differ_in_case_width_or_encoding_are_the_same() {
    let words = Words { normalise: true, stop_words: listed(&["ＴＨＥ"]), ..Words::default() };
    assert_eq!(
        chosen(&words, "Straße STRASSE é e\u{301} É ＡＢＣ abc ﬁn FIN the The"),
        expect(&[("abc", 2), ("fin", 2), ("strasse", 2), ("é", 3)])
    );
    // What NFKC makes a space of ends a word.
    assert_eq!(chosen(&words, "a\u{3000}b\u{a0}c"), expect(&[("a", 1), ("b", 1), ("c", 1)]));
}

#[test]
fn normalised_text_stays_as_it_is() {
    let folding = Folding::new();
    for c in '\0'..=char::MAX {
        let once = folding.fold(c.encode_utf8(&mut [0; 4])).into_owned();
        assert_eq!(folding.fold(&once), once, "{c:?} U+{:x}", u32::from(c));
    }
}

#[test]
fn a_list_is_read_from_a_file_and_what_is_none_is_refused() {
    let file = |text: &[u8]| {
        let path = std::env::temp_dir().join(format!("cutwater-words-{}-{}", std::process::id(), text.len()));
        std::fs::write(&path, text).unwrap();
        let words = typed(&["--stop-words", path.to_str().unwrap()]);
        std::fs::remove_file(&path).unwrap();
        words.map(|words| format!("{words:?}"))
    };
    let read = file("\u{feff}the\r\n\n  and \nthe".as_bytes()).unwrap();
    assert_eq!(read, r#"Words { tokenizer: Whitespace, stop_words: StopWords(["and", "the"]) }"#);
    assert!(file(b"the\nof course\n").unwrap_err().contains("line 2 has white space within"));
    assert!(file(b"the\n\nb\xff\n").unwrap_err().contains("line 3 is not UTF-8"));
    let missing = typed(&["--stop-words", "/nowhere/at/all"]).unwrap_err();
    assert!(missing.contains("/nowhere/at/all") && missing.contains("No such file"), "{missing}");
}

#[test]
fn what_was_not_asked_for_is_not_part_of_the_identity() {
    assert_eq!(format!("{:?}", typed(&[]).unwrap()), "Words { tokenizer: Whitespace }");
    let all = typed(&["--tokenizer", "unicode", "--min-length", "2", "--normalise"]).unwrap();
    assert_eq!(format!("{all:?}"), "Words { tokenizer: Unicode, min_length: 2, normalise: true }");
    assert!(!typed(&["--min-length", "0"]).unwrap().choose());
}

#[cfg(not(feature = "chinese"))]
#[test]
fn a_build_without_the_dictionary_says_what_to_build() {
    let error = typed(&["--tokenizer", "chinese"]).unwrap_err();
    assert!(error.contains("--features chinese"), "{error}");
}
