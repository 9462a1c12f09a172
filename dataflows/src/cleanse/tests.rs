use super::*;
use crate::format::formats;
use crate::testing::{Test, lines, records};

fn rules(text: &str) -> Result<Rules, String> {
    Rules::parse("rules.toml", text)
}

#[test]
fn the_fixture_is_cleansed() {
    let records = records(include_str!("../../fixtures/cleanse/records.jsonl"));
    let rules = rules(include_str!("../../fixtures/cleanse/rules.toml")).unwrap();
    let outcome = Test::of(Cleanse { rules })
        .epoch(records[..3].iter().cloned().map(|record| ("records", record)))
        .restart()
        .epoch(records[3..].iter().cloned().map(|record| ("records", record)))
        .check();
    assert_eq!(outcome.rows("clean"), lines(include_str!("../../fixtures/cleanse/clean.jsonl")));
    let mut reasons = outcome.reasons();
    reasons.sort();
    assert_eq!(
        reasons,
        [
            "at: it is less than min",
            "at: it is neither an RFC 3339 time nor whole milliseconds",
            "gift: it is neither true nor false",
            "id: it does not match the pattern",
            "id: it is missing",
            "not JSON: expected ident at line 1 column 2",
            "parcel: expected an object, found a number",
            "price: expected text, found an object",
            "price: it has more than 2 digits after the point",
            "price: it is less than min",
            "price: it is missing",
            "quantity: it is less than min",
            "quantity: it is not a whole number",
            "region: it is none of one-of",
            "weight: it is more than max",
        ]
    );
}

