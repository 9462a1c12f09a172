//! Words of lines of text: how a line is split, and which words are left out. The options of every dataflow that reads words.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::str;
use std::sync::Arc;

use clap::builder::{EnumValueParser, TypedValueParser as _};
use hashbrown::HashSet;
use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_normalizer::{ComposingNormalizer, ComposingNormalizerBorrowed};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::collection::Collection;
use crate::decode::{Decode, Rows};
use crate::input::Input;
use crate::record::{Malformed, Record};
use crate::rows::Text;
use crate::split;

/// Which words a line has: options to be flattened into those of a dataflow.
///
/// A line is normalised first, where that is asked for, then split; of its words, those that are too short and those of the
/// list are left out.
#[derive(clap::Args, Clone, Default)]
pub struct Words {
    /// How a line is split into words
    #[arg(
        long,
        value_enum,
        value_parser = EnumValueParser::<Tokenizer>::new().try_map(Tokenizer::built_in),
        default_value_t = Tokenizer::Whitespace
    )]
    pub tokenizer: Tokenizer,
    /// Leave out the words of this file, one a line; they are lower-cased and normalised as those of the input are
    #[arg(long, value_name = "FILE", value_parser = StopWords::read)]
    pub stop_words: Option<StopWords>,
    /// Leave out words of fewer characters (Unicode code points)
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub min_length: usize,
    /// Take words for the same that differ in upper and lower case, in full and half width or in how accents are encoded:
    /// Unicode's NFKC and full case folding
    #[arg(long)]
    pub normalise: bool,
}

impl Words {
    /// The words of an input of lines. Without options beside the tokenizer, no word is looked at twice.
    pub fn of<'s>(&self, lines: Input<'s>) -> Collection<'s, Text> {
        if self.choose() { lines.decode(Chosen::new(self)) } else { lines.decode(self.tokenizer) }
    }

    /// True iff there is more to do than to split.
    fn choose(&self) -> bool {
        self.normalise || self.min_length > 0 || self.stop_words.is_some()
    }

    /// The debug form of a dataflow whose options are these alone: those that were not asked for are left out, so that a
    /// state that was made before there were so many is still that of the same dataflow.
    pub fn debug(&self, dataflow: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fields(&mut f.debug_struct(dataflow)).finish()
    }

    /// Adds the options to the debug form of a dataflow, as [`Words::debug`].
    pub fn fields<'f, 'a, 'b>(
        &self,
        form: &'f mut fmt::DebugStruct<'a, 'b>,
    ) -> &'f mut fmt::DebugStruct<'a, 'b> {
        form.field("tokenizer", &self.tokenizer);
        if let Some(stop_words) = &self.stop_words {
            form.field("stop_words", stop_words);
        }
        if self.min_length > 0 {
            form.field("min_length", &self.min_length);
        }
        if self.normalise {
            form.field("normalise", &true);
        }
        form
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.debug("Words", f)
    }
}

/// Words that are left out, as they were listed: in order, each once.
///
/// They are part of a job's identity by their words, not by the file that they were read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopWords(Arc<[Box<str>]>);

impl StopWords {
    /// Reads a list: a word a line. White space around it, empty lines and a byte order mark at the start are no part of it.
    ///
    /// # Errors
    /// If the file can't be read, or a line is not UTF-8 or has several words.
    fn read(path: &str) -> Result<Self, String> {
        let bytes = std::fs::read(Path::new(path)).map_err(|error| error.to_string())?;
        let mut words = Vec::new();
        for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            let line = str::from_utf8(line).map_err(|_| format!("line {number} is not UTF-8"))?;
            let word = without_mark(line).trim();
            if word.contains(char::is_whitespace) {
                return Err(format!("line {number} has white space within: expected one word a line"));
            }
            if !word.is_empty() {
                words.push(word.into());
            }
        }
        Ok(StopWords::new(words))
    }

    /// These words.
    pub fn new(mut words: Vec<Box<str>>) -> Self {
        words.sort_unstable();
        words.dedup();
        StopWords(words.into())
    }
}

/// How the value of a record is split into words.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tokenizer {
    /// At Unicode white space; empty words dropped, case kept
    #[default]
    Whitespace,
    /// Words as UAX #29 finds them, lower-cased
    Unicode,
    /// Words of Chinese text by jieba's dictionary, others lower-cased; punctuation dropped. Only in builds with `--features
    /// chinese`
    Chinese,
}

impl Tokenizer {
    /// The tokenizer, if this build has it.
    fn built_in(self) -> Result<Self, String> {
        match self {
            Tokenizer::Chinese if cfg!(not(feature = "chinese")) => Err(MISSING.to_owned()),
            tokenizer => Ok(tokenizer),
        }
    }

    /// Hands the words of a line to `word`.
    #[inline]
    fn split(self, line: &str, mut word: impl FnMut(&str)) -> Result<(), Malformed> {
        match self {
            Tokenizer::Whitespace => split::words(line, word),
            Tokenizer::Unicode => line.unicode_words().for_each(|found| word(&lower_case(found))),
            Tokenizer::Chinese => chinese::words(line, word)?,
        }
        Ok(())
    }
}

/// The format that lines are of.
const TEXT: &str = "text";

/// What to say where the dictionary was left out.
const MISSING: &str =
    "this program was built without the Chinese dictionary: build it with --features chinese";

impl Decode for Tokenizer {
    type Row = Text;

    fn decode(&mut self, record: &Record<'_>, words: &mut Rows<'_, Text>) -> Result<(), Malformed> {
        self.split(line(record)?, |word| words.push(word))
    }

    fn format(&self) -> Option<&'static str> {
        Some(TEXT)
    }
}

/// The words of lines, of which some are left out.
struct Chosen {
    tokenizer: Tokenizer,
    folding: Option<Folding>,
    stop_words: HashSet<Box<str>>,
    min_length: usize,
}

impl Chosen {
    fn new(words: &Words) -> Self {
        let folding = words.normalise.then(Folding::new);
        let as_read = |word: &str| -> Box<str> {
            let word = if words.tokenizer == Tokenizer::Whitespace { word.into() } else { lower_case(word) };
            match &folding {
                Some(folding) => folding.fold(&word).into(),
                None => word.into(),
            }
        };
        let listed = words.stop_words.iter().flat_map(|listed| listed.0.iter());
        let stop_words = listed.map(|word| as_read(word)).collect();
        Chosen { tokenizer: words.tokenizer, folding, stop_words, min_length: words.min_length }
    }
}

impl Decode for Chosen {
    type Row = Text;

    fn decode(&mut self, record: &Record<'_>, words: &mut Rows<'_, Text>) -> Result<(), Malformed> {
        let Chosen { tokenizer, folding, stop_words, min_length } = self;
        let line = line(record)?;
        let line = folding.as_ref().map_or(Cow::Borrowed(line), |folding| folding.fold(line));
        tokenizer.split(&line, |word| {
            // A character has a byte at least.
            let long = word.len() >= *min_length && word.chars().count() >= *min_length;
            if long && !stop_words.contains(word) {
                words.push(word);
            }
        })
    }

    fn format(&self) -> Option<&'static str> {
        Some(TEXT)
    }
}

/// What makes texts equal that are to be taken for the same.
struct Folding {
    normalizer: ComposingNormalizerBorrowed<'static>,
    cases: CaseMapperBorrowed<'static>,
}

impl Folding {
    fn new() -> Self {
        Folding { normalizer: ComposingNormalizer::new_nfkc(), cases: CaseMapper::new() }
    }

    /// NFKC, full case folding, and NFKC of what that leaves: then it is the same for texts that differ in these alone.
    fn fold<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if text.is_ascii() {
            return lower_case(text);
        }
        let normal = self.normalizer.normalize(text);
        let folded = self.cases.fold_string(&normal);
        Cow::Owned(self.normalizer.normalize(&folded).into_owned())
    }
}

/// The line of text that a record is.
#[inline]
fn line<'a>(record: &Record<'a>) -> Result<&'a str, Malformed> {
    let value = record.value.ok_or(Malformed::because("the value is null, not a line of text"))?;
    let line = str::from_utf8(value).map_err(|error| {
        Malformed(Cow::Owned(format!("the value is not UTF-8 from byte {}", error.valid_up_to())))
    })?;
    Ok(without_mark(line))
}

/// A line without the byte order mark with which some programs begin a text file, and so its first line.
#[inline]
fn without_mark(line: &str) -> &str {
    line.strip_prefix('\u{feff}').unwrap_or(line)
}

/// Lower-cases a word, without an allocation where it is in lower-case ASCII already.
#[inline]
fn lower_case(word: &str) -> Cow<'_, str> {
    if word.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(word.to_lowercase())
    }
}

/// Words of Chinese text, which has no spaces between them.
#[cfg(feature = "chinese")]
mod chinese {
    use std::sync::LazyLock;

    use jieba_rs::Jieba;

    use super::{Malformed, lower_case};

    /// Some megabytes, unpacked once a process.
    static DICTIONARY: LazyLock<Jieba> = LazyLock::new(Jieba::new);

    /// Words by the dictionary, and by a hidden Markov model where it has none.
    pub(super) fn words(line: &str, mut word: impl FnMut(&str)) -> Result<(), Malformed> {
        for found in DICTIONARY.cut(line, true) {
            if found.word.contains(char::is_alphanumeric) {
                word(&lower_case(found.word));
            }
        }
        Ok(())
    }
}

/// Stands for the dictionary in a build without it.
#[cfg(not(feature = "chinese"))]
mod chinese {
    use super::{MISSING, Malformed};

    /// None: the command line does not let it come to this, but code may.
    pub(super) fn words(_: &str, _: impl FnMut(&str)) -> Result<(), Malformed> {
        Err(Malformed::because(MISSING))
    }
}

#[cfg(test)]
mod tests;