#[test]
fn other_formats_and_envelopes_are_cleansed_as_well() {
    let text = r#"
        [[field]]
        name = "n"
        from = "a.n"
        type = "int"
        [[field]]
        name = "offset"
        from = "_offset"
        type = "int"
        [[field]]
        name = "big"
        type = "decimal(3)"
        [[keep]]
        field = "n"
        min = 0
    "#;
    let test = |format: &str| {
        let binding = Binding::parse(format, &formats()).unwrap();
        Test::of(Cleanse { rules: rules(text).unwrap() }).format("records", binding)
    };
    let csv =
        test("csv:big;a.n").epoch([("records", "big;a.n"), ("records", "0.125;7"), ("records", "1;-7")]);
    assert_eq!(csv.check().rows("clean"), [r#"{"n":7,"offset":1,"big":"0.125"}"#]);
    // What is not kept leaves its key without a row.
    let (one, two) = (r#"{"a":{"n":1},"big":79228162514264337593543.125}"#, r#"{"a":{"n":-1}}"#);
    let upsert =
        test("json+upsert").epoch([("records", ("k", one))]).restart().epoch([("records", ("k", two))]);
    let outcome = upsert.check();
    let row = r#"{"n":1,"offset":0,"big":"79228162514264337593543.125"}"#;
    assert_eq!(outcome.changes_of("clean", 1), [format!("+1 {row}")]);
    assert_eq!(outcome.changes_of("clean", 2), [format!("-1 {row}")]);
    let shape = |format: &str| {
        let bound = [("records".to_owned(), Binding::parse(format, &formats()).unwrap())].into();
        let dataflow = std::sync::Arc::new(Cleanse { rules: rules(text).unwrap() });
        Shape::of(&*crate::format::bound(dataflow, bound)).unwrap().outputs.remove(0)
    };
    assert!(shape("json").appends && !shape("json+upsert").appends);
}

#[test]
fn a_key_that_is_no_text_is_a_dead_letter_that_names_its_field() {
    let text = "[[field]]\nname = \"who\"\nfrom = \"_key\"\n[[field]]\nname = \"n\"\n[[keep]]\nfield = \"n\"\nequals = \"1\"";
    let sample = |key: &[u8], value: &str| {
        (
            "records",
            crate::testing::Sample { key: Some(key.to_vec()), value: Some(value.into()), timestamp: None },
        )
    };
    let outcome = Test::of(Cleanse { rules: rules(text).unwrap() })
        .epoch([sample(b"a", r#"{"n":1}"#), sample(b"\xff\xfe", r#"{"n":1}"#), sample(b"\xff", r#"{"n":2}"#)])
        .check();
    assert_eq!(outcome.rows("clean"), [r#"{"who":"a","n":"1"}"#]);
    // What is left out is no dead letter, whatever else is wrong with it.
    assert_eq!(outcome.reasons(), ["who: it is not UTF-8"]);
}

#[test]
fn mistakes_of_rules_are_told_by_table_and_key() {
    for (text, why) in [
        ("", "rules.toml: it has no [[field]], so nothing would come out: write one for each column"),
        ("[[field]", "rules.toml: TOML parse error at line 1, column 9"),
        ("[[fields]]", "rules.toml: there are no rules \"fields\"; did you mean \"field\"?"),
        ("rules = 7", "rules.toml: there are no rules \"rules\", but field, keep"),
        ("[field]", "rules.toml: field is one table or value: write [[field]] above each"),
        ("[[field]]", "rules.toml: [[field]] 1: it has no \"name\": add one"),
        ("[[field]]\nname = 7", "rules.toml: [[field]] 1, key \"name\": expected text, found an integer"),
        ("requird = true", "there is no key \"requird\"; did you mean \"required\"?"),
        ("colour = \"red\"", "there is no key \"colour\", but name, from, type, default, required"),
        ("from = \"a..b\"", "key \"from\": \"a..b\" is no path"),
        ("type = \"integer\"", "key \"type\": found \"integer\", but there are text, int, float, decimal(N)"),
        ("type = \"decimal(x)\"", "key \"type\": found \"decimal(x)\": write the digits after the point"),
        ("type = \"decimal(29)\"", "from decimal(0) to decimal(28)"),
        ("required = 1", "key \"required\": expected true or false, found an integer"),
        ("default = \"a\"\nrequired = true", "key \"required\": with a default, nothing is missing"),
        (
            "type = \"int\"\nmin = \"ten\"",
            "key \"min\": found \"ten\", but the field's type is int: it is not a",
        ),
        (
            "type = \"int\"\nmin = 2\nmax = 1",
            "key \"min\": it is more than max, so no value is right: swap them",
        ),
        ("type = \"int\"\ndefault = 0\nmin = 1", "key \"default\": it is less than min: choose one"),
        ("type = \"int\"\nmin = [1]", "key \"min\": expected a value of type int, found an array"),
        (
            "min = \"a\"",
            "key \"min\": it is for numbers and times, but the field's type is text: use pattern",
        ),
        ("type = \"int\"\nlower = true", "key \"lower\": it is for text, but the field's type is int"),
        ("type = \"bool\"\npattern = \"a\"", "key \"pattern\": it is for text, but the field's type is bool"),
        ("pattern = \"(\"", "key \"pattern\": \"(\" is no regular expression: error: unclosed group"),
        ("one-of = []", "key \"one-of\": expected an array of values"),
        ("type = \"int\"\none-of = [1, \"b\"]", "key \"one-of\": found \"b\", but the field's type is int"),
        ("[[field]]\nname = \"a\"", "[[field]] 2 (\"a\"), key \"name\": another field has that name"),
        (
            "[[field]]\nname = \"b\"\nfrom = \"a.b\"",
            "key \"from\": in \"a.b\", \"a\" is a value for one field",
        ),
        ("from = \"_offset.x\"", "key \"from\": in \"_offset.x\", \"_offset\" is the record's own, which"),
        (
            "type = \"decimal(20)\"\nmin = 0.12345678901234567891",
            "key \"min\": 0.12345678901234568 may have been rounded",
        ),
        (
            "[[keep]]\nfield = \"b\"",
            "rules.toml: [[keep]] 1 (\"b\"), key \"field\": there is no field \"b\", but a",
        ),
        ("[[keep]]\nfield = \"a\"", "it has 0 of equals, pattern, min, max and exists: write one"),
        (
            "[[keep]]\nfield = \"a\"\nexists = true\nequals = \"a\"",
            "it has 2 of equals, pattern, min, max and",
        ),
        (
            "[[keep]]\nfield = \"a\"\nexist = true",
            "[[keep]] 1 (\"a\"): there is no key \"exist\"; did you mean",
        ),
        (
            "[[keep]]\nfield = \"a\"\nmin = 1",
            "key \"min\": it is for numbers and times, but the field's type",
        ),
    ] {
        let begins = text.is_empty() || text.starts_with("[[field]") && !text.contains("name = \"");
        let whole =
            begins || text.starts_with("[[fields") || text.starts_with("rules") || text.starts_with("[f");
        let all = if whole { text.to_owned() } else { format!("[[field]]\nname = \"a\"\n{text}") };
        let found = rules(&all).unwrap_err();
        assert!(found.starts_with("rules.toml: ") && found.contains(why), "{text}: {found}");
    }
    let missing = Rules::read("/nowhere/rules.toml").unwrap_err();
    assert!(missing.starts_with("/nowhere/rules.toml: "), "{missing}");
}
